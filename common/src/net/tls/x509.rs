//! What a certificate says about itself: DNS names and dates (RFC 5280 §4.1.2.5, §4.2.1.6). Pure.
//!
//! Only walks DER; whether the certificate is well-formed beyond that, and fits its key, is rustls' to say.

use std::time::Duration;

use crate::time::WallTime;

/// Names and dates of one certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The DNS names of the subject alternative name, lower case; wildcards as `*.rest`.
    pub(super) names: Vec<String>,
    pub(super) not_before: WallTime,
    pub(super) not_after: WallTime,
}

/// Reads a certificate; `None` where its DER is broken.
pub(super) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut tbs = from_validity(certificate)?;
    let mut validity = Der(tbs.take(SEQUENCE)?);
    let not_before = time(validity.next()?)?;
    let not_after = time(validity.next()?)?;
    tbs.take(SEQUENCE)?; // subject
    tbs.take(SEQUENCE)?; // public key
    let mut names = Vec::new();
    while !tbs.0.is_empty() {
        let (tag, content) = tbs.next()?;
        if tag == EXTENSIONS {
            names = alternative_names(content)?;
        }
    }
    Some(Facts {
        names,
        not_before,
        not_after,
    })
}

/// The `RDNSequence` of the subject (RFC 5280 §4.1.2.6), without its head; `None` where the DER is broken.
pub(super) fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let mut tbs = from_validity(certificate)?;
    tbs.take(SEQUENCE)?; // validity
    tbs.take(SEQUENCE)
}

/// A certificate's `TBSCertificate` (RFC 5280 §4.1) from `validity` on.
fn from_validity(certificate: &[u8]) -> Option<Der<'_>> {
    let mut outer = Der(certificate);
    let mut tbs = Der(Der(outer.take(SEQUENCE)?).take(SEQUENCE)?);
    tbs.skip_optional(VERSION)?;
    tbs.take(INTEGER)?;
    tbs.take(SEQUENCE)?; // signature algorithm
    tbs.take(SEQUENCE)?; // issuer
    Some(tbs)
}

/// Whether this is an OCSP response that says something about a certificate: status `successful`, and the response's bytes
/// (RFC 6960 §4.2.1). What it says is for clients to judge.
pub(super) fn is_ocsp_answer(response: &[u8]) -> bool {
    let parse = || {
        let mut outer = Der(response);
        let mut answer = Der(outer.take(SEQUENCE)?);
        let is_successful = answer.take(ENUMERATED)? == [0];
        let mut bytes = Der(Der(answer.take(RESPONSE_BYTES)?).take(SEQUENCE)?);
        bytes.take(OBJECT_IDENTIFIER)?;
        bytes.take(OCTET_STRING)?;
        Some(is_successful && outer.0.is_empty())
    };
    parse().unwrap_or(false)
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut list = Der(Der(extensions).take(SEQUENCE)?);
    while !list.0.is_empty() {
        let mut extension = Der(list.take(SEQUENCE)?);
        let id = extension.take(OBJECT_IDENTIFIER)?;
        extension.skip_optional(BOOLEAN)?;
        let value = extension.take(OCTET_STRING)?;
        if id != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        let mut general = Der(Der(value).take(SEQUENCE)?);
        while !general.0.is_empty() {
            let (tag, name) = general.next()?;
            if tag == DNS_NAME {
                names.push(std::str::from_utf8(name).ok()?.to_ascii_lowercase());
            }
        }
    }
    Some(names)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; a moment before 1970 is the epoch.
fn time((tag, text): (u8, &[u8])) -> Option<WallTime> {
    let (year, rest) = match tag {
        // "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY" (RFC 5280 §4.1.2.5.1)
        UTC_TIME => match number(text.get(..2)?)? {
            year @ 50.. => (1900 + year, text.get(2..)?),
            year => (2000 + year, text.get(2..)?),
        },
        GENERALIZED_TIME => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 11 || rest[10] != b'Z' {
        return None;
    }
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    let at = days_since_epoch(year, month, day) * 86_400 + seconds;
    Some(WallTime::default().plus(Duration::from_secs(u64::try_from(at).unwrap_or(0))))
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut all = digits.iter();
    all.try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// What is left of a sequence of DER values.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Tag and content of the next value.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let bytes = usize::from(*first & 0x7f);
            if !(1..=4).contains(&bytes) {
                return None;
            }
            let (length, rest) = rest.split_at_checked(bytes)?;
            (
                length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    fn skip_optional(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const RESPONSE_BYTES: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests {
    use super::super::testing::Made;
    use super::*;

    #[test]
    fn names_and_dates_are_those_the_certificate_was_made_with() {
        let made = Made::ecdsa(&["WWW.example.com", "*.img.example.com"], (2024, 2, 29), (2051, 1, 1));
        let facts = facts(&made.der).unwrap();
        assert_eq!(facts.names, ["www.example.com", "*.img.example.com"]);
        assert_eq!(facts.not_before.http_date(), "Thu, 29 Feb 2024 00:00:00 GMT");
        // From 2050 on dates are GeneralizedTime.
        assert_eq!(facts.not_after.http_date(), "Sun, 01 Jan 2051 00:00:00 GMT");
    }

    #[test]
    fn a_certificate_that_is_cut_anywhere_is_refused_and_never_panics() {
        let made = Made::ecdsa(&["a.example"], (2024, 1, 1), (2030, 1, 1));
        for end in 0..made.der.len() {
            assert_eq!(facts(&made.der[..end]), None, "cut at {end}");
        }
        for at in 0..made.der.len() {
            let mut broken = made.der.clone();
            broken[at] ^= 0xff;
            drop(facts(&broken));
        }
    }

    #[test]
    fn dates_count_leap_days() {
        for (text, expected) in [
            ("700101000000Z", 0),
            ("000229235959Z", 951_868_799),
            ("491231235959Z", 2_524_607_999),
            ("500101000000Z", 0),
        ] {
            let at = time((UTC_TIME, text.as_bytes())).unwrap();
            assert_eq!(at.unix_secs(), expected, "{text}");
        }
        for text in ["700001000000Z", "7001010000Z", "700101000000+", "70x101000000Z"] {
            assert_eq!(time((UTC_TIME, text.as_bytes())), None, "{text}");
        }
    }
}
