//! RFC 9110 §5.6.7, RFC 9111 §5.1: a date that is read is written and read as the same; an age is bounded.
#![no_main]

use std::time::Duration;

use cache::policy::{age, date, list};
use fuzz::{NOW, fields};
use http::header::AGE;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(read) = date::parse(data, NOW) {
        let written = read.http_date();
        assert_eq!(date::parse(written.as_bytes(), NOW), Some(read), "{written}");
    }
    let age = age::age_value(&fields(AGE, data));
    assert!(age <= Duration::from_secs(u64::from(list::DELTA_MAX)));
    if let Some(seconds) = list::delta_seconds(data) {
        assert!(data.iter().all(u8::is_ascii_digit) && seconds <= list::DELTA_MAX);
    }
});
