//! RFC 9112: a server's response, its framing and its chunked body. Pieces do not matter, and no more comes out than went in.
#![no_main]

use bytes::BytesMut;
use common::http1::chunked::{ChunkedReader, Step};
use common::http1::parse::{HeadLimits, response_head, trailers};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    fields: 64,
    target: 0,
};

/// All the content that the chunked coding holds, whether it ended, and whether it was good.
fn content(data: &[u8], piece: usize) -> (Vec<u8>, bool, bool) {
    let (mut reader, mut buf, mut content) = (ChunkedReader::default(), BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            match reader.step(&mut buf) {
                Ok(Step::Data(data)) => content.extend_from_slice(&data),
                Ok(Step::Trailers(_) | Step::End) => return (content, true, true),
                Ok(Step::More) => break,
                Err(_) => return (content, false, false),
            }
        }
    }
    (content, reader.is_done(), true)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut buf = BytesMut::from(data);
    let body = match response_head(&mut buf, &mut 0, LIMITS) {
        Ok(Some(head)) => {
            assert!((100..600).contains(&head.status.as_u16()));
            buf.to_vec()
        }
        _ => data.to_vec(),
    };
    let at_once = content(&body, body.len().max(1));
    assert!(at_once.0.len() <= body.len());
    assert_eq!(content(&body, 1), at_once);
    drop(trailers(&bytes::Bytes::copy_from_slice(data)));
});
