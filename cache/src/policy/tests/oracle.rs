//! Agreement with `http-cache-semantics`, within what both understand alike.
//!
//! Left out, because it follows RFC 7234 or is stricter there: statuses it does not know, duplicate and malformed
//! directives, quoted numbers, the age that Date alone tells (it never looks at it), `must-understand`, targeted
//! fields, Age lists, `Pragma` in responses, Set-Cookie (which it ages at once), Vary, and lifetimes of responses that
//! we do not keep because nothing could ever validate them.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, Method, Request, Response};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;

use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Mark, Reuse, reuse};
use crate::policy::rules::Rules;
use crate::policy::store::storable;
use crate::policy::testing::{NOW, date, exchange};

use super::properties::config;

#[derive(Clone, Debug)]
struct Case {
    status: u16,
    authorization: bool,
    directives: Vec<&'static str>,
    expires: Option<i64>,
    age: Option<u32>,
    date: i64,
    modified: Option<i64>,
    after: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let directives = prop::sample::subsequence(
        vec![
            "max-age=60",
            "s-maxage=30",
            "no-store",
            "private",
            "public",
            "must-revalidate",
            "no-cache",
            "foo=bar",
        ],
        0..4,
    );
    (
        prop::sample::select(vec![200_u16, 203, 301, 302, 307, 404, 410]),
        any::<bool>(),
        directives,
        prop::option::of(-100_i64..100),
        prop::option::of(0_u32..90),
        -20_i64..=0,
        prop::option::of(-10_000_i64..-100),
        0_u64..100,
    )
        .prop_map(
            |(status, authorization, directives, expires, age, date, modified, after)| Case {
                status,
                authorization,
                directives,
                expires,
                age,
                date,
                modified,
                after,
            },
        )
}

impl Case {
    fn request(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        if self.authorization {
            fields.insert("authorization", "x".parse().unwrap());
        }
        fields
    }

    fn response(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        // With a validator everything that may be stored is worth storing.
        fields.insert("etag", "\"a\"".parse().unwrap());
        fields.insert("date", date(self.date).parse().unwrap());
        if !self.directives.is_empty() {
            fields.insert("cache-control", self.directives.join(", ").parse().unwrap());
        }
        for (name, at) in [("expires", self.expires), ("last-modified", self.modified)] {
            if let Some(at) = at {
                fields.insert(name, date(at).parse().unwrap());
            }
        }
        if let Some(age) = self.age {
            fields.insert("age", age.into());
        }
        fields
    }

    fn theirs(&self) -> CachePolicy {
        let (mut request, mut response) = (Request::new(()), Response::new(()));
        *request.uri_mut() = "https://example.com/a?b".parse().unwrap();
        *request.headers_mut() = self.request();
        *response.status_mut() = self.status.try_into().unwrap();
        *response.headers_mut() = self.response();
        let received = UNIX_EPOCH + NOW.since_epoch();
        CachePolicy::new_options(&request, &response, received, CacheOptions::default())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn storing_and_freshness_agree(case in case()) {
        let (request, response) = (case.request(), case.response());
        let rules = Rules { age_from_date: false, ..Rules::default() };
        let ours = storable(&exchange(case.status, &request, &response), &rules);
        let theirs = case.theirs();
        prop_assert_eq!(ours.is_ok(), theirs.is_storable(), "stored: {:?} {:?}", case, ours);
        let Ok(ours) = ours else { return Ok(()) };
        let now = NOW.plus(Duration::from_secs(case.after));
        let theirs_now = UNIX_EPOCH + now.since_epoch();
        prop_assert_eq!(ours.meta.current_age(now), theirs.age(theirs_now), "age: {:?}", case);
        let plain = HeaderMap::new();
        let digest = RequestDigest::of(&Method::GET, &plain);
        let fresh = matches!(reuse(&ours.meta, Mark::Unmarked, &digest, &rules, now), Reuse::Fresh { .. });
        prop_assert_eq!(fresh, !theirs.is_stale(theirs_now), "fresh: {:?} {:?}", case, ours);
    }
}
