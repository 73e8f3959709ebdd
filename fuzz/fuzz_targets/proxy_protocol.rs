//! PROXY protocol, versions 1 and 2: what is read is written and read as the same; a header is found as soon as it is whole.
#![no_main]

use common::net::proxy_protocol::{HEADER_MAX, Step, Version, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Ok(Step::Whole(header, length)) => {
            assert!(length <= data.len() && length <= HEADER_MAX);
            assert_eq!(
                parse(&data[..length]),
                Ok(Step::Whole(header, length)),
                "what follows does not matter"
            );
            assert_eq!(parse(&data[..length - 1]), Ok(Step::More), "it was whole before");
            for version in [Version::V1, Version::V2] {
                let written = header.render(version);
                assert_eq!(parse(&written), Ok(Step::Whole(header, written.len())), "{version:?}");
            }
        }
        Ok(Step::More) => assert!(data.len() < HEADER_MAX),
        Err(_) => {}
    }
});
