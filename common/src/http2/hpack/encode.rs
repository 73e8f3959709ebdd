//! Fields → their representations (RFC 7541 §6), for responses.
//!
//! There is no dynamic table: to find a field in one costs more than its octets do (every field of every response would be
//! hashed and compared), responses share few of their fields, and each connection would hold another 4 KiB. Nor is there
//! Huffman code, which takes a quarter off texts that are mostly shorter than a packet. Names of the static table go by
//! their index.

use super::integer;
use crate::http::known::Known;

/// Appends `:status`: one octet for the seven in the static table.
pub fn status(out: &mut Vec<u8>, status: u16) {
    const OF_STATUS: u8 = 8;
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digit = |place: u16| b'0' + u8::try_from(status / place % 10).unwrap_or(0);
            out.extend([OF_STATUS, 3, digit(100), digit(10), digit(1)]);
            return;
        }
    };
    out.push(INDEXED | index);
}

/// Appends a field whose name may have capitals, and was looked up: "Field names MUST be converted to lowercase when
/// constructing an HTTP/2 message" (RFC 9113 §8.2).
pub fn field(out: &mut Vec<u8>, known: Known, name: &[u8], value: &[u8]) {
    debug_assert_eq!(known, Known::of_any_case(name));
    let form = if is_secret(known) {
        NEVER_INDEXED
    } else {
        WITHOUT_INDEXING
    };
    match known.static_index() {
        Some(index) => integer::put(out, form, 4, usize::from(index)),
        None => {
            out.push(form);
            text(out, name);
            let begin = out.len() - name.len();
            out[begin..].make_ascii_lowercase();
        }
    }
    text(out, value);
}

/// Appends a size of the dynamic table, which stands at the start of a block: the peer that lowers it below 4096 octets has to
/// be told that it is obeyed (§4.2).
pub fn size_update(out: &mut Vec<u8>, size: u32) {
    const SIZE_UPDATE: u8 = 0x20;
    integer::put(out, SIZE_UPDATE, 5, usize::try_from(size).unwrap_or(usize::MAX));
}

const INDEXED: u8 = 0x80;
const WITHOUT_INDEXING: u8 = 0;
const NEVER_INDEXED: u8 = 0x10;

/// "An encoder might also choose not to index values for header fields that are considered to be highly valuable or sensitive
/// to recovery, such as the Cookie or Authorization header fields" (§7.1.3): nor may who passes them on.
const fn is_secret(known: Known) -> bool {
    matches!(
        known,
        Known::AUTHORIZATION | Known::COOKIE | Known::PROXY_AUTHORIZATION | Known::SET_COOKIE
    )
}

fn text(out: &mut Vec<u8>, octets: &[u8]) {
    integer::put(out, 0, 7, octets.len());
    out.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::hpack::decode::Decoder;
    use crate::http2::hpack::table::STATIC;

    #[test]
    fn each_status_is_itself() {
        for number in 100..600 {
            let mut out = Vec::new();
            status(&mut out, number);
            let mut fields = Vec::new();
            let decoded = Decoder::new(0).decode(&out, usize::MAX, &mut |field| {
                fields.push((field.known, String::from_utf8_lossy(field.value).into_owned()));
            });
            assert_eq!((decoded, fields), (Ok(()), vec![(Known::STATUS, number.to_string())]));
            let is_in_table = STATIC.contains(&(":status", &*number.to_string()));
            assert_eq!(out.len(), if is_in_table { 1 } else { 5 }, "{number}");
        }
    }

    #[test]
    fn fields_are_literals_and_secrets_say_so() {
        let long = "x".repeat(200);
        for (name, value, begin) in [
            ("server", "tidegate", &[0x0f, 54 - 15, 8, b't'][..]),
            ("age", "7", &[0x0f, 6, 1, b'7']),
            ("accept-encoding", "", &[0x0f, 1, 0]),
            (
                "x-cache",
                &long,
                &[0, 7, b'x', b'-', b'c', b'a', b'c', b'h', b'e', 127, 73, b'x'],
            ),
            ("set-cookie", "a=b", &[0x1f, 55 - 15, 3, b'a', b'=', b'b']),
            ("connection", "", &[0, 10, b'c']),
        ] {
            let mut out = Vec::new();
            field(&mut out, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
            assert_eq!(&out[..begin.len()], begin, "{name}");
            let mut from_capitals = Vec::new();
            let name = name.to_ascii_uppercase().into_bytes();
            field(&mut from_capitals, Known::of_any_case(&name), &name, value.as_bytes());
            assert_eq!(from_capitals, out);
        }
        let mut out = Vec::new();
        size_update(&mut out, 0);
        size_update(&mut out, 4096);
        assert_eq!(out, [0x20, 0x3f, 0xe1, 0x1f]);
    }
}
