//! RFC 9213, RFC 9651: a targeted field that is no dictionary is as if it were not there.
#![no_main]

use cache::policy::freshness;
use cache::policy::targeted::{ControlSource, control};
use fuzz::{NOW, RULES, fields};
use http::{HeaderName, StatusCode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let response = fields(HeaderName::from_static("cdn-cache-control"), data);
    let found = control(&response, &RULES);
    if found.source == ControlSource::CacheControl {
        assert_eq!(found, control(&http::HeaderMap::new(), &RULES), "it was not ignored");
    }
    let lifetime = freshness::lifetime(StatusCode::OK, &response, &found, NOW, &RULES);
    assert!(lifetime.duration().as_secs() <= 1 << 31);
});
