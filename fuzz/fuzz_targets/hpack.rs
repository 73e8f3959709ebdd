//! RFC 7541: a peer's field blocks, one after the other. What is given is within the limit, a field's number is that of its
//! name, a smaller limit changes nothing about the blocks that follow, and what we encode of it decodes to the same.
#![no_main]

use common::http2::hpack::decode::{Decoder, Error};
use common::http2::hpack::encode;
use common::http::known::Known;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(decoder: &mut Decoder, block: &[u8], list_max: usize) -> (Result<(), Error>, Fields) {
    let (mut fields, mut size) = (Fields::new(), 0);
    let decoded = decoder.decode(block, list_max, &mut |field| {
        assert_eq!(field.known, Known::of(field.name));
        size += field.name.len() + field.value.len() + 32;
        fields.push((field.name.to_vec(), field.value.to_vec()));
    });
    assert!(size <= list_max);
    (decoded, fields)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut one, mut other) = (Decoder::new(256), Decoder::new(256));
    // No octet of a message is needed to part blocks: each begins with its length.
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let (decoded, fields) = decode(&mut one, block, 100_000);
        let (again, some) = decode(&mut other, block, 100);
        assert!(fields.starts_with(&some));
        assert_eq!(decoded == Err(Error::Compression), again == Err(Error::Compression));
        if decoded.is_err() {
            return;
        }
        let mut encoded = Vec::new();
        for (name, value) in &fields {
            encode::field(&mut encoded, Known::of_any_case(name), name, value);
        }
        let lower = fields
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value));
        assert_eq!(
            decode(&mut Decoder::new(0), &encoded, 100_000),
            (Ok(()), lower.collect())
        );
    }
});
