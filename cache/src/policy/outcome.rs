//! What the cache did with a request, in the words of RFC 9211, and as a member of Cache-Status.

use std::fmt::{self, Write as _};

use http::StatusCode;

use super::bypass::Bypass;
use super::reuse::ValidateWhy;

/// What the cache did: answered, or forwarded and why (RFC 9211 §2.1, §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered from the store, without asking.
    Hit,
    /// Forwarded towards the origin.
    Fwd(Fwd),
}

/// Why a request was forwarded (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fwd {
    /// "The cache was configured to not handle this request."
    Bypass,
    /// "The request method's semantics require the request to be forwarded."
    Method,
    /// "The cache did not contain any responses that matched the request URI."
    UriMiss,
    /// "The cache contained a response that matched the request URI, but it could not select a response based upon this
    /// request's header fields and stored Vary header fields."
    VaryMiss,
    /// "The cache did not contain any responses that could be used to satisfy this request (to be used when an
    /// implementation cannot distinguish between uri-miss and vary-miss)."
    Miss,
    /// "The cache was able to select a fresh response for the request, but the request's semantics (e.g., Cache-Control
    /// request directives) did not allow its use."
    Request,
    /// "The cache was able to select a response for the request, but it was stale."
    Stale,
    /// "The cache was able to select a partial response for the request, but it did not contain all of the requested
    /// ranges (or the request was for the complete response)."
    Partial,
}

impl Outcome {
    /// The word for log and metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Fwd(fwd) => fwd.word(),
        }
    }
}

impl Fwd {
    /// The word of RFC 9211.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl From<Bypass> for Fwd {
    fn from(bypass: Bypass) -> Self {
        match bypass {
            Bypass::Method => Self::Method,
            Bypass::Field | Bypass::Cookie | Bypass::Query => Self::Bypass,
        }
    }
}

impl From<ValidateWhy> for Fwd {
    fn from(why: ValidateWhy) -> Self {
        if why.is_request() { Self::Request } else { Self::Stale }
    }
}

/// One member of Cache-Status, written without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct CacheStatus<'a, K = &'static str> {
    /// The cache's name, a token.
    pub cache: &'a str,
    /// What it did.
    pub outcome: Outcome,
    /// What is left of the lifetime in seconds (§2.4).
    pub ttl: Option<i64>,
    /// The status the next hop answered with (§2.3); not sent when it is the response's own.
    pub fwd_status: Option<StatusCode>,
    /// Whether the response was stored (§2.5).
    pub stored: bool,
    /// Whether the request waited for another one's response (§2.6).
    pub collapsed: bool,
    /// The cache key (§2.7).
    pub key: Option<K>,
    /// One more word (§2.8): why not stored, why stale, which lifetime.
    pub detail: Option<&'static str>,
}

impl<'a> CacheStatus<'a> {
    /// Only what was done.
    pub const fn new(cache: &'a str, outcome: Outcome) -> Self {
        Self {
            cache,
            outcome,
            ttl: None,
            fwd_status: None,
            stored: false,
            collapsed: false,
            key: None,
            detail: None,
        }
    }

    /// The same, with the cache key.
    pub fn with_key<K>(self, key: K) -> CacheStatus<'a, K> {
        CacheStatus {
            cache: self.cache,
            outcome: self.outcome,
            ttl: self.ttl,
            fwd_status: self.fwd_status,
            stored: self.stored,
            collapsed: self.collapsed,
            key: Some(key),
            detail: self.detail,
        }
    }
}

/// An sf-integer has at most 15 digits (RFC 8941 §3.3.1).
const SF_INTEGER_MAX: i64 = 999_999_999_999_999;

