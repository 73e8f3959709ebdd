//! Which field name it is: a number instead of a text to compare. Those of HPACK's static table (RFC 7541 Appendix A), those
//! for which RFC 9113 has rules, and what else browsers and proxies usually send.
//!
//! Whoever reads a head, of HTTP/1 or HTTP/2, asks once per field; a name that has a number is not parsed, not copied, and
//! what is notable about it is known.

use std::sync::LazyLock;

use http::HeaderName;

use super::request::Notable;
use crate::http2::hpack::table::STATIC;

/// A field name that has a number, or [`Known::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known(u8);

/// Names beyond the static table.
#[rustfmt::skip]
const MORE: [&str; 32] = [
    "connection", "keep-alive", "proxy-connection", "te", "upgrade", ":protocol",
    "cdn-loop", "dnt", "forwarded", "origin", "pragma", "priority", "purpose", "save-data", "sec-ch-ua", "sec-ch-ua-mobile",
    "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user", "sec-gpc", "sec-purpose",
    "traceparent", "tracestate", "upgrade-insecure-requests", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
    "x-real-ip", "x-request-id", "x-requested-with",
];
const FIRST_MORE: usize = STATIC.len() + 1;

#[rustfmt::skip]
#[expect(missing_docs, reason = "the names themselves")]
impl Known {
    /// Any other name.
    pub const NONE: Self = Self(0);
    pub const AUTHORITY: Self = Self(1);
    pub const METHOD: Self = Self(2);
    pub const PATH: Self = Self(4);
    pub const SCHEME: Self = Self(6);
    pub const STATUS: Self = Self(8);
    pub const ACCEPT: Self = Self(19);
    pub const AUTHORIZATION: Self = Self(23);
    pub const CONTENT_LENGTH: Self = Self(28);
    pub const COOKIE: Self = Self(32);
    pub const EXPECT: Self = Self(35);
    pub const HOST: Self = Self(38);
    pub const PROXY_AUTHORIZATION: Self = Self(49);
    pub const REFERER: Self = Self(51);
    pub const SET_COOKIE: Self = Self(55);
    pub const TRANSFER_ENCODING: Self = Self(57);
    pub const USER_AGENT: Self = Self(58);
    pub const CONNECTION: Self = Self(62);
    pub const KEEP_ALIVE: Self = Self(63);
    pub const PROXY_CONNECTION: Self = Self(64);
    pub const TE: Self = Self(65);
    pub const UPGRADE: Self = Self(66);
    pub const PROTOCOL: Self = Self(67);
}

impl Known {
    /// How many there are: [`Known::index`] is below this.
    pub const COUNT: usize = FIRST_MORE + MORE.len();

    /// Which of them this name is.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let known = Self(SLOTS[slot(name)]);
        if known.name().as_bytes() == name {
            known
        } else {
            Self::NONE
        }
    }

    /// Which of them this name is that may have capitals, as those of HTTP/1 do.
    #[inline]
    pub fn of_any_case(name: &[u8]) -> Self {
        let known = Self(SLOTS[slot(name)]);
        if known.name().as_bytes().eq_ignore_ascii_case(name) {
            known
        } else {
            Self::NONE
        }
    }

    /// The same of a name that is known to be of visible ASCII and spaces, which takes less time.
    #[inline]
    pub fn of_printable(name: &[u8]) -> Self {
        // No two octets that are printable, but the cases of a letter, differ in that bit alone where one of them is in a
        // name: it is set in all that names are made of.
        const CASE: u64 = u64::from_ne_bytes([0x20; 8]);
        let known = Self(SLOTS[slot(name)]);
        let text = known.name().as_bytes();
        let ((words, rest), (known_words, known_rest)) = (name.as_chunks::<8>(), text.as_chunks::<8>());
        let is_it = text.len() == name.len()
            && words
                .iter()
                .zip(known_words)
                .all(|(word, known)| u64::from_ne_bytes(*word) | CASE == u64::from_ne_bytes(*known))
            && rest.iter().zip(known_rest).all(|(byte, known)| byte | 0x20 == *known);
        if is_it { known } else { Self::NONE }
    }

    /// As a name of the map, and what is notable about it; `None` for [`Known::NONE`] and pseudo-header fields.
    #[inline]
    pub fn header(self) -> Option<&'static (HeaderName, Notable)> {
        HEADERS[self.index()].as_ref()
    }

    /// The name that the static table has at this place, which may have several.
    pub(crate) const fn at(index: u8) -> Self {
        Self(match index {
            3 => 2,
            5 => 4,
            7 => 6,
            9..=14 => 8,
            other => other,
        })
    }

    /// Each of them once.
    pub fn all() -> impl Iterator<Item = Self> {
        SLOTS.iter().filter(|slot| **slot != 0).map(|slot| Self(*slot))
    }

    /// Its number, for tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Its text; nothing for [`Known::NONE`].
    pub const fn name(self) -> &'static str {
        match self.index() {
            0 => "",
            index if index < FIRST_MORE => STATIC[index - 1].0,
            index => MORE[index - FIRST_MORE],
        }
    }

    /// Where the static table has it first.
    pub(crate) const fn static_index(self) -> Option<u8> {
        match self.index() {
            1..FIRST_MORE => Some(self.0),
            _ => None,
        }
    }

    /// Whether it begins with a colon (RFC 9113 §8.3). Other names that do so are none.
    pub const fn is_pseudo(self) -> bool {
        matches!(
            self,
            Self::AUTHORITY | Self::METHOD | Self::PATH | Self::SCHEME | Self::STATUS | Self::PROTOCOL
        )
    }

    /// "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields. This includes the
    /// Connection header field and those listed as having connection-specific semantics" (RFC 9113 §8.2.2); TE is one
    /// that may stand there with the value "trailers".
    pub const fn is_connection_specific(self) -> bool {
        matches!(
            self,
            Self::CONNECTION | Self::KEEP_ALIVE | Self::PROXY_CONNECTION | Self::TRANSFER_ENCODING | Self::UPGRADE
        )
    }
}

