//! RFC 9112: a request's head and its framing. It does not matter in how many pieces it comes, and what follows it is left.
#![no_main]

use bytes::BytesMut;
use common::http1::framing;
use common::http1::parse::{HeadLimits, request_head};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    fields: 64,
    target: 1024,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut whole = BytesMut::from(data);
    let at_once = request_head(&mut whole, &mut 0, LIMITS);
    // Byte by byte: the same head, or the same refusal.
    let (mut buf, mut scanned, mut piecemeal) = (BytesMut::new(), 0, Ok(None));
    for byte in data {
        buf.extend_from_slice(&[*byte]);
        piecemeal = request_head(&mut buf, &mut scanned, LIMITS);
        if !matches!(piecemeal, Ok(None)) {
            break;
        }
    }
    match (at_once, piecemeal) {
        (Ok(Some(mut head)), Ok(Some(again))) => {
            assert_eq!(
                (&head.head.method, &head.head.uri, &*head.head.headers),
                (&again.head.method, &again.head.uri, &*again.head.headers)
            );
            assert!(head.bytes <= LIMITS.bytes && head.head.headers.len() <= LIMITS.fields);
            assert!(whole.len() <= data.len() - head.bytes);
            if framing::of_request(head.head.version, &mut head.head.headers, u64::MAX).is_ok() {
                // The framing fields are gone: nobody can send them on.
                assert!(
                    !head.head.headers.contains_key(CONTENT_LENGTH)
                        && !head.head.headers.contains_key(TRANSFER_ENCODING)
                );
            }
        }
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (at_once, piecemeal) => panic!("{at_once:?} at once, {piecemeal:?} in pieces"),
    }
});
