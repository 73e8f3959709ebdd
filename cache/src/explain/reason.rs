//! Decisions in words: one word, one sentence, and the line that decided.

use std::fmt::Write as _;
use std::sync::Arc;

use common::http::head::Head;
use common::time::WallTime;
use http::HeaderMap;
use http::header::{self, HeaderName};

use super::{Question, Quote, quote};
use crate::policy::bypass::{Bypass, bypass};
use crate::policy::meta::StoredMeta;
use crate::policy::outcome::Fwd;
use crate::policy::reuse::{StaleWhy, ValidateWhy};
use crate::policy::rules::Rules;
use crate::serve::decide::Past;
use crate::store::Stored;
use crate::tier::TierRoute;

/// A reason in words: its word, its sentence, and what decided.
pub(crate) struct Reason {
    pub(crate) word: &'static str,
    pub(crate) sentence: String,
    pub(crate) quote: Option<Quote>,
}

impl Reason {
    fn new(word: &'static str, sentence: impl Into<String>, quote: Option<Quote>) -> Self {
        Self {
            word,
            sentence: sentence.into(),
            quote,
        }
    }

    /// Why a request goes past the store.
    pub(crate) fn past(past: Past, route: &TierRoute, head: &Head) -> Self {
        match past {
            Past::NoStore => Self::new("no_store", "nothing is stored in this process", None),
            Past::Route => Self::new("bypass", "its route is not cached", quote::configured("cache = false")),
            Past::Content => Self::new("bypass", "a GET or HEAD with content means nothing to a cache", None),
            Past::Rule(why) => {
                let sentence = match why {
                    Bypass::Method => "this method is not answered from a cache",
                    Bypass::Field | Bypass::Cookie | Bypass::Query => "the configuration sends it past the cache",
                };
                let rule = route.rules.bypass.iter().find(|rule| {
                    let one = std::slice::from_ref(*rule);
                    bypass(&head.method, head.uri.query(), &head.headers, one) == Some(why)
                });
                let rule = rule.filter(|_| why != Bypass::Method);
                let quote =
                    rule.and_then(|rule| quote::configured(format!("bypass = [{:?}]", quote::bypass_text(rule))));
                Self::new(why.word(), sentence, quote)
            }
        }
    }

    /// Why nothing that is stored can answer.
    pub(crate) fn miss(fwd: Fwd, stored: &[Arc<Stored>]) -> Self {
        let mut sentence = "nothing is stored for this key".to_owned();
        if fwd == Fwd::Partial {
            sentence = "only a part is stored for this key, not all that is asked for, or it is stale".to_owned();
        }
        if fwd == Fwd::VaryMiss {
            let names = stored.iter().flat_map(|stored| stored.meta.vary.names());
            let mut names: Vec<_> = names.map(HeaderName::as_str).collect();
            names.sort_unstable();
            names.dedup();
            sentence = format!(
                "what is stored for this key is for other values of {}",
                names.join(", ")
            );
        }
        Self::new(fwd.word(), sentence, None)
    }

    /// The slice that a request begins with cannot answer; `stored` others are there.
    pub(crate) fn no_slice(number: u64, stored: usize) -> Self {
        let sentence = match stored {
            0 => "no slice is stored for this key".to_owned(),
            _ => format!("slice {number}, with which it begins, is not stored for it"),
        };
        Self::new(Fwd::UriMiss.word(), sentence, None)
    }

    /// Some of the slices that a request needs cannot answer.
    pub(crate) fn slices_missing(which: &str) -> Self {
        let sentence = format!("{which} of those that it needs are not stored, or may not be used");
        Self::new(Fwd::Partial.word(), sentence, None)
    }

    /// Why the client gets 504 instead of a fetch.
    pub(crate) fn only_if_cached(request: &HeaderMap) -> Self {
        let sentence = "the client wants what is stored and nothing else, and nothing that is stored can answer it";
        Self::new(
            "only_if_cached",
            sentence,
            quote::line("request", request, &header::CACHE_CONTROL),
        )
    }

