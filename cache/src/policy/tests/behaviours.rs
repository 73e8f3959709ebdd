//! A small cache made of nothing but the policy, asked again and again: the behaviours that a stranger would check from
//! outside, group by group.

mod answers; // by what a request asks
mod freshness; // how long a response may be reused
mod updates; // what changes what is stored

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, Method, StatusCode, header};

use crate::policy::age::Times;
use crate::policy::bypass::bypass;
use crate::policy::conditional::{Evaluated, Representation, evaluate};
use crate::policy::freshen::{HeadEffect, freshen, head_effect};
use crate::policy::invalidate::invalidates;
use crate::policy::meta::StoredMeta;
use crate::policy::request::{RequestDigest, make_unconditional};
use crate::policy::reuse::{Failure, Mark, Reuse, is_only_if_cached, reuse, reuse_on_failure};
use crate::policy::rules::Rules;
use crate::policy::store::{Exchange, storable};
use crate::policy::stored_fields::to_store;
use crate::policy::target::TargetUri;
use crate::policy::testing::{NOW, fields};
use crate::policy::validate::{Selected304, make_conditional, select_for_304};
use crate::policy::vary::select;

type Lines<'a> = &'a [(&'static str, &'a str)];

/// What a client sees, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// From the store, fresh.
    Cached,
    /// From the store, stale.
    Stale,
    /// From the store, after the origin said 304.
    Validated,
    /// From the origin.
    Fetched,
    /// 304 made by the cache.
    NotModified,
    /// 504 made by the cache.
    Refused,
    /// The origin's failure.
    Failed,
}

use Seen::{Cached, Failed, Fetched, NotModified, Refused, Stale, Validated};

/// What the origin does with the next request.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// Answers so; with 304 where the request's condition names its validator.
    Says(u16, Lines<'a>),
    /// Hangs up.
    IsGone,
}

#[derive(Default)]
struct Cache {
    stored: Vec<Stored>,
    now: WallTime,
    rules: Rules,
    /// The fields of the response that was given last.
    seen: HeaderMap,
}

struct Stored {
    path: String,
    meta: StoredMeta,
    fields: HeaderMap,
    mark: Mark,
}