static HEADERS: LazyLock<[Option<(HeaderName, Notable)>; Known::COUNT]> = LazyLock::new(|| {
    let mut headers = [const { None }; Known::COUNT];
    for known in Known::all().filter(|known| !known.is_pseudo()) {
        let name = HeaderName::from_static(known.name());
        let kind = Notable::kind(&name);
        headers[known.index()] = Some((name, kind));
    }
    headers
});

/// The number of the one name that belongs in this slot.
static SLOTS: [u8; 512] = slots();

/// From length, first and last two octets, in any case; no two of the names have the same: the compiler sees to it.
const fn slot(name: &[u8]) -> usize {
    let (first, second_last, last) = match name {
        [] => return 0,
        [first, .., second_last, last] => (*first, *second_last, *last),
        [first, last] => (*first, *first, *last),
        [only] => (*only, 0, *only),
    };
    let (first, second_last, last) = (lower(first), lower(second_last), lower(last));
    (name.len() + 22 * first + 46 * last + second_last) & 0x1ff
}

/// Of a letter or digit, and what is not one stays apart from those that are.
const fn lower(octet: u8) -> usize {
    (octet | 0x20) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 names")]
const fn slots() -> [u8; 512] {
    let mut slots = [0; 512];
    let mut index = 1;
    while index < Known::COUNT {
        let known = Known(index as u8);
        if Known::at(index as u8).0 == known.0 {
            let slot = slot(known.name().as_bytes());
            assert!(slots[slot] == 0, "two names have one place");
            slots[slot] = known.0;
        }
        index += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_at_its_first_place() {
        for (place, (name, _)) in STATIC.iter().enumerate() {
            let first = STATIC.iter().position(|(other, _)| other == name).unwrap() + 1;
            let known = Known::of(name.as_bytes());
            assert_eq!((known.index(), known.name()), (first, *name));
            assert_eq!(Known::of_any_case(name.as_bytes()), known);
            assert_eq!(Known::of_any_case(name.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(Known::at(u8::try_from(place + 1).unwrap()), known);
            assert_eq!(known.static_index().map(usize::from), Some(first));
        }
        for name in MORE {
            let known = Known::of(name.as_bytes());
            assert_eq!((known.name(), known.static_index()), (name, None));
        }
        for name in [
            "",
            "x",
            "Host",
            "hose",
            ":paths",
            "x-forwarded-of",
            "priorities",
            "cookiE",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::NONE, "{name}");
            assert_eq!(
                Known::of_printable(name.as_bytes()),
                Known::of_any_case(name.as_bytes())
            );
            let is_known = ["Host", "cookiE"].contains(&name);
            assert_eq!(Known::of_any_case(name.as_bytes()) != Known::NONE, is_known, "{name}");
        }
    }

    #[test]
    fn a_printable_name_is_known_by_its_letters_and_nothing_else() {
        for known in Known::all() {
            let name = known.name().as_bytes();
            for at in 0..name.len() {
                for byte in b' '..=b'~' {
                    let mut other = name.to_vec();
                    other[at] = byte;
                    assert_eq!(Known::of_printable(&other), Known::of_any_case(&other), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn all_are_all_once() {
        let all: Vec<_> = Known::all().collect();
        assert_eq!(all.len(), 52 + MORE.len());
        assert!(all.iter().all(|known| Known::of(known.name().as_bytes()) == *known));
    }

    #[test]
    fn the_constants_are_what_they_are_called() {
        for (known, name) in [
            (Known::AUTHORITY, ":authority"),
            (Known::METHOD, ":method"),
            (Known::PATH, ":path"),
            (Known::SCHEME, ":scheme"),
            (Known::STATUS, ":status"),
            (Known::ACCEPT, "accept"),
            (Known::AUTHORIZATION, "authorization"),
            (Known::CONTENT_LENGTH, "content-length"),
            (Known::COOKIE, "cookie"),
            (Known::EXPECT, "expect"),
            (Known::HOST, "host"),
            (Known::PROXY_AUTHORIZATION, "proxy-authorization"),
            (Known::REFERER, "referer"),
            (Known::SET_COOKIE, "set-cookie"),
            (Known::TRANSFER_ENCODING, "transfer-encoding"),
            (Known::USER_AGENT, "user-agent"),
            (Known::CONNECTION, "connection"),
            (Known::KEEP_ALIVE, "keep-alive"),
            (Known::PROXY_CONNECTION, "proxy-connection"),
            (Known::TE, "te"),
            (Known::UPGRADE, "upgrade"),
            (Known::PROTOCOL, ":protocol"),
        ] {
            assert_eq!(known.name(), name);
            assert_eq!(known.is_pseudo(), name.starts_with(':'));
        }
    }
}
