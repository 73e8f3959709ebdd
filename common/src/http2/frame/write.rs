//! Appends frames to what is to be sent (RFC 9113 §4.1, §6).

use super::{Code, HEAD, Head, STREAM_MAX, flag, kind};

/// Appends a frame of this type.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Appends SETTINGS with these identifiers and values.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let octets = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let payload: Vec<u8> = settings.iter().flat_map(octets).collect();
    put(out, kind::SETTINGS, 0, 0, &payload);
}

/// Appends GOAWAY: no stream above `last` was or will be processed.
pub fn put_goaway(out: &mut Vec<u8>, last: u32, code: Code) {
    let payload = [last.to_be_bytes(), (code as u32).to_be_bytes()].concat();
    put(out, kind::GOAWAY, 0, 0, &payload);
}

/// Appends `RST_STREAM`.
pub fn put_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    put(out, kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

/// Appends `WINDOW_UPDATE`; of the connection where the stream is 0.
pub fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    debug_assert!((1..=STREAM_MAX).contains(&increment));
    put(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Appends the head of a DATA frame of this length.
pub fn put_data_head(out: &mut Vec<u8>, stream: u32, length: usize, ends: bool) {
    let flags = if ends { flag::END_STREAM } else { 0 };
    put_head(out, kind::DATA, flags, stream, length);
}

/// Makes HEADERS of the block that stands behind [`HEAD`] free octets at `begin`, and CONTINUATION of what is more than
/// `size_max` of it.
pub fn end_headers(out: &mut Vec<u8>, begin: usize, stream: u32, ends: bool, size_max: usize) {
    let mut flags = if ends { flag::END_STREAM } else { 0 };
    let length = out.len() - begin - HEAD;
    let more = if length > size_max {
        out.split_off(begin + HEAD + size_max)
    } else {
        flags |= flag::END_HEADERS;
        Vec::new()
    };
    let head = Head {
        length: octets_of(length.min(size_max)),
        kind: kind::HEADERS,
        flags,
        stream,
    };
    out[begin..begin + HEAD].copy_from_slice(&head.octets());
    let mut rest = &more[..];
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(size_max));
        let flags = if after.is_empty() { flag::END_HEADERS } else { 0 };
        put(out, kind::CONTINUATION, flags, stream, part);
        rest = after;
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let head = Head {
        length: octets_of(length),
        kind,
        flags,
        stream,
    };
    out.extend_from_slice(&head.octets());
}

fn octets_of(length: usize) -> u32 {
    u32::try_from(length).expect("invariant: what we write is shorter than a frame may be")
}
