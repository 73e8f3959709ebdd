//! What would become of a request on a route with slices: which of them are stored, and which it needs. Touches nothing.
//!
//! The decisions are those of `sliced.rs` and `slice.rs`; what stands for the whole is the first slice that a request needs.

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;

use super::explain::{forwarded, mark, state, verdict};
use super::sliced::{Head, head};
use super::{Local, hit, without_fetch};
use crate::explain::reason::Reason;
use crate::explain::{Question, SliceRun, Slices, Verdict};
use crate::policy::content_range::ByteRange;
use crate::policy::key::{Key, KeyHash};
use crate::policy::outcome::Fwd;
use crate::policy::range::RangeSet;
use crate::policy::request::RequestDigest;
use crate::policy::reuse::{Reuse, is_only_if_cached, reuse};
use crate::policy::rules::Rules;
use crate::policy::slice::{SlicedWhole, first_slice, slices_of};
use crate::policy::vary;
use crate::purge;
use crate::store::Stored;
use crate::store::memory::Memory;

/// Runs of slices that a sentence names.
const RUNS_TOLD_MAX: usize = 5;

/// A stored slice as a request finds it.
struct Slice {
    stored: Arc<Stored>,
    state: &'static str,
    /// Why it is not looked at where it is purged, or for other requests.
    reuse: Result<Reuse, Fwd>,
}

/// All that are stored, by number.
pub(super) struct Found {
    slices: HashMap<u64, Slice>,
    length: u64,
}

impl Local {
    /// The slices that are stored of what `key` is the key of.
    pub(super) fn slices_of(
        &self,
        memory: &Memory,
        (hash, key): (KeyHash, &Key<'_>),
        question: &Question<'_>,
        rules: &Rules,
    ) -> Found {
        let is_gone = |stored: &Stored| {
            let is_invalid = self.invalidated.of_slices(hash) > stored.invalidation;
            is_invalid || memory.purges().verdict(&stored.subject()) == purge::Verdict::Gone
        };
        let digest = RequestDigest::of(&question.head.method, &question.head.headers);
        let slices = memory.inspect_slices(key).into_iter().filter_map(|(number, entry)| {
            let there = entry.variants().iter().filter(|stored| !is_gone(stored));
            let there: Vec<_> = there.cloned().collect();
            let metas = there.iter().map(|stored| &stored.meta);
            let slice = match vary::select(metas, &question.head.headers, &rules.vary) {
                Some(index) => usable(memory, &there[index], &digest, question, rules),
                None => {
                    let (state, why) = match there.is_empty() {
                        true => ("purged", Fwd::UriMiss),
                        false => ("for other requests", Fwd::VaryMiss),
                    };
                    Slice {
                        stored: Arc::clone(there.first().or_else(|| entry.variants().first())?),
                        state,
                        reuse: Err(why),
                    }
                }
            };
            Some((number, slice))
        });
        Found {
            slices: slices.collect(),
            length: rules.key.slice,
        }
    }
}

fn usable(
    memory: &Memory,
    stored: &Arc<Stored>,
    digest: &RequestDigest<'_>,
    question: &Question<'_>,
    rules: &Rules,
) -> Slice {
    let mark = mark(memory, stored);
    Slice {
        stored: Arc::clone(stored),
        state: state(stored, mark, question.now),
        reuse: Ok(reuse(&stored.meta, mark, digest, rules, question.now)),
    }
}

impl Slice {
    /// Whether it answers without the origin.
    fn answers(&self) -> bool {
        matches!(self.reuse, Ok(Reuse::Fresh { .. } | Reuse::Stale { .. }))
    }

    /// Whether it answers, and belongs to the others.
    fn belongs(&self, number: u64, length: u64, whole: &SlicedWhole) -> bool {
        let meta = &self.stored.meta;
        let check = |partial| whole.check(number, length, partial, &meta.validators).is_ok();
        self.answers() && meta.part().is_some_and(check)
    }
}

impl Found {
    /// All of them, alike ones that follow each other as one.
    pub(super) fn view(&self) -> Slices {
        let mut numbers: Vec<_> = self.slices.keys().copied().collect();
        numbers.sort_unstable();
        let mut runs: Vec<SliceRun> = Vec::new();
        for number in numbers {
            let slice = &self.slices[&number];
            let tag = slice.stored.meta.validators.etag.as_ref();
            let etag = tag.map(|tag| String::from_utf8_lossy(tag.value().as_bytes()).into_owned());
            match runs.last_mut() {
                Some(run) if run.last + 1 == number && run.state == slice.state && run.etag == etag => {
                    run.last = number
                }
                _ => runs.push(SliceRun {
                    first: number,
                    last: number,
                    state: slice.state,
                    etag,
                }),
            }
        }
        let mut lengths = self
            .slices
            .values()
            .filter_map(|slice| slice.stored.meta.part()?.complete_length);
        Slices {
            bytes: self.length,
            complete_length: lengths.next(),
            runs,
        }
    }

