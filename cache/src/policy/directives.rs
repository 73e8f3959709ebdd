//! Cache-Control: its directives in responses and requests (RFC 9111 §5.2, RFC 5861, RFC 8246).
//!
//! Reads bytes into plain values; decides nothing. Unknown directives are ignored, restrictive ones count however they
//! are dressed up, permissive ones only in their proper form.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::list;

/// The argument of a directive that takes delta-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delta {
    /// The directive is not there.
    #[default]
    Absent,
    /// It is there without a number: the response counts as stale.
    Invalid,
    /// Seconds, at most 2^31.
    Seconds(u32),
}

/// A directive that may be limited to some fields: `no-cache`, `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Qualified {
    /// The directive is not there.
    #[default]
    Absent,
    /// It is there for these fields only.
    Fields(Vec<HeaderName>),
    /// It is there for the whole response.
    Whole,
}

/// What a response says about its caching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `max-age` (§5.2.2.1).
    pub max_age: Delta,
    /// `s-maxage` (§5.2.2.10).
    pub s_maxage: Delta,
    /// `stale-while-revalidate` in seconds (RFC 5861 §3); nothing when malformed.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` in seconds (RFC 5861 §4); nothing when malformed.
    pub stale_if_error: Option<u32>,
    /// `no-store` (§5.2.2.5).
    pub no_store: bool,
    /// `no-cache` (§5.2.2.4).
    pub no_cache: Qualified,
    /// `private` (§5.2.2.7).
    pub private: Qualified,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `must-revalidate` (§5.2.2.2).
    pub must_revalidate: bool,
    /// `proxy-revalidate` (§5.2.2.8).
    pub proxy_revalidate: bool,
    /// `must-understand` (§5.2.2.3).
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
}

/// How stale a response a client takes (§5.2.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxStale {
    /// Not at all.
    #[default]
    Absent,
    /// However stale.
    Any,
    /// By at most these seconds.
    Seconds(u32),
}

/// What a request says about caching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// `no-cache` (§5.2.1.4), or `Pragma: no-cache` without Cache-Control.
    pub no_cache: bool,
    /// `no-store` (§5.2.1.5).
    pub no_store: bool,
    /// `only-if-cached` (§5.2.1.7).
    pub only_if_cached: bool,
    /// `max-age` in seconds (§5.2.1.1).
    pub max_age: Option<u32>,
    /// `min-fresh` in seconds (§5.2.1.3).
    pub min_fresh: Option<u32>,
    /// `max-stale` (§5.2.1.2).
    pub max_stale: MaxStale,
    /// `stale-if-error` in seconds (RFC 5861 §4).
    pub stale_if_error: Option<u32>,
}

impl Delta {
    /// Whether the directive is there, valid or not.
    pub const fn is_present(self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl Qualified {
    fn restrict(&mut self, argument: Argument<'_>) {
        let named = argument.field_names();
        match (&mut *self, named) {
            // "If directives conflict […] the most restrictive directive should be honored." (§4.2.1)
            (Self::Whole, _) => {}
            (_, None) => *self = Self::Whole,
            (Self::Absent, Some(names)) => *self = Self::Fields(names),
            (Self::Fields(fields), Some(names)) => fields.extend(names),
        }
    }
}

impl ResponseDirectives {
    /// Reads the Cache-Control lines of a response, all as one list.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in fields.get_all(header::CACHE_CONTROL) {
            for member in list::members(line.as_bytes()) {
                let (name, argument) = split(member);
                lower_case(name, |name| directives.set(name, argument));
            }
        }
        directives
    }

    /// Takes one directive, its name in lower case.
    pub(super) fn set(&mut self, name: &[u8], argument: Argument<'_>) {
        match name {
            b"max-age" => argument.first_delta(&mut self.max_age),
            b"s-maxage" => argument.first_delta(&mut self.s_maxage),
            b"stale-while-revalidate" => argument.first_seconds(&mut self.stale_while_revalidate),
            b"stale-if-error" => argument.first_seconds(&mut self.stale_if_error),
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache.restrict(argument),
            b"private" => self.private.restrict(argument),
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"public" => self.public |= argument.is_absent(),
            b"must-understand" => self.must_understand |= argument.is_absent(),
            b"immutable" => self.immutable |= argument.is_absent(),
            // "A cache MUST ignore unrecognized cache directives." (§5.2.3)
            _ => {}
        }
    }
}

impl RequestDirectives {
    /// Takes the members of one Cache-Control line of a request.
    pub fn add_line(&mut self, line: &HeaderValue) {
        for member in list::members(line.as_bytes()) {
            let (name, argument) = split(member);
            lower_case(name, |name| self.set(name, argument));
        }
    }

