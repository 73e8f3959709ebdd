//! A client's own preconditions, evaluated against a representation at hand (RFC 9110 §13.2, RFC 9111 §4.3.2).

use common::time::WallTime;
use http::{HeaderMap, StatusCode, header};

use super::date;
use super::range::IfRange;
use super::validators::{TagRef, Validators, tags};

/// What the preconditions of a request make of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// The response is sent as if there were none.
    Full,
    /// 304: the client has it.
    NotModified,
    /// If-Match or If-Unmodified-Since does not hold for what is stored: the request goes to the origin, with these
    /// fields, and only the origin can answer 412.
    AskOrigin,
}

/// A representation as far as preconditions look at it.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    /// The status of the response without the preconditions.
    pub status: StatusCode,
    /// Its validators.
    pub validators: &'a Validators,
    /// Its Date, or when it was received.
    pub date: WallTime,
    /// Whether the origin sent or validated it during this very exchange, and so has evaluated what is its own to
    /// evaluate.
    pub current: bool,
}

/// Evaluates the preconditions of a GET or HEAD.
pub fn evaluate(request: &HeaderMap, representation: &Representation<'_>, now: WallTime) -> Evaluated {
    // "A server MUST ignore all received preconditions if its response to the same request without those conditions […]
    // would have been a status code other than a 2xx (Successful) or 412 (Precondition Failed)." (RFC 9110 §13.2.1)
    if !representation.status.is_success() {
        return Evaluated::Full;
    }
    // "When recipient is the origin server and If-Match is present, evaluate the If-Match precondition" (RFC 9110
    // §13.2.2), and "the If-Match and If-Unmodified-Since conditional header fields are not applicable to a cache" (RFC
    // 9111 §4.3.2): they are passed on in every request to the origin (`request::make_unconditional`). Where they hold
    // for what is stored, asking would make no difference.
    let holds = if_match(request, representation).or_else(|| if_unmodified_since(request, representation, now));
    if holds == Some(false) && !representation.current {
        return Evaluated::AskOrigin;
    }
    let modified = if_none_match(request, representation).or_else(|| if_modified_since(request, representation, now));
    if modified == Some(false) {
        Evaluated::NotModified
    } else {
        Evaluated::Full
    }
}

/// Whether If-Match holds; `None` when there is none.
fn if_match(request: &HeaderMap, representation: &Representation<'_>) -> Option<bool> {
    let lines = request.get_all(header::IF_MATCH);
    lines.iter().next()?;
    // "If the field value is "*", the condition is true if the origin server has a current representation for the
    // target resource." (RFC 9110 §13.1.1)
    if lines.iter().any(|line| line == "*") {
        return Some(true);
    }
    // "An origin server MUST use the strong comparison function when comparing entity tags for If-Match" (§13.1.1)
    let ours = representation.validators.etag.as_ref()?.tag();
    Some(tags(lines.iter()).any(|theirs| theirs.strongly_equals(ours)))
}

/// Whether If-Unmodified-Since holds; `None` when there is none that counts.
fn if_unmodified_since(request: &HeaderMap, representation: &Representation<'_>, now: WallTime) -> Option<bool> {
    // "A recipient MUST ignore If-Unmodified-Since if the request contains an If-Match header field" (§13.1.4)
    if request.contains_key(header::IF_MATCH) {
        return None;
    }
    // "A recipient MUST ignore the If-Unmodified-Since header field if the received field value is not a valid
    // HTTP-date […]. A recipient MUST ignore the If-Unmodified-Since header field if the resource does not have a
    // modification date available." (§13.1.4)
    let since = date_of(request, &header::IF_UNMODIFIED_SINCE, now)?;
    let modified = representation.validators.last_modified.as_ref()?.at;
    Some(modified <= since)
}

/// Whether If-None-Match holds; `None` when there is none.
fn if_none_match(request: &HeaderMap, representation: &Representation<'_>) -> Option<bool> {
    let lines = request.get_all(header::IF_NONE_MATCH);
    lines.iter().next()?;
    if lines.iter().any(|line| line == "*") {
        return Some(false);
    }
    // "A recipient MUST use the weak comparison function when comparing entity tags for If-None-Match" (§13.1.2)
    let ours = representation
        .validators
        .etag
        .as_ref()
        .map(super::validators::EntityTag::tag);
    let same = |theirs: TagRef<'_>| ours.is_some_and(|ours| theirs.weakly_equals(ours));
    Some(!tags(lines.iter()).any(same))
}

