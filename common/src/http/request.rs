//! A request as a transport hands it to a service, and which of its fields need a look at all.
//!
//! Most requests say nothing about framing, connections, caching or loops. Their fields are seen once while the head is
//! read ([`Notable`]); later steps ask that note first, and look a field up only where it is there.

use std::ops::BitOr;

use http::{HeaderMap, HeaderName};

use super::body::Body;
use super::head::Head;
use super::hop_by_hop;
use crate::time::MonoTime;

/// A request, after its transport has taken the framing off.
#[derive(Debug)]
pub struct Request {
    /// Its head; no field of framing is left in it.
    pub head: Box<Head>,
    /// Its content.
    pub body: Body,
    /// Which fields are in `head` (or were, where the transport took them out).
    pub notable: Notable,
    /// When its first byte came.
    pub began: MonoTime,
    /// When the last byte of its head came.
    pub received: MonoTime,
}

/// A set of kinds of fields. A kind that is in the set may be there; one that is not is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notable(u16);

impl Notable {
    /// Content-Length, Transfer-Encoding.
    pub const FRAMING: Self = Self(1);
    /// Connection.
    pub const CONNECTION: Self = Self(1 << 1);
    /// Expect.
    pub const EXPECT: Self = Self(1 << 2);
    /// Via, CDN-Loop.
    pub const HOPS: Self = Self(1 << 3);
    /// Cache-Control, Pragma, Authorization, Range, and the preconditions.
    pub const CACHING: Self = Self(1 << 4);
    /// Accept.
    pub const ACCEPT: Self = Self(1 << 5);
    /// Upgrade, as long as the client's connection could become a tunnel.
    pub const UPGRADE: Self = Self(1 << 6);
    /// Any field that ends at this hop ([`super::hop_by_hop`]).
    pub const HOP_BY_HOP: Self = Self(1 << 8);
    /// What a proxy tells the next one: `X-Forwarded-…`, `X-Real-IP`, Forwarded, the request's id, the time that is left.
    pub const CLAIMS: Self = Self(1 << 9);
    /// No field: the request is an extended CONNECT (RFC 8441), which a tunnel answers, or a refusal.
    pub const CONNECT: Self = Self(1 << 7);

    /// The kinds that are in `fields`.
    pub fn of(fields: &HeaderMap) -> Self {
        fields.keys().map(Self::kind).fold(Self::default(), BitOr::bitor)
    }

    /// The kind that `name` is of, as a set of one, or of none.
    pub fn kind(name: &HeaderName) -> Self {
        Self::of_name(name.as_str())
    }

    /// The same for a name in any case.
    pub(crate) fn kind_in_any_case(name: &[u8]) -> Self {
        // Longer than all names that are compared with as a whole.
        let mut room = [0; 32];
        let begin = &mut room[..name.len().min(32)];
        begin.copy_from_slice(&name[..begin.len()]);
        begin.make_ascii_lowercase();
        std::str::from_utf8(begin).map_or_else(|_| Self::default(), Self::of_name)
    }

    fn of_name(name: &str) -> Self {
        match name {
            "content-length" => Self::FRAMING,
            "transfer-encoding" => Self::FRAMING | Self::HOP_BY_HOP,
            "connection" => Self::CONNECTION | Self::HOP_BY_HOP,
            "expect" => Self::EXPECT,
            "via" | "cdn-loop" => Self::HOPS,
            "cache-control"
            | "pragma"
            | "authorization"
            | "range"
            | "if-match"
            | "if-none-match"
            | "if-modified-since"
            | "if-unmodified-since" => Self::CACHING,
            "accept" => Self::ACCEPT,
            "upgrade" => Self::UPGRADE | Self::HOP_BY_HOP,
            "forwarded" | "x-real-ip" | "x-request-id" | "tidegate-time-left" => Self::CLAIMS,
            name if name.starts_with("x-forwarded-") => Self::CLAIMS,
            name if hop_by_hop::ends_here(name) => Self::HOP_BY_HOP,
            _ => Self::default(),
        }
    }

    /// This set without `kinds`.
    #[must_use]
    pub const fn without(self, kinds: Self) -> Self {
        Self(self.0 & !kinds.0)
    }

    /// Whether one of `kinds` may be there.
    pub const fn any(self, kinds: Self) -> bool {
        self.0 & kinds.0 != 0
    }
}

impl BitOr for Notable {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_notable_is_the_union_of_the_kinds_of_all_fields() {
        for (names, expected) in [
            (&["host", "user-agent", "cookie", "if-range"][..], Notable::default()),
            (&["host", "via"], Notable::HOPS),
            (&["cdn-loop"], Notable::HOPS),
            (
                &["transfer-encoding", "accept"],
                Notable::FRAMING | Notable::HOP_BY_HOP | Notable::ACCEPT,
            ),
            (
                &["if-none-match", "connection"],
                Notable::CACHING | Notable::CONNECTION | Notable::HOP_BY_HOP,
            ),
            (&["expect", "content-length"], Notable::EXPECT | Notable::FRAMING),
            (&["upgrade"], Notable::UPGRADE | Notable::HOP_BY_HOP),
            (&["te", "x-forwarded-for"], Notable::HOP_BY_HOP | Notable::CLAIMS),
            (&["x-request-id"], Notable::CLAIMS),
            (&["x-forwarded", "keep-alives"], Notable::default()),
            (&["x-forwarded-and-a-name-that-is-quite-long"], Notable::CLAIMS),
        ] {
            let mut fields = HeaderMap::new();
            for name in names {
                fields.append(*name, HeaderValue::from_static("x"));
            }
            let notable = Notable::of(&fields);
            assert_eq!(notable, expected, "{names:?}");
            let kinds = names
                .iter()
                .map(|name| Notable::kind_in_any_case(name.to_ascii_uppercase().as_bytes()));
            assert_eq!(kinds.fold(Notable::default(), BitOr::bitor), expected, "{names:?}");
            assert!(!notable.any(Notable::default()));
            assert_eq!(notable.without(expected), Notable::default());
        }
    }
}