    fn set(&mut self, name: &[u8], argument: Argument<'_>) {
        match name {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => argument.first_seconds(&mut self.max_age),
            b"min-fresh" => argument.first_seconds(&mut self.min_fresh),
            b"stale-if-error" => argument.first_seconds(&mut self.stale_if_error),
            b"max-stale" => match argument.seconds() {
                _ if self.max_stale != MaxStale::Absent => {}
                Some(seconds) => self.max_stale = MaxStale::Seconds(seconds),
                // "If no value is assigned to max-stale, then the client will accept a stale response of any age."
                None if argument.is_absent() => self.max_stale = MaxStale::Any,
                None => {}
            },
            _ => {}
        }
    }
}

/// Whether a `Pragma` line asks for no-cache (RFC 9111 §5.4).
pub fn pragma_no_cache(line: &HeaderValue) -> bool {
    list::members(line.as_bytes()).any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}

/// What stands after a directive's `=`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument<'a> {
    Absent,
    /// As it stands, quotes included.
    Text(&'a [u8]),
    /// White space around the `=`.
    Malformed,
}

impl Argument<'_> {
    const fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    /// "arguments can use both token and quoted-string syntax […] recipients ought to accept both forms" (§5.2)
    fn seconds(self) -> Option<u32> {
        match self {
            Self::Text(text) => list::delta_seconds(list::unquoted(text)),
            Self::Absent | Self::Malformed => None,
        }
    }

    /// "When there is more than one value present for a given directive […], either the first occurrence should be used
    /// or the response should be considered stale. […] Caches are encouraged to consider responses that have invalid
    /// freshness information (e.g., a max-age directive with non-integer content) to be stale." (§4.2.1)
    fn first_delta(self, delta: &mut Delta) {
        if *delta == Delta::Absent {
            *delta = self.seconds().map_or(Delta::Invalid, Delta::Seconds);
        }
    }

    fn first_seconds(self, seconds: &mut Option<u32>) {
        if seconds.is_none() {
            *seconds = self.seconds();
        }
    }

    /// The fields that it names; `None` when there is none, or one that cannot be a field's name.
    fn field_names(self) -> Option<Vec<HeaderName>> {
        let Self::Text(text) = self else { return None };
        let names: Option<Vec<_>> = list::members(list::unquoted(text))
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        names.filter(|names| !names.is_empty())
    }
}

/// Parts `name=argument`.
fn split(member: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else {
        return (member, Argument::Absent);
    };
    let (name, argument) = (&member[..equals], &member[equals + 1..]);
    let spaced = name.last().is_some_and(|byte| list::is_space(*byte))
        || argument.first().is_some_and(|byte| list::is_space(*byte));
    if spaced {
        (list::trim(name), Argument::Malformed)
    } else {
        (name, Argument::Text(argument))
    }
}