impl<K: fmt::Display> fmt::Display for CacheStatus<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl<K: fmt::Display> CacheStatus<'_, K> {
    /// Writes it as a member of the field: once per hit, so nothing here goes through a format string.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        f.write_str(self.cache)?;
        match self.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Fwd(fwd) => {
                f.write_str("; fwd=")?;
                f.write_str(fwd.word())?;
            }
        }
        if let Some(status) = self.fwd_status {
            f.write_str("; fwd-status=")?;
            f.write_str(status.as_str())?;
        }
        if let Some(ttl) = self.ttl {
            f.write_str("; ttl=")?;
            f.write_str(itoa::Buffer::new().format(ttl.clamp(-SF_INTEGER_MAX, SF_INTEGER_MAX)))?;
        }
        // "stored […] If the cache stored the response" and "collapsed" have no meaning without fwd (§2.5, §2.6).
        if let Outcome::Fwd(_) = self.outcome {
            f.write_str(if self.stored { "; stored" } else { "" })?;
            f.write_str(if self.collapsed { "; collapsed" } else { "" })?;
        }
        if let Some(key) = &self.key {
            f.write_str("; key=\"")?;
            write!(SfString(f), "{key}")?;
            f.write_char('"')?;
        }
        if let Some(detail) = self.detail {
            f.write_str("; detail=\"")?;
            write!(SfString(f), "{detail}")?;
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// Writes the inside of an sf-string (RFC 8941 §3.3.3): quotes and backslashes escaped, `?` for what it cannot hold.
struct SfString<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for SfString<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|char: char| matches!(char, '"' | '\\') || !matches!(char, ' '..='~')) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = special.chars();
            match chars.next() {
                Some(char @ ('"' | '\\')) => write!(self.0, "\\{char}")?,
                _ => self.0.write_char('?')?,
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_cache_status_reads_as_rfc_9211_wants_it() {
        let hit = CacheStatus::new("tidegate", Outcome::Hit);
        let fwd = |why| CacheStatus::new("tidegate", Outcome::Fwd(why));
        for (status, expected) in [
            (hit, "tidegate; hit"),
            (CacheStatus { ttl: Some(376), ..hit }, "tidegate; hit; ttl=376"),
            (
                CacheStatus {
                    ttl: Some(-5),
                    detail: Some("stale_while_revalidate"),
                    ..hit
                },
                "tidegate; hit; ttl=-5; detail=\"stale_while_revalidate\"",
            ),
            (
                CacheStatus {
                    ttl: Some(i64::MIN),
                    stored: true,
                    collapsed: true,
                    ..hit
                },
                "tidegate; hit; ttl=-999999999999999",
            ),
            (
                CacheStatus {
                    stored: true,
                    ..fwd(Fwd::UriMiss)
                },
                "tidegate; fwd=uri-miss; stored",
            ),
            (
                CacheStatus {
                    fwd_status: Some(StatusCode::NOT_MODIFIED),
                    ttl: Some(60),
                    stored: true,
                    collapsed: true,
                    ..fwd(Fwd::Stale)
                },
                "tidegate; fwd=stale; fwd-status=304; ttl=60; stored; collapsed",
            ),
            (
                CacheStatus {
                    detail: Some("private"),
                    ..fwd(Fwd::VaryMiss)
                },
                "tidegate; fwd=vary-miss; detail=\"private\"",
            ),
            (
                CacheStatus {
                    key: Some("http://a/\"b\\c\u{e9}\n"),
                    ..fwd(Fwd::Bypass)
                },
                "tidegate; fwd=bypass; key=\"http://a/\\\"b\\\\c??\"",
            ),
        ] {
            assert_eq!(status.to_string(), expected);
        }
    }

    #[test]
    fn what_it_writes_is_a_structured_field() {
        let status = CacheStatus {
            key: Some("a \"quoted\" \\ \u{1f30a} key"),
            ttl: Some(i64::MAX),
            detail: Some("born_stale"),
            ..CacheStatus::new("tidegate", Outcome::Fwd(Fwd::Partial))
        };
        let parsed = sfv::Parser::new(&status.to_string()).parse::<sfv::List>();
        assert_eq!(parsed.map(|list| list.len()).ok(), Some(1));
    }

    #[test]
    fn reasons_map_to_the_words_of_rfc_9211() {
        assert_eq!(Fwd::from(Bypass::Method).word(), "method");
        assert_eq!(Fwd::from(Bypass::Cookie).word(), "bypass");
        assert_eq!(Fwd::from(ValidateWhy::NoCache).word(), "stale");
        assert_eq!(Fwd::from(ValidateWhy::RequestMaxAge).word(), "request");
        assert_eq!(Outcome::Hit.word(), "hit");
    }
}
