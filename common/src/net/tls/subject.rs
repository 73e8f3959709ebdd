//! Whom a certificate is for, as text (RFC 4514). Pure.
//!
//! What cannot be text is told in hex, as the RFC has it; nothing is guessed and nothing is cut.

use std::fmt::Write as _;

use super::x509::{self, Der, OBJECT_IDENTIFIER, SEQUENCE};

/// The subject of a certificate, such as `CN=bob,O=Example`; ASCII only. `None` where its DER is broken.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let mut sequence = Der(x509::subject(certificate)?);
    let mut parts = Vec::new();
    while !sequence.0.is_empty() {
        parts.push(relative_name(sequence.take(SET)?)?);
    }
    // "the output consists of the string encodings of each RelativeDistinguishedName in the RDNSequence […], starting with
    // the last element of the sequence and moving backwards toward the first" (RFC 4514 §2.1)
    parts.reverse();
    Some(parts.join(","))
}

/// The attributes of one relative name, joined by `+`.
fn relative_name(set: &[u8]) -> Option<String> {
    let mut set = Der(set);
    let mut text = String::new();
    while !set.0.is_empty() {
        let mut attribute = Der(set.take(SEQUENCE)?);
        let kind = attribute.take(OBJECT_IDENTIFIER)?;
        let encoded = attribute.0;
        let (tag, value) = attribute.next()?;
        if !text.is_empty() {
            text.push('+');
        }
        let name = NAMES.iter().find(|(id, _)| *id == kind);
        let string =
            matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING).then(|| std::str::from_utf8(value).ok());
        match (name, string.flatten()) {
            (Some((_, name)), Some(value)) => {
                text.push_str(name);
                text.push('=');
                push_escaped(&mut text, value);
            }
            // "If the AttributeType is of the dotted-decimal form, the AttributeValue is represented by a number sign […]
            // followed by the hexadecimal encoding of each of the octets of the BER encoding of the X.500 AttributeValue."
            // (RFC 4514 §2.4)
            _ => {
                match name {
                    Some((_, name)) => text.push_str(name),
                    None => push_dotted(&mut text, kind)?,
                }
                text.push_str("=#");
                encoded.iter().for_each(|byte| push_hex(&mut text, *byte));
            }
        }
    }
    Some(text)
}

/// RFC 4514 §2.4; what is not printable ASCII is written in hex, too, so that the result fits into a field.
fn push_escaped(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if at == 0 => text.push_str("\\#"),
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                push_hex(text, byte);
            }
        }
    }
}

fn push_hex(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// An object identifier as numbers with dots (X.690 §8.19).
fn push_dotted(text: &mut String, id: &[u8]) -> Option<()> {
    let mut number: u64 = 0;
    let mut is_first = true;
    for byte in id {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let written = if is_first {
            let root = (number / 40).min(2);
            write!(text, "{root}.{}", number - 40 * root)
        } else {
            write!(text, ".{number}")
        };
        written.ok()?;
        (number, is_first) = (0, false);
    }
    (!is_first).then_some(())
}

/// The short names that RFC 4514 §3 demands of all who write subjects.
const NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(attributes: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn subjects_are_written_as_rfc_4514_has_them() {
        let (o, cn) = (DnType::OrganizationName, DnType::CommonName);
        let mail = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        for (attributes, expected) in [
            (vec![(o, "Example"), (cn.clone(), "bob")], "CN=bob,O=Example"),
            (vec![(cn.clone(), "a,b=\"c\\ + d;")], r#"CN=a\,b=\"c\\ \+ d\;"#),
            (vec![(cn.clone(), " # ")], r"CN=\ #\ "),
            (vec![(cn, "#é\r\n")], r"CN=\#\C3\A9\0D\0A"),
            (vec![(mail, "b@c")], "1.2.840.113549.1.9.1=#0C03624063"),
            (vec![], ""),
        ] {
            assert_eq!(of(&certificate(&attributes)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_broken_certificate_has_no_subject_and_never_panics() {
        let whole = certificate(&[(DnType::CommonName, "bob")]);
        for end in 0..whole.len() {
            assert_eq!(of(&whole[..end]), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            drop(of(&broken));
        }
    }
}