/// "Cache directives are identified by a token, to be compared case-insensitively" (§5.2).
fn lower_case(name: &[u8], then: impl FnOnce(&[u8])) {
    let mut buffer = [0_u8; 24];
    // No known directive has a longer name.
    if let Some(lower) = buffer.get_mut(..name.len()) {
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        then(lower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(header::CACHE_CONTROL, line.parse().unwrap());
        }
        ResponseDirectives::of(&fields)
    }

    fn request(lines: &[&'static str]) -> RequestDirectives {
        let mut directives = RequestDirectives::default();
        for line in lines {
            directives.add_line(&HeaderValue::from_static(line));
        }
        directives
    }

    fn fields(names: &[&'static str]) -> Qualified {
        Qualified::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
    }

    #[test]
    fn lifetimes_are_read_as_leniently_as_the_rfc_says() {
        use Delta::{Absent, Invalid, Seconds};
        for (lines, max_age, s_maxage) in [
            (&["max-age=3600"][..], Seconds(3600), Absent),
            (&["MaX-aGe=3600"], Seconds(3600), Absent),
            (&["max-age=\"3600\""], Seconds(3600), Absent),
            (&["max-age=003600"], Seconds(3600), Absent),
            (&["max-age=2147483648"], Seconds(1 << 31), Absent),
            (&["max-age=99999999999"], Seconds(1 << 31), Absent),
            (&["foobar, max-age=3600"], Seconds(3600), Absent),
            (&["foo=\"a\\\"b\", max-age=3600"], Seconds(3600), Absent),
            (&["max-age=1, s-maxage=2"], Seconds(1), Seconds(2)),
            (&["s-maxage=2, max-age=1"], Seconds(1), Seconds(2)),
            (&["s-maxage=2", "max-age=1"], Seconds(1), Seconds(2)),
            (&["", " , ", "max-age=1"], Seconds(1), Absent),
            // the first occurrence is used
            (&["max-age=1800, max-age=1"], Seconds(1800), Absent),
            (&["max-age=1800", "max-age=1"], Seconds(1800), Absent),
            (&["max-age=1, max-age=1800"], Seconds(1), Absent),
            (&["max-age=x, max-age=1800"], Invalid, Absent),
            // not a directive at all
            (&["extension=\"max-age=100\", max-age=1"], Seconds(1), Absent),
            (&["max-age=1, extension=\"max-age=100\""], Seconds(1), Absent),
            (&["extension=\"max-age=100\""], Absent, Absent),
            (&["x-max-age=100"], Absent, Absent),
            (&["max-ages=100"], Absent, Absent),
            (&["the-longest-name-of-a-directive-that-nobody-knows=1"], Absent, Absent),
            // there, but not a number
            (&["max-age"], Invalid, Absent),
            (&["max-age="], Invalid, Absent),
            (&["max-age=\"\""], Invalid, Absent),
            (&["max-age='3600'"], Invalid, Absent),
            (&["max-age =100"], Invalid, Absent),
            (&["max-age= 100"], Invalid, Absent),
            (&["max-age=a100"], Invalid, Absent),
            (&["max-age=100a"], Invalid, Absent),
            (&["max-age=-100"], Invalid, Absent),
            (&["max-age=3600.0"], Invalid, Absent),
            (&["max-age=1;max-age=2"], Invalid, Absent),
            (&["s-maxage=no"], Absent, Invalid),
        ] {
            let found = response(lines);
            assert_eq!((found.max_age, found.s_maxage), (max_age, s_maxage), "{lines:?}");
        }
    }

    #[test]
    fn restrictive_directives_count_however_they_are_dressed_up() {
        for line in [
            "no-store",
            "No-StOrE",
            "max-age=1, no-store",
            "no-store=1",
            "no-store =1",
            "a=\"x, no-store",
        ] {
            assert!(response(&[line]).no_store, "{line}");
        }
        for line in ["a=\"no-store\"", "no-stores", "nostore"] {
            assert!(!response(&[line]).no_store, "{line}");
        }
        assert!(response(&["must-revalidate=1"]).must_revalidate);
        assert!(response(&["PROXY-revalidate"]).proxy_revalidate);
    }

    #[test]
    fn permissive_directives_count_only_in_their_proper_form() {
        for (line, expected) in [
            ("public", true),
            ("PUBLIC", true),
            ("public=1", false),
            ("public =", false),
        ] {
            assert_eq!(response(&[line]).public, expected, "{line}");
        }
        assert!(!response(&["must-understand=1"]).must_understand);
        assert!(!response(&["immutable=1"]).immutable);
        assert!(response(&["max-age=1, immutable"]).immutable);
    }

    #[test]
    fn qualified_directives_name_fields_and_the_most_restrictive_form_wins() {
        use Qualified::{Absent, Whole};
        for (lines, expected) in [
            (&["max-age=1"][..], Absent),
            (&["no-cache"], Whole),
            (&["no-cache=\"a\""], fields(&["a"])),
            (&["no-cache=a"], fields(&["a"])),
            (&["no-cache=\"A, b\""], fields(&["a", "b"])),
            (&["no-cache=\"a\", no-cache=\"b\""], fields(&["a", "b"])),
            (&["no-cache=\"a\"", "no-cache"], Whole),
            (&["no-cache, no-cache=\"a\""], Whole),
            (&["no-cache=\"\""], Whole),
            (&["no-cache="], Whole),
            (&["no-cache=\"a b\""], Whole),
            (&["no-cache =\"a\""], Whole),
        ] {
            assert_eq!(response(lines).no_cache, expected, "{lines:?}");
        }
        assert_eq!(response(&["private=\"set-cookie\""]).private, fields(&["set-cookie"]));
        assert_eq!(response(&["private"]).private, Whole);
    }

    #[test]
    fn stale_extensions_are_ignored_when_malformed() {
        let found = response(&["stale-while-revalidate=60, stale-if-error=x, stale-if-error=90"]);
        assert_eq!(found.stale_while_revalidate, Some(60));
        assert_eq!(found.stale_if_error, Some(90));
    }

    #[test]
    fn request_directives_are_read() {
        let found = request(&[
            "No-Cache, no-store",
            "only-if-cached, max-age=5, min-fresh=\"6\", stale-if-error=7",
        ]);
        assert_eq!(
            found,
            RequestDirectives {
                no_cache: true,
                no_store: true,
                only_if_cached: true,
                max_age: Some(5),
                min_fresh: Some(6),
                max_stale: MaxStale::Absent,
                stale_if_error: Some(7),
            }
        );
        for (line, expected) in [
            ("max-stale", MaxStale::Any),
            ("max-stale=5", MaxStale::Seconds(5)),
            ("max-stale=5, max-stale", MaxStale::Seconds(5)),
            ("max-stale=x", MaxStale::Absent),
            ("max-stale= 5", MaxStale::Absent),
        ] {
            assert_eq!(request(&[line]).max_stale, expected, "{line}");
        }
        assert_eq!(request(&["max-age=x, min-fresh"]), RequestDirectives::default());
    }

    #[test]
    fn pragma_asks_for_no_cache_by_that_word_only() {
        for (line, expected) in [
            ("no-cache", true),
            ("x, No-Cache", true),
            ("unrecognised-extension", false),
            ("no-cache=1", false),
        ] {
            assert_eq!(pragma_no_cache(&HeaderValue::from_static(line)), expected, "{line}");
        }
    }
}
