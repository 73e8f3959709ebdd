//! Comma-separated lists and their members (RFC 9110 §5.6.1), delta-seconds (RFC 9111 §1.2.2).
//!
//! Works on bytes, never fails, never allocates: what is malformed comes out as a member that nobody knows.

/// The members of one line of a list field: trimmed, never empty, a comma inside a quoted string does not part them.
///
/// A quote that is never closed is an ordinary byte, so that `a="x, no-store` cannot hide a directive.
pub fn members(value: &[u8]) -> Members<'_> {
    Members {
        rest: value,
        quotes: true,
    }
}

/// Iterator of [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    rest: &'a [u8],
    /// Whether a quoted string may still begin: false once a quote was found that nothing closes.
    quotes: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = self.member_end();
            let (member, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            let member = trim(member);
            // "A recipient MUST parse and ignore a reasonable number of empty list elements" (RFC 9110 §5.6.1.2)
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    /// Where the next comma outside a quoted string is, or the end.
    fn member_end(&mut self) -> usize {
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b',' => return at,
                b'"' if self.quotes => match closing_quote(&self.rest[at + 1..]) {
                    Some(length) => at += length + 2,
                    None => {
                        self.quotes = false;
                        at += 1;
                    }
                },
                _ => at += 1,
            }
        }
        self.rest.len()
    }
}

/// Where, in `text` after an opening quote, the closing one is.
pub fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `text` without spaces and tabs at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    let Some(start) = text.iter().position(|byte| !is_space(*byte)) else {
        return &[];
    };
    let end = text.iter().rposition(|byte| !is_space(*byte)).unwrap_or(start);
    &text[start..=end]
}

/// Whether `byte` is optional white space (RFC 9110 §5.6.3).
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The inside of a quoted string, or `text` itself when it is none. Escapes stay as they are.
pub fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inside @ .., b'"'] => inside,
        _ => text,
    }
}

/// The largest delta-seconds that is told apart: 2^31.
pub const DELTA_MAX: u32 = 1 << 31;

/// Reads delta-seconds; `None` when there is anything but digits.
pub fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    // "If a cache receives a delta-seconds value greater than the greatest integer it can represent, or if any of its
    // subsequent calculations overflows, the cache MUST consider the value to be 2147483648 (2^31) or the greatest
    // positive integer it can conveniently represent." (RFC 9111 §1.2.2)
    text.iter().try_fold(0_u32, |number, byte| {
        byte.is_ascii_digit().then(|| {
            let longer = u64::from(number) * 10 + u64::from(byte - b'0');
            u32::try_from(longer).unwrap_or(DELTA_MAX).min(DELTA_MAX)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        let found: Vec<_> = members(line.as_bytes())
            .map(|member| String::from_utf8_lossy(member))
            .collect();
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn members_are_parted_by_commas_outside_quoted_strings() {
        check("", &[]);
        check(" , ,, ", &[]);
        check("a", &["a"]);
        check(" a ,\tb,, c d ", &["a", "b", "c d"]);
        check(r#"a="x, y", b"#, &[r#"a="x, y""#, "b"]);
        check(r#"a="x\", y", b"#, &[r#"a="x\", y""#, "b"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_hides_nothing() {
        check(r#"a="x, no-store"#, &[r#"a="x"#, "no-store"]);
        check(r#"a="x\", no-store, "b"#, &[r#"a="x\", no-store, "b"#]);
        check(r#"a="x\"#, &[r#"a="x\"#]);
    }

    #[test]
    fn many_quotes_that_are_never_closed_cost_one_pass() {
        let line = format!("\"{}", "\\\"".repeat(40_000));
        assert_eq!(members(line.as_bytes()).count(), 1);
    }

    #[test]
    fn delta_seconds_are_digits_and_clamped() {
        for (text, expected) in [
            ("0", Some(0)),
            ("003600", Some(3600)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(DELTA_MAX)),
            ("2147483649", Some(DELTA_MAX)),
            ("99999999999", Some(DELTA_MAX)),
            ("99999999999999999999999999", Some(DELTA_MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("a1", None),
            ("1a", None),
            ("'1'", None),
            (" 1", None),
        ] {
            assert_eq!(delta_seconds(text.as_bytes()), expected, "{text:?}");
        }
    }
}
