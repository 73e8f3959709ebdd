//! Chunk extensions (RFC 9112 §7.1.1): checked by their grammar and then dropped, never passed on. Pure; called by `chunked.rs`.
//!
//! "A recipient MUST ignore unrecognized chunk extensions", and we recognise none; but one that is malformed may mean a line
//! end to somebody else, so it is refused.

use crate::http::list::is_tchar;

/// Whether these are the extensions of a chunk: what stands between its size and the end of the line, which may be nothing.
///
/// `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, a value being a token or a quoted string.
pub(super) fn are_extensions(text: &[u8]) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some(after) = one(rest) else { return false };
        rest = after;
    }
    true
}

/// What stands after the extension that this begins with.
fn one(text: &[u8]) -> Option<&[u8]> {
    let name = skip_space(skip_space(text).strip_prefix(b";")?);
    let after_name = token(name)?;
    let Some(value) = skip_space(after_name).strip_prefix(b"=") else {
        return Some(after_name);
    };
    let value = skip_space(value);
    match value.strip_prefix(b"\"") {
        Some(quoted) => after_quoted(quoted),
        None => token(value),
    }
}

/// `BWS = OWS = *( SP / HTAB )`
fn skip_space(text: &[u8]) -> &[u8] {
    let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[space..]
}

fn token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_tchar(**byte)).count();
    (length > 0).then(|| &text[length..])
}

/// `quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE` (RFC 9110 §5.6.4), after its first quote.
fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.iter().enumerate();
    loop {
        match bytes.next()? {
            (at, b'"') => return Some(&text[at + 1..]),
            (_, b'\\') => drop(bytes.next().filter(|(_, byte)| is_text(**byte))?),
            (_, byte) if is_text(*byte) => {}
            _ => return None,
        }
    }
}

/// `HTAB / SP / VCHAR / obs-text`
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_grammar_allows_are_extensions() {
        for text in [
            "",
            ";a",
            " ; a",
            "\t;\ta = b",
            ";a=b",
            ";a=\"b;c\"",
            ";a=\"\"",
            ";a=\"\\\"\\\\\"",
            ";a=\"\u{e9}\t\";b;c=d",
            ";a ;b= c",
            ";!#$%&'*+-.^_`|~0=x",
        ] {
            assert!(are_extensions(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_allow_are_none() {
        for text in [
            " ",
            "a",
            "=b",
            ";",
            ";;a",
            ";a;",
            ";a=",
            ";a= ",
            ";=b",
            ";a b",
            ";a=b c",
            ";a=\"b",
            ";a=\"b\"c",
            ";a=\"\\\"",
            ";a=\"b\\",
            ";\"a\"",
            ";a=b ",
            ";a=\"\r\"",
            ";a=\"\0\"",
            ";a=\"\\\r\"",
            ";a\rb",
            ";a=b\0",
            ";\u{e9}",
            ";a\x7f",
            ";a=\"\x7f\"",
            ";a\x0b=b",
            ";a=(b)",
            ",a",
        ] {
            assert!(!are_extensions(text.as_bytes()), "{text:?}");
        }
    }
}