impl Cache {
    fn new() -> Self {
        Self {
            now: NOW,
            ..Self::default()
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    fn get(&mut self, request: Lines<'_>, origin: Origin<'_>) -> Seen {
        self.ask("GET", "/a", request, origin)
    }

    fn ask(&mut self, method: &str, path: &str, request: Lines<'_>, origin: Origin<'_>) -> Seen {
        let (method, request) = (Method::from_bytes(method.as_bytes()).unwrap(), fields(request));
        if bypass(&method, None, &request.clone().into(), &self.rules.bypass).is_some() {
            return self.fetch(&method, path, &request, &[], origin);
        }
        let digest = RequestDigest::of(&method, &request);
        let places: Vec<_> = (0..self.stored.len())
            .filter(|at| self.stored[*at].path == path)
            .collect();
        let metas = || places.iter().map(|at| &self.stored[*at].meta);
        let chosen = select(metas(), &request, &self.rules.vary).map(|index| places[index]);
        let Some(chosen) = chosen else {
            return if is_only_if_cached(&digest, &self.rules) {
                Refused
            } else {
                self.fetch(&method, path, &request, &places, origin)
            };
        };
        let found = reuse(
            &self.stored[chosen].meta,
            self.stored[chosen].mark,
            &digest,
            &self.rules,
            self.now,
        );
        match found {
            Reuse::Fresh { .. } => self.answer(chosen, &request, Cached),
            Reuse::Stale { .. } => self.answer(chosen, &request, Stale),
            Reuse::OnlyIfCached => Refused,
            Reuse::Validate(_) => {
                let (meta, mark) = (&self.stored[chosen].meta, self.stored[chosen].mark);
                let failed = |failure| reuse_on_failure(meta, mark, &digest, failure, &self.rules, self.now);
                let failure = match origin {
                    Origin::IsGone => Some(Failure::Unreachable),
                    Origin::Says(status @ 500.., _) => Some(Failure::Status(StatusCode::from_u16(status).unwrap())),
                    Origin::Says(..) => None,
                };
                if failure.and_then(failed).is_some() {
                    return self.answer(chosen, &request, Stale);
                }
                self.fetch(&method, path, &request, &[chosen], origin)
            }
        }
    }

    fn answer(&mut self, at: usize, request: &HeaderMap, how: Seen) -> Seen {
        let stored = &self.stored[at];
        self.seen = stored.fields.clone();
        self.seen
            .insert(header::AGE, stored.meta.current_age(self.now).as_secs().into());
        let representation = Representation {
            status: stored.meta.status,
            validators: &stored.meta.validators,
            date: stored.meta.date,
            current: how == Validated,
        };
        match evaluate(request, &representation, self.now) {
            Evaluated::NotModified if how == Cached => NotModified,
            _ => how,
        }
    }

    /// Sends the request on, with the conditions of the stored responses at `known`.
    fn fetch(&mut self, method: &Method, path: &str, request: &HeaderMap, known: &[usize], origin: Origin<'_>) -> Seen {
        let Origin::Says(status, lines) = origin else {
            return Failed;
        };
        let mut sent = request.clone();
        make_unconditional(&mut sent);
        let metas: Vec<_> = known.iter().map(|at| &self.stored[*at].meta).collect();
        let conditional = *method == Method::GET
            && make_conditional(
                &mut sent,
                metas.first().copied(),
                metas.iter().skip(1).copied(),
                8,
                None,
            )
            .is_some();
        let response = fields(lines);
        let holds = conditional
            && (sent
                .get("if-none-match")
                .is_some_and(|sent| response.get("etag") == Some(sent))
                || sent
                    .get("if-modified-since")
                    .is_some_and(|sent| response.get("last-modified") == Some(sent)));
        let uri = format!("https://example.com{path}");
        let exchange = Exchange {
            method,
            target: TargetUri::parse(&uri).unwrap(),
            request,
            status: StatusCode::from_u16(status).unwrap(),
            response: &response,
            times: Times {
                request: self.now,
                response: self.now,
            },
        };
        if holds && let Selected304::These(these) = select_for_304(&response, metas, self.now) {
            return self.freshen(known[these[0]], &exchange, Validated);
        }
        for gone in invalidates(method, &exchange.target, exchange.status, &response) {
            self.stored.retain(|stored| stored.path != gone);
        }
        if *method == Method::HEAD {
            return self.take_head(known, &exchange);
        }
        self.seen = response.clone();
        if let Ok(storable) = storable(&exchange, &self.rules) {
            let same = |stored: &Stored| stored.path == path && stored.meta.vary_key == storable.meta.vary_key;
            self.stored.retain(|stored| !same(stored));
            self.stored.push(Stored {
                path: path.to_owned(),
                fields: to_store(&response, &storable.omit, storable.meta.date).into_map(),
                meta: storable.meta,
                mark: Mark::Unmarked,
            });
        }
        Fetched
    }

    fn freshen(&mut self, at: usize, exchange: &Exchange<'_>, how: Seen) -> Seen {
        let stored = &mut self.stored[at];
        let freshened = freshen(&stored.fields, stored.meta.status, exchange, &self.rules);
        self.seen = freshened.fields.clone();
        match (freshened.to_store(), freshened.storing) {
            (Some(fields), Ok(storable)) => {
                (stored.fields, stored.meta, stored.mark) = (fields.into_map(), storable.meta, Mark::Unmarked)
            }
            _ => drop(self.stored.remove(at)),
        }
        how
    }

    fn take_head(&mut self, known: &[usize], exchange: &Exchange<'_>) -> Seen {
        for at in known {
            match head_effect(&self.stored[*at].meta, None, exchange.status, exchange.response) {
                HeadEffect::Freshen => drop(self.freshen(*at, exchange, Fetched)),
                HeadEffect::MarkStale => self.stored[*at].mark = Mark::Stale,
                HeadEffect::Nothing => {}
            }
        }
        Fetched
    }
}

/// Two requests, three seconds apart, to an origin that always answers the same.
fn check(status: u16, response: Lines<'_>, expected: Seen) {
    check_requests(&[], status, response, &[], expected);
}

fn check_requests(first: Lines<'_>, status: u16, response: Lines<'_>, second: Lines<'_>, expected: Seen) {
    let mut cache = Cache::new();
    assert_eq!(
        cache.get(first, Origin::Says(status, response)),
        Fetched,
        "{response:?}"
    );
    cache.wait(3);
    let found = cache.get(second, Origin::Says(status, response));
    assert_eq!(found, expected, "{status} {response:?}, then {second:?}");
}