    /// Why a stored response answers.
    pub(crate) fn answer(stored: &Stored, stale: Option<StaleWhy>, question: &Question<'_>, rules: &Rules) -> Self {
        let meta = &stored.meta;
        let over = over(meta, question.now);
        let (sentence, quote) = match stale {
            None => {
                let age = meta.current_age(question.now).as_secs();
                let sentence = format!("it is fresh: {age} s old, of a lifetime of {} s", meta.lifetime.seconds);
                return Self::new(
                    "fresh",
                    sentence,
                    quote::of_lifetime(meta, &stored.fields.to_map(), rules),
                );
            }
            Some(StaleWhy::MaxStale) => (
                format!("it is stale by {over} s, and the client takes that"),
                quote::line("request", &question.head.headers, &header::CACHE_CONTROL),
            ),
            Some(_) => (
                format!("it is stale by {over} s, and may be served while it is validated in the background"),
                match meta.stale_while_revalidate {
                    Some(_) => quote::of_control(meta, &stored.fields.to_map(), rules),
                    None => quote::configured(format!(
                        "stale_while_revalidate = \"{}s\"",
                        rules.stale.while_revalidate.as_secs()
                    )),
                },
            ),
        };
        Self::new(stale.map_or("fresh", StaleWhy::word), sentence, quote)
    }

    /// Why the origin has to say first that a stored response still holds.
    pub(crate) fn validate(stored: &Stored, why: ValidateWhy, question: &Question<'_>, rules: &Rules) -> Self {
        let (meta, fields) = (&stored.meta, &stored.fields.to_map());
        let (sentence, quote) = match why {
            ValidateWhy::Stale => {
                let mut sentence = format!("it is stale by {} s", over(meta, question.now));
                if let Some(why) = meta.must_not_be_stale {
                    let written = write!(sentence, ", and {} forbids to serve it so", why.word());
                    debug_assert!(written.is_ok(), "writing to a String");
                }
                (sentence, quote::of_lifetime(meta, fields, rules))
            }
            ValidateWhy::MarkedStale => (
                "a soft purge, or a HEAD response that did not match, has marked it stale".to_owned(),
                None,
            ),
            ValidateWhy::NoCache => (
                "it must not be reused without validation".to_owned(),
                quote::of_control(meta, fields, rules),
            ),
            ValidateWhy::RequestNoCache | ValidateWhy::RequestMaxAge | ValidateWhy::RequestMinFresh => {
                let request = &question.head.headers;
                let line = quote::line("request", request, &header::CACHE_CONTROL)
                    .or_else(|| quote::line("request", request, &header::PRAGMA));
                (
                    "the client asks for more than freshness, and the rules let it".to_owned(),
                    line,
                )
            }
        };
        Self::new(why.word(), sentence, quote)
    }

    /// A precondition that only the origin can judge.
    pub(crate) fn precondition(request: &HeaderMap) -> Self {
        let line = quote::line("request", request, &header::IF_MATCH)
            .or_else(|| quote::line("request", request, &header::IF_UNMODIFIED_SINCE));
        Self::new("request", "a precondition that only the origin can judge", line)
    }

    /// A cache server decides.
    pub(crate) fn elsewhere(server: Option<&str>) -> Self {
        let sentence = match server {
            Some(server) => {
                format!("cache server {server} owns the key: ask `tidegate explain` there, by its admin listener")
            }
            None => {
                "any of the cache servers may be asked: ask `tidegate explain` there, by their admin listeners".into()
            }
        };
        Self::new("remote", sentence, None)
    }
}

/// Seconds since the lifetime ended.
fn over(meta: &StoredMeta, now: WallTime) -> u64 {
    meta.current_age(now).saturating_sub(meta.lifetime.duration()).as_secs()
}