    /// What would become of the request, and which slices would be asked for.
    pub(super) fn conclude(&self, question: &Question<'_>, rules: &Rules) -> (Verdict, Option<String>) {
        let fields = &question.head.headers;
        let digest = RequestDigest::of(&question.head.method, fields);
        let ranges = digest
            .range
            .and_then(|range| RangeSet::parse(range, &rules.ranges).ok());
        let first = first_slice(ranges.as_ref(), self.length);
        let asks = |what: String| Some(format!("{what} are asked for"));
        let slice = match self.slices.get(&first) {
            Some(slice) if slice.answers() => slice,
            slice if is_only_if_cached(&digest, rules) => {
                let fwd = slice.map_or(Fwd::UriMiss, |slice| slice.reuse.err().unwrap_or(Fwd::Stale));
                let status = Some(StatusCode::GATEWAY_TIMEOUT);
                let verdict = verdict(Some(without_fetch(fwd)), Reason::only_if_cached(fields));
                return (Verdict { status, ..verdict }, None);
            }
            slice => {
                let (fwd, reason) = match slice.map(|slice| (&slice.stored, slice.reuse)) {
                    Some((stored, Ok(Reuse::Validate(why)))) => {
                        (why.into(), Reason::validate(stored, why, question, rules))
                    }
                    Some((stored, Err(Fwd::VaryMiss))) => {
                        (Fwd::VaryMiss, Reason::miss(Fwd::VaryMiss, std::slice::from_ref(stored)))
                    }
                    _ => (Fwd::UriMiss, Reason::no_slice(first, self.slices.len())),
                };
                return (
                    verdict(Some(forwarded(fwd)), reason),
                    asks(format!("slices from {first}")),
                );
            }
        };
        let meta = &slice.stored.meta;
        let whole = meta
            .part()
            .and_then(|partial| SlicedWhole::of(partial, &meta.validators).ok());
        let Some(whole) = whole else {
            let reason = Reason::no_slice(first, self.slices.len());
            return (verdict(Some(forwarded(Fwd::UriMiss)), reason), None);
        };
        let stale = match slice.reuse {
            Ok(Reuse::Stale { why, .. }) => Some(why),
            _ => None,
        };
        let head = head(fields, (meta, false), &whole, ranges.as_ref(), rules, question.now);
        let (status, needed) = self.needed(&head, &whole);
        let Some(status) = status else {
            return (
                verdict(Some(forwarded(Fwd::Request)), Reason::precondition(fields)),
                None,
            );
        };
        let mut missing: Vec<_> = needed
            .filter(|number| {
                let slice = self.slices.get(number);
                !slice.is_some_and(|slice| slice.belongs(*number, self.length, &whole))
            })
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            let reason = Reason::answer(&slice.stored, stale, question, rules);
            let verdict = verdict(Some(hit(meta, stale, question.now)), reason);
            let status = Some(status);
            return (Verdict { status, ..verdict }, None);
        }
        let told = runs_of(&missing);
        let reason = Reason::slices_missing(&told);
        (verdict(Some(forwarded(Fwd::Partial)), reason), asks(told))
    }

    /// The status of the answer, `None` where only the origin can tell, and the slices that it takes.
    fn needed<'a>(
        &self,
        head: &'a Head,
        whole: &SlicedWhole,
    ) -> (Option<StatusCode>, Box<dyn Iterator<Item = u64> + 'a>) {
        let length = self.length;
        let all = ByteRange::with_length(0, whole.complete_length);
        match head {
            Head::AskOrigin => (None, Box::new(std::iter::empty())),
            Head::NotModified => (Some(StatusCode::NOT_MODIFIED), Box::new(std::iter::empty())),
            Head::Unsatisfiable => (Some(StatusCode::RANGE_NOT_SATISFIABLE), Box::new(std::iter::empty())),
            Head::Whole => {
                let slices = all.into_iter().flat_map(move |all| slices_of(all, length));
                (Some(StatusCode::OK), Box::new(slices))
            }
            Head::Single(range) => (Some(StatusCode::PARTIAL_CONTENT), Box::new(slices_of(*range, length))),
            Head::Multiple(ranges) => {
                let slices = ranges.iter().flat_map(move |range| slices_of(*range, length));
                (Some(StatusCode::PARTIAL_CONTENT), Box::new(slices))
            }
        }
    }
}

/// Sorted numbers as text: `slices 0-3, 7`.
fn runs_of(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let more = if runs.len() > RUNS_TOLD_MAX { " and more" } else { "" };
    let told = runs
        .iter()
        .take(RUNS_TOLD_MAX)
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
    format!("slices {}{more}", told.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_told_as_one_run() {
        for (numbers, expected) in [
            (&[3][..], "slices 3"),
            (&[0, 1, 2, 7, 9, 10], "slices 0-2, 7, 9-10"),
            (&[0, 2, 4, 6, 8, 10], "slices 0, 2, 4, 6, 8 and more"),
        ] {
            assert_eq!(runs_of(numbers), expected);
        }
    }
}
