//! RFC 9110 §12.5.3: what a request is reduced to is a fixed point, and a coding is chosen only among those offered.
#![no_main]

use cache::policy::{coding, vary, weights};
use config::traffic::Coding;
use fuzz::fields;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let request = fields(ACCEPT_ENCODING, data);
    let reduced = vary::reduced_accept_encoding(&request);
    let again = [(ACCEPT_ENCODING, HeaderValue::from_static(reduced))]
        .into_iter()
        .collect();
    assert_eq!(vary::reduced_accept_encoding(&again), reduced);
    for offered in [&[][..], &[Coding::Gzip], &[Coding::Zstd, Coding::Brotli, Coding::Gzip]] {
        let mut settled = request.clone();
        let chosen = coding::settle(&mut settled, offered);
        assert!(chosen.is_none_or(|chosen| offered.contains(&chosen)));
        assert_eq!(coding::settled(&settled, offered), chosen);
        assert_eq!(
            coding::settle(&mut settled, offered),
            chosen,
            "what was settled stays so"
        );
    }
    let lines = || request.get_all(ACCEPT_ENCODING).iter();
    drop(weights::best(lines()));
    if let Some(sorted) = weights::Sorted::of(lines()) {
        assert!(sorted.members().iter().all(|member| member.weight <= 1000));
    }
});
