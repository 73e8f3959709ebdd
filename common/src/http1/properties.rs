//! Bytes from the network, mangled and cut anywhere: nothing panics, and how they are cut does not change what they mean.

use bytes::BytesMut;
use http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::chunked::{ChunkedReader, Step};
use super::parse::{self, HeadLimits, ResponseHead};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 400,
    fields: 6,
    target: 60,
};

const SAMPLES: [&str; 9] = [
    "GET /a?b HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n",
    "POST http://a.test/x HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nX:\t v \r\nX:\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 304\r\nETag: \"a\"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "3;name=\"value\" ; x\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n",
    "ffffffffffffffff\r\n",
];

/// One of the samples with some bytes changed, put in or taken out.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"\r\n \t:;0a/".to_vec()), any::<u8>()];
    let change = (any::<Index>(), 0_u8..3, byte);
    (select(SAMPLES.to_vec()), vec(change, 0..4)).prop_map(|(sample, changes)| {
        let mut bytes = sample.as_bytes().to_vec();
        for (place, how, byte) in changes {
            let place = place.index(bytes.len().max(1));
            match how {
                0 if place < bytes.len() => bytes[place] = byte,
                1 if place < bytes.len() => drop(bytes.remove(place)),
                _ => bytes.insert(place.min(bytes.len()), byte),
            }
        }
        bytes
    })
}

/// What a reader makes of bytes that come in two pieces, or in one: the outcome as text.
fn in_pieces(bytes: &[u8], cut: usize, mut read: impl FnMut(&mut BytesMut) -> Option<String>) -> Option<String> {
    let mut buf = BytesMut::from(&bytes[..cut]);
    read(&mut buf).or_else(|| {
        buf.extend_from_slice(&bytes[cut..]);
        read(&mut buf)
    })
}

fn request(bytes: &[u8], cut: usize) -> Option<String> {
    let mut scanned = 0;
    in_pieces(bytes, cut, |buf| match parse::request_head(buf, &mut scanned, LIMITS) {
        Ok(None) => None,
        Ok(Some(request)) => Some(format!("{:?} {}", request.head, request.bytes)),
        Err(_) => Some("refused".to_owned()),
    })
}

fn response(bytes: &[u8], cut: usize) -> Option<String> {
    let mut scanned = 0;
    in_pieces(bytes, cut, |buf| {
        match parse::response_head(buf, &mut scanned, LIMITS) {
            Ok(None) => None,
            Ok(Some(head)) => Some(meaning(head)),
            Err(_) => Some("refused".to_owned()),
        }
    })
}

/// What a response says, however its head was read.
fn meaning(head: ResponseHead) -> String {
    let Ok(settled) = head.fields.settle(&Method::GET, head.status, head.version) else {
        return "refused".to_owned();
    };
    let fields = settled.fields.into_map();
    let mut lines: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    lines.sort();
    format!("{} {:?} {} {lines:?}", head.status, settled.framing, settled.persists)
}

/// All data and the end of a chunked body; what is refused is refused after the same data.
fn chunks(bytes: &[u8], cut: usize) -> String {
    let mut reader = ChunkedReader::default();
    let (mut data, mut buf) = (Vec::new(), BytesMut::new());
    for piece in [&bytes[..cut], &bytes[cut..]] {
        buf.extend_from_slice(piece);
        loop {
            match reader.step(&mut buf) {
                Ok(Step::Data(more)) => data.extend_from_slice(&more),
                Ok(Step::More) => break,
                Ok(Step::End) => return format!("{data:?} whole"),
                Ok(Step::Trailers(fields)) => return format!("{data:?} {fields:?}"),
                Err(_) => return format!("{data:?} refused"),
            }
        }
    }
    format!("{data:?} unfinished")
}

proptest! {
    #[test]
    fn how_bytes_are_cut_does_not_change_what_they_mean(bytes in mangled(), cut in any::<Index>()) {
        let cut = cut.index(bytes.len() + 1);
        prop_assert_eq!(request(&bytes, cut), request(&bytes, 0));
        prop_assert_eq!(response(&bytes, cut), response(&bytes, 0));
        prop_assert_eq!(chunks(&bytes, cut), chunks(&bytes, 0));
    }
}
