//! Updating a stored response with the fields of a 304 or a HEAD response (RFC 9111 §3.2, §4.3.4, §4.3.5).

use common::http::field_lines::FieldLines;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::content_range;
use super::date;
use super::meta::StoredMeta;
use super::not_stored::NotStored;
use super::rules::Rules;
use super::store::{Exchange, Storable, storable};
use super::stored_fields;
use super::validators::Validators;

/// A stored response after an update.
#[derive(Clone, Debug)]
pub struct Freshened {
    /// Its fields, for this exchange: with everything that the update brought, but Age.
    pub fields: HeaderMap,
    /// What is known about it now; or why it may not stay stored. Where the reason is about the response
    /// ([`NotStored::is_about_response`]), what was stored goes; otherwise it stays as it was.
    pub storing: Result<Storable, NotStored>,
}

impl Freshened {
    /// The fields to be stored, if it may stay stored.
    pub fn to_store(&self) -> Option<FieldLines> {
        let storable = self.storing.as_ref().ok()?;
        Some(stored_fields::to_store(
            &self.fields,
            &storable.omit,
            storable.meta.date,
        ))
    }
}

/// Updates the `stored` fields of a response with status `status` by those of `exchange`, whose response is the 304 (or
/// the response to HEAD) and whose request is the one it answers.
pub fn freshen(stored: &HeaderMap, status: StatusCode, exchange: &Exchange<'_>, rules: &Rules) -> Freshened {
    let merged = merge(stored, exchange.response, exchange);
    let storing = storable(
        &Exchange {
            method: &http::Method::GET,
            status,
            response: &merged,
            ..*exchange
        },
        rules,
    );
    let mut fields = merged;
    fields.remove(header::AGE);
    Freshened { fields, storing }
}

/// "the cache MUST add each header field in the provided response to the stored response, replacing field values that
/// are already present, with the following exceptions" (§3.2): those of §3.1, and [`describes_content`]
fn merge(stored: &HeaderMap, update: &HeaderMap, exchange: &Exchange<'_>) -> HeaderMap {
    let mut merged = stored.clone();
    let named = stored_fields::named_by_connection(update);
    // Age of the update is the age of what is validated: it counts, and is taken away later.
    let excepted = |name: &HeaderName| *name != header::AGE && stored_fields::is_never_stored(name, &named);
    let taken = |name: &HeaderName| !excepted(name) && !describes_content(name);
    for name in update.keys().filter(|name| taken(name)) {
        merged.remove(name);
        for value in update.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    // A stored Date must not make a validated response as old as it was: without one of its own the update is as old as
    // its receipt (RFC 9110 §6.6.1).
    let dated = update
        .get(header::DATE)
        .and_then(|value| date::parse(value.as_bytes(), exchange.times.response));
    if dated.is_none() {
        merged.remove(header::DATE);
    }
    merged
}

/// Fields that say what the stored bytes are and stay as they were stored: "The Content-Length header field", and
/// "Header fields that the cache's stored response depends upon" (§3.2): the bytes were coded and cut when they came.
/// A digest of content is of the message that carries it ("the digest is calculated using the entire content of the
/// message", RFC 9530 §2; RFC 1864), and a 304 has none.
fn describes_content(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "content-encoding" | "content-range" | "content-digest" | "content-md5"
    )
}

/// What a response to a HEAD of ours does to a stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// It is updated: see [`freshen`].
    Freshen,
    /// It has changed at the origin and counts as stale.
    MarkStale,
    /// Nothing.
    Nothing,
}

