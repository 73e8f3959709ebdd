//! Comma-separated lists in field values (RFC 9110 §5.6.1): read member by member, and appended to.
//!
//! Used by `hop_by_hop`, `via` and `forwarded`. What a member means is the caller's.

use std::fmt;

use http::header::{HeaderMap, HeaderName};

use super::field_lines::{FieldLines, ValueText};

/// The members of one field line, without the whitespace around them.
///
/// "A recipient MUST parse and ignore a reasonable number of empty list elements" (RFC 9110 §5.6.1.2).
///
/// A comma in a quoted string does not split, but only where the quoted string is a parameter's value and is well-formed
/// (`=`, `"`…`"`, then `;`, `,` or the end). Otherwise a sender could hide the members that others append after its own
/// by leaving a quote open.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let (member, after) = text.split_at(member_end(text));
            rest = after.get(1..);
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    })
}

/// The members of all lines of `name`, in order.
pub fn members_of<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    fields
        .get_all(name)
        .into_iter()
        .flat_map(|line| members(line.as_bytes()))
}

/// Writes the list `name` with one member more to `added`; the members that `fields` has are taken from there, and come
/// first. Several lines become one, as RFC 9110 §5.3 permits, so that a recipient which reads only one line misses none.
pub fn append_member(
    fields: &mut HeaderMap,
    added: &mut FieldLines,
    name: &HeaderName,
    member: impl FnOnce(&mut ValueText<'_>) -> fmt::Result,
) {
    if !fields.contains_key(name) {
        return added.push_written(name, member);
    }
    let before = fields.get_all(name).into_iter();
    added.push_list(name, before, member);
    fields.remove(name);
}

/// RFC 9110 §5.6.2: `token = 1*tchar`.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_tchar(*byte))
}

/// How long the token is that `text` begins with. Letters and hyphens, of which nearly all names are made, are looked at
/// eight at a time.
pub(crate) fn token_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES * 0x80;
    let mut len = 0;
    for word in text.as_chunks().0 {
        let word = u64::from_le_bytes(*word);
        // No sum below carries into the next byte; what it says of its own byte stands in the highest bit.
        let lower = (word | (ONES * 0x20)) & !HIGH;
        let from_a = lower + ONES * (0x80 - 0x61);
        let after_z = lower + ONES * (0x80 - 0x7b);
        let but_hyphen = word ^ (ONES * 0x2d);
        let is_other = ((but_hyphen & !HIGH) + ONES * 0x7f) | but_hyphen;
        let ends = (!from_a | after_z | word) & is_other & HIGH;
        if ends != 0 {
            len += ends.trailing_zeros() as usize / 8;
            break;
        }
        len += 8;
    }
    while text.get(len).is_some_and(|byte| is_tchar(*byte)) {
        len += 1;
    }
    len
}

/// RFC 9110 §5.6.2: a byte of a token.
pub const fn is_tchar(byte: u8) -> bool {
    TCHARS[byte as usize]
}

const TCHARS: [bool; 256] = {
    let mut is_in = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        is_in[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    is_in
};

fn member_end(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(found) = memchr::memchr2(b',', b'"', &text[from..]) {
        let at = from + found;
        if text[at] == b',' {
            return at;
        }
        from = quoted_string_end(text, at).unwrap_or(at + 1);
    }
    text.len()
}

/// Where the quoted string that begins at `open` ends, if it is a parameter's whole value.
fn quoted_string_end(text: &[u8], open: usize) -> Option<usize> {
    if open == 0 || text[open - 1] != b'=' {
        return None;
    }
    let mut at = open + 1;
    while *text.get(at)? != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    let next = text[at + 1..].trim_ascii_start().first();
    matches!(next, None | Some(b',' | b';')).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_as_long_as_all_its_bytes_are_of_a_token() {
        for length in 0..20 {
            for plain in [b'a', b'Z', b'-', b'7', b'_'] {
                let mut text = vec![plain; length];
                assert_eq!(token_len(&text), length);
                for at in 0..length {
                    for byte in 0..=u8::MAX {
                        text[at] = byte;
                        let expected = if is_tchar(byte) { length } else { at };
                        assert_eq!(token_len(&text), expected, "{byte} at {at} of {length}");
                    }
                    text[at] = plain;
                }
            }
        }
    }

    #[test]
    fn a_line_splits_at_commas_outside_of_parameter_values() {
        #[rustfmt::skip]
        let rows: &[(&str, &[&str])] = &[
            ("", &[]),
            (" , ,\t,", &[]),
            ("a", &["a"]),
            (" a ,b\t, ,c,", &["a", "b", "c"]),
            (r#"a; p="1, 2", b"#, &[r#"a; p="1, 2""#, "b"]),
            (r#"a; p="1\", 2" ; q=1, b"#, &[r#"a; p="1\", 2" ; q=1"#, "b"]),
            // A quote left open, or closed by somebody else's, hides nothing.
            (r#"a; p=", b"#, &[r#"a; p=""#, "b"]),
            (r#"a; p=", b, c; q="v""#, &[r#"a; p=""#, "b", r#"c; q="v""#]),
            (r#"a "x, b"#, &[r#"a "x"#, "b"]),
            (r#"a; p="1\"#, &[r#"a; p="1\"#]),
        ];
        for (line, expected) in rows {
            let found: Vec<_> = members(line.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(found, *expected, "{line}");
        }
    }

    #[test]
    fn an_appended_member_joins_all_lines_into_one() {
        let name = http::header::VIA;
        for (lines, expected) in [
            (&[][..], "via: c\r\n"),
            (&["a"], "via: a, c\r\n"),
            (&["a,\tb", "1 \u{fc}"], "via: a, b, 1 \u{fc}, c\r\n"),
        ] {
            let (mut fields, mut added) = (HeaderMap::new(), FieldLines::default());
            for line in lines {
                fields.append(&name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            append_member(&mut fields, &mut added, &name, |text| text.write_str("c"));
            assert_eq!(added.as_bytes(), expected.as_bytes());
            assert!(fields.is_empty());
        }
    }
}