/// Whether the representation was modified since; `None` when there is no If-Modified-Since that counts.
fn if_modified_since(request: &HeaderMap, representation: &Representation<'_>, now: WallTime) -> Option<bool> {
    // "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field" (§13.1.3)
    if request.contains_key(header::IF_NONE_MATCH) {
        return None;
    }
    // "A recipient MUST ignore the If-Modified-Since header field if the received field value is not a valid HTTP-date,
    // the field value has more than one member" (§13.1.3)
    let since = date_of(request, &header::IF_MODIFIED_SINCE, now)?;
    // "If a request contains an If-Modified-Since header field and the Last-Modified header field is not present in a
    // stored response, a cache SHOULD use the stored response's Date field value (or, if no Date field is present, the
    // time that the stored response was received) to evaluate the conditional." (RFC 9111 §4.3.2)
    let modified = representation
        .validators
        .last_modified
        .as_ref()
        .map_or(representation.date, |date| date.at);
    Some(modified > since)
}

/// Whether a Range is to be looked at: If-Range is absent, or holds (RFC 9110 §13.1.5).
pub fn if_range(request: &HeaderMap, validators: &Validators, now: WallTime) -> IfRange {
    let mut lines = request.get_all(header::IF_RANGE).iter();
    let Some(value) = lines.next() else {
        return IfRange::Holds;
    };
    if lines.next().is_some() {
        return IfRange::Fails;
    }
    let holds = match date::parse(value.as_bytes(), now) {
        // "If the HTTP-date validator provided is not a strong validator in the sense defined by Section 8.8.2.2, the
        // condition is false. […] If the HTTP-date validator provided exactly matches the Last-Modified field value for
        // the selected representation, the condition is true." (§13.1.5)
        Some(at) => validators
            .last_modified
            .as_ref()
            .is_some_and(|modified| modified.strong && modified.at == at),
        // "If the entity-tag validator provided exactly matches the ETag field value for the selected representation
        // using the strong comparison function (Section 8.8.3.2), the condition is true." (§13.1.5)
        None => {
            let theirs = TagRef::read(value.as_bytes());
            validators
                .etag
                .as_ref()
                .is_some_and(|ours| theirs.strongly_equals(ours.tag()))
        }
    };
    if holds { IfRange::Holds } else { IfRange::Fails }
}