/// "When a cache makes an inbound HEAD request for a target URI and receives a 200 (OK) response, the cache SHOULD
/// update or invalidate each of its stored GET responses that could have been chosen for that request. For each of the
/// stored responses that could have been chosen, if the stored response and HEAD response have matching values for any
/// received validator fields (`ETag` and Last-Modified) and, if the HEAD response has a Content-Length header field,
/// the value of Content-Length matches that of the stored response, the cache SHOULD update the stored response […];
/// otherwise, the cache SHOULD consider the stored response to be stale." (§4.3.5)
///
/// `stored_length` is the length of the stored content, if it is complete.
pub fn head_effect(
    stored: &StoredMeta,
    stored_length: Option<u64>,
    head_status: StatusCode,
    head: &HeaderMap,
) -> HeadEffect {
    if head_status != StatusCode::OK {
        return HeadEffect::Nothing;
    }
    let received = Validators::of(head, stored.date, stored.date);
    let same_tag = received.etag.is_none() || received.etag == stored.validators.etag;
    let at = |validators: &Validators| validators.last_modified.as_ref().map(|modified| modified.at);
    let same_date = received.last_modified.is_none() || at(&received) == at(&stored.validators);
    let same_length = match (content_range::content_length(head), stored_length) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => true,
    };
    let same_status = stored.status == StatusCode::OK;
    if same_status && same_tag && same_date && same_length {
        HeadEffect::Freshen
    } else {
        HeadEffect::MarkStale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::freshness::LifetimeRule;
    use crate::policy::testing::{self, NOW, exchange, fields};
    use std::time::Duration;

    fn update(stored: &[(&'static str, &str)], update: &[(&'static str, &str)]) -> Freshened {
        let (request, update) = (HeaderMap::new(), fields(update));
        freshen(
            &fields(stored),
            StatusCode::OK,
            &exchange(304, &request, &update),
            &Rules::default(),
        )
    }

    const STORED: &[(&str, &str)] = &[("cache-control", "max-age=2"), ("etag", "\"a\""), ("date", "@-100")];

    #[test]
    fn every_field_is_updated_but_those_that_describe_the_stored_bytes() {
        for (name, updated) in [
            ("test-header", true),
            ("x-test-header", true),
            ("content-foo", true),
            ("content-type", true),
            ("content-location", true),
            ("repr-digest", true),
            ("content-security-policy", true),
            ("set-cookie", true),
            ("x-frame-options", true),
            ("public-key-pins", true),
            ("content-length", false),
            ("content-encoding", false),
            ("content-range", false),
            ("content-md5", false),
            ("content-digest", false),
        ] {
            let stored = [STORED, &[(name, "1"), (name, "2")]].concat();
            let found = update(&stored, &[(name, "7"), ("date", "@0")]);
            let values: Vec<_> = found.fields.get_all(name).iter().collect();
            assert_eq!(values, if updated { &["7"][..] } else { &["1", "2"] }, "{name}");
            assert_eq!(
                found.to_store().unwrap().into_map().get_all(name).iter().count(),
                values.len(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_the_update_omits_stays() {
        let found = update(
            &[STORED, &[("test-header", "1")]].concat(),
            &[("etag", "\"a\""), ("date", "@0")],
        );
        assert_eq!(found.fields["test-header"], "1");
        assert_eq!(found.fields["cache-control"], "max-age=2");
        let meta = found.storing.unwrap().meta;
        assert_eq!(
            (meta.lifetime.seconds, meta.date, meta.status),
            (2, NOW, StatusCode::OK)
        );
        assert_eq!(meta.current_age(NOW), Duration::ZERO);
    }

    #[test]
    fn hop_by_hop_fields_of_an_update_are_not_taken() {
        let found = update(
            &[STORED, &[("a", "1")]].concat(),
            &[
                ("connection", "a, keep-alive"),
                ("keep-alive", "x"),
                ("a", "2"),
                ("proxy-authenticate", "y"),
            ],
        );
        assert_eq!(found.fields["a"], "1");
        for name in ["connection", "keep-alive", "proxy-authenticate"] {
            assert!(!found.fields.contains_key(name), "{name}");
        }
    }

    #[test]
    fn age_and_lifetime_are_those_of_the_update() {
        let found = update(
            STORED,
            &[("cache-control", "max-age=600"), ("age", "30"), ("date", "@0")],
        );
        assert!(!found.fields.contains_key("age"));
        let meta = found.storing.unwrap().meta;
        assert_eq!(meta.lifetime.seconds, 600);
        assert_eq!(meta.lifetime.rule, LifetimeRule::MaxAge);
        assert_eq!(meta.initial_age.duration(), Duration::from_secs(30));
    }

    #[test]
    fn an_update_without_a_date_is_as_old_as_its_receipt() {
        for lines in [&[][..], &[("date", "nonsense")]] {
            let found = update(STORED, lines);
            assert_eq!(
                found.storing.as_ref().unwrap().meta.initial_age.duration(),
                Duration::ZERO,
                "{lines:?}"
            );
            assert_eq!(found.to_store().unwrap().into_map()["date"], testing::date(0).as_str());
        }
    }

    #[test]
    fn an_update_may_end_the_storing() {
        let found = update(STORED, &[("cache-control", "no-store")]);
        assert_eq!(found.storing.clone().unwrap_err(), NotStored::NoStore);
        assert_eq!(found.to_store(), None);
        assert_eq!(found.fields["etag"], "\"a\"");
    }

    #[test]
    fn qualified_fields_of_an_update_reach_this_client_only() {
        let found = update(
            STORED,
            &[("cache-control", "max-age=5, no-cache=\"a\""), ("a", "1"), ("b", "2")],
        );
        assert_eq!(found.fields["a"], "1");
        let stored = found.to_store().unwrap().into_map();
        assert!(!stored.contains_key("a"));
        assert_eq!(stored["b"], "2");
    }

    #[test]
    fn a_head_response_updates_what_is_the_same_and_marks_what_is_not() {
        use HeadEffect::{Freshen, MarkStale, Nothing};
        for (stored, length, status, head, expected) in [
            (
                &[("etag", "\"a\"")][..],
                Some(5),
                200,
                &[("etag", "\"a\""), ("content-length", "5")][..],
                Freshen,
            ),
            (&[("etag", "\"a\"")], Some(5), 200, &[], Freshen),
            (&[("etag", "\"a\"")], None, 200, &[("content-length", "5")], Freshen),
            (&[("etag", "\"a\"")], Some(5), 200, &[("etag", "\"b\"")], MarkStale),
            (
                &[("etag", "\"a\"")],
                Some(5),
                200,
                &[("content-length", "6")],
                MarkStale,
            ),
            (&[], Some(5), 200, &[("etag", "\"b\"")], MarkStale),
            (
                &[("last-modified", "@-50")],
                Some(5),
                200,
                &[("last-modified", "@-50")],
                Freshen,
            ),
            (
                &[("last-modified", "@-50")],
                Some(5),
                200,
                &[("last-modified", "@-40")],
                MarkStale,
            ),
            (&[("etag", "\"a\"")], Some(5), 410, &[("etag", "\"a\"")], Nothing),
            (&[("etag", "\"a\"")], Some(5), 500, &[], Nothing),
        ] {
            let meta = testing::stored(200, &[stored, &[("cache-control", "max-age=2")]].concat());
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                head_effect(&meta, length, status, &fields(head)),
                expected,
                "{stored:?} {head:?}"
            );
        }
        let gone = testing::stored(410, &[("cache-control", "max-age=2")]);
        assert_eq!(
            head_effect(&gone, Some(5), StatusCode::OK, &HeaderMap::new()),
            MarkStale
        );
    }
}
