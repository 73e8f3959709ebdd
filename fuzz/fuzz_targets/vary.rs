//! RFC 9111 §4.1: a request matches the Vary key of the response to itself, and no key is read as another.
#![no_main]

use cache::policy::vary::Vary;
use fuzz::{RULES, fields, halves};
use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderValue};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (names, values) = halves(data);
    let response = fields(VARY, names);
    let vary = Vary::of(&response);
    let mut request = fields(ACCEPT_LANGUAGE, values);
    for name in vary.names() {
        if let Ok(value) = HeaderValue::from_bytes(values) {
            request.append(name, value);
        }
    }
    let key = vary.key(&request, &response, &RULES.vary);
    assert_eq!(vary.matches(&key, &request, &RULES.vary), vary != Vary::Any);
    // A request without the fields has the same key only where there was nothing to tell apart.
    let bare = HeaderMap::new();
    if vary.key(&bare, &response, &RULES.vary) == key {
        assert_eq!(vary.matches(&key, &bare, &RULES.vary), vary != Vary::Any);
    }
    let mut answered = response.clone();
    answered.insert(CONTENT_LANGUAGE, HeaderValue::from_static("de"));
    vary.key(&request, &answered, &RULES.vary);
});