/// The date in a field that has exactly one line.
fn date_of(request: &HeaderMap, name: &http::HeaderName, now: WallTime) -> Option<WallTime> {
    let mut lines = request.get_all(name).iter();
    let (value, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    date::parse(value.as_bytes(), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::Duration;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000);

    type Lines<'a> = &'a [(&'static str, &'a str)];

    /// Dates are written as `@-10`: seconds before now.
    fn fields(lines: Lines<'_>) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let value = match value.strip_prefix("@-") {
                Some(ago) => NOW.minus(Duration::from_secs(ago.parse().unwrap())).http_date(),
                None => (*value).to_owned(),
            };
            map.append(*name, HeaderValue::try_from(value).unwrap());
        }
        map
    }

    fn check(stored: Lines<'_>, request: Lines<'_>, status: u16, current: bool, expected: Evaluated) {
        let validators = Validators::of(&fields(stored), NOW, NOW);
        let representation = Representation {
            status: StatusCode::from_u16(status).unwrap(),
            validators: &validators,
            date: NOW,
            current,
        };
        assert_eq!(
            evaluate(&fields(request), &representation, NOW),
            expected,
            "{stored:?} {request:?} {status}"
        );
    }

    const TAG: (&str, &str) = ("etag", "\"abc\"");
    const WEAK: (&str, &str) = ("etag", "W/\"abc\"");
    const LM: (&str, &str) = ("last-modified", "@-3000");

    #[test]
    fn if_none_match_and_if_modified_since_answer_with_304() {
        use Evaluated::{Full, NotModified};
        let (inm, ims) = ("if-none-match", "if-modified-since");
        for (stored, request, expected) in [
            (&[TAG][..], &[][..], Full),
            (&[TAG], &[(inm, "\"abc\"")], NotModified),
            (&[TAG], &[(inm, "W/\"abc\"")], NotModified),
            (&[WEAK], &[(inm, "\"abc\"")], NotModified),
            (&[WEAK], &[(inm, "W/\"abc\"")], NotModified),
            (&[TAG], &[(inm, "\"abd\"")], Full),
            (&[TAG], &[(inm, "\"abc\", \"1\", \"2\"")], NotModified),
            (&[TAG], &[(inm, "\"1\",\"abc\" , \"2\"")], NotModified),
            (&[TAG], &[(inm, "\"1\""), (inm, "\"2\", \"abc\"")], NotModified),
            (&[TAG], &[(inm, "*")], NotModified),
            (&[], &[(inm, "*")], NotModified),
            (&[], &[(inm, "\"abc\"")], Full),
            (&[TAG], &[(inm, "abc")], Full),
            (&[("etag", "abc")], &[(inm, "abc")], NotModified),
            (&[("etag", "abc")], &[(inm, "\"abc\"")], Full),
            (&[("etag", "\"abcd\u{fc}\"")], &[(inm, "\"abcd\u{fc}\"")], NotModified),
            (&[LM], &[(ims, "@-3000")], NotModified),
            (&[LM], &[(ims, "@-2000")], NotModified),
            (&[LM], &[(ims, "@-3001")], Full),
            (&[LM], &[(ims, "yesterday")], Full),
            (&[LM], &[(ims, "@-3000"), (ims, "@-3000")], Full),
            // without Last-Modified, Date is taken for it
            (&[], &[(ims, "@-3000")], Full),
            (&[], &[(ims, "@-0")], NotModified),
            // If-None-Match goes first
            (&[TAG, LM], &[(inm, "\"abc\""), (ims, "@-9000")], NotModified),
            (&[TAG, LM], &[(inm, "\"abd\""), (ims, "@-0")], Full),
            (&[LM], &[(inm, "\"abc\""), (ims, "@-0")], Full),
        ] {
            check(stored, request, 200, false, expected);
            check(stored, request, 200, true, expected);
            check(stored, request, 404, false, Full);
            check(stored, request, 301, false, Full);
        }
    }

    #[test]
    fn if_match_and_if_unmodified_since_are_the_origins_to_refuse() {
        let (im, ius) = ("if-match", "if-unmodified-since");
        for (stored, request, holds) in [
            (&[TAG][..], &[(im, "\"abc\"")][..], true),
            (&[TAG], &[(im, "*")], true),
            (&[TAG], &[(im, "\"x\", \"abc\"")], true),
            (&[TAG], &[(im, "\"x\"")], false),
            (&[TAG], &[(im, "W/\"abc\"")], false),
            (&[WEAK], &[(im, "W/\"abc\"")], false),
            (&[LM], &[(ius, "@-3000")], true),
            (&[LM], &[(ius, "@-3001")], false),
            (&[LM], &[(ius, "nonsense")], true),
            (&[], &[(ius, "@-0")], true),
            (&[TAG, LM], &[(im, "\"abc\""), (ius, "@-9000")], true),
        ] {
            let found = if holds { Evaluated::Full } else { Evaluated::AskOrigin };
            check(stored, request, 200, false, found);
            check(stored, request, 200, true, Evaluated::Full);
            check(stored, request, 500, true, Evaluated::Full);
        }
        check(
            &[TAG],
            &[(im, "\"abc\""), ("if-none-match", "\"abc\"")],
            200,
            false,
            Evaluated::NotModified,
        );
        check(
            &[TAG],
            &[(im, "\"x\""), ("if-none-match", "\"abc\"")],
            200,
            false,
            Evaluated::AskOrigin,
        );
    }

    #[test]
    fn if_range_holds_by_strong_comparison_only() {
        for (stored, value, expected) in [
            (&[TAG][..], "\"abc\"", IfRange::Holds),
            (&[TAG], "\"abd\"", IfRange::Fails),
            (&[TAG], "W/\"abc\"", IfRange::Fails),
            (&[WEAK], "W/\"abc\"", IfRange::Fails),
            (&[("etag", "abc")], "abc", IfRange::Fails),
            (&[LM], "@-3000", IfRange::Holds),
            (&[LM], "@-2999", IfRange::Fails),
            (&[LM], "@-3001", IfRange::Fails),
            (&[("last-modified", "@-10")], "@-10", IfRange::Fails),
            (&[], "\"abc\"", IfRange::Fails),
        ] {
            let validators = Validators::of(&fields(stored), NOW, NOW);
            let request = fields(&[("if-range", value)]);
            assert_eq!(if_range(&request, &validators, NOW), expected, "{stored:?} {value}");
        }
        let validators = Validators::of(&fields(&[TAG]), NOW, NOW);
        assert_eq!(if_range(&HeaderMap::new(), &validators, NOW), IfRange::Holds);
        let twice = fields(&[("if-range", "\"abc\""), ("if-range", "\"abc\"")]);
        assert_eq!(if_range(&twice, &validators, NOW), IfRange::Fails);
    }
}
