//! The parameters of an admin request: `name=value&name=value`, percent-decoded (and encoded, for the subcommands).

use std::fmt::Write as _;

/// All parameters in their order; one without `=` has an empty value.
///
/// # Errors
/// The parameter that is not percent-encoded UTF-8.
pub fn parse(query: &str) -> Result<Vec<(String, String)>, String> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let wrong = || format!("{parameter:?} is not percent-encoded UTF-8");
            Ok((decode(name).ok_or_else(wrong)?, decode(value).ok_or_else(wrong)?))
        })
        .collect()
}

/// A value with everything encoded that could mean something in a query.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let written = write!(encoded, "%{byte:02X}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
    }
    encoded
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits)
                .ok()
                .filter(|digits| !digits.starts_with('+'))?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            decoded.push(*byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        for text in ["", "a", "http://a.test/x?y=1&z=%20", "ä +\u{0}#"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn parameters_keep_their_order_and_bad_ones_are_named() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("tag", "a"), pair("tag", "b=c"), pair("soft", "")];
        assert_eq!(parse("tag=a&tag=b%3dc&&soft"), Ok(expected.into()));
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%+1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
