//! A stored part of a representation: completed when the whole is asked for, joined with further parts (RFC 9111 §3.3, §3.4).
//!
//! Of each variant one contiguous part is kept. The whole is completed from a part that is its beginning; a further part is
//! joined when nothing is missing between the two, and takes its place otherwise. Both need one strong validator.

use std::sync::Arc;

use bytes::Bytes;
use common::backend;
use common::http::response::SharedFields;
use http::header::CONTENT_RANGE;
use http::{Method, StatusCode};

use super::Selected;
use super::lead::Lead;
use crate::answer::cut;
use crate::collapse::Landing;
use crate::fetch::Fetched;
use crate::policy::content_range::{ByteRange, partial_content};
use crate::policy::freshen::freshen;
use crate::policy::held;
use crate::policy::validators::Validators;
use crate::purge::tags::tags;
use crate::store::Stored;
use crate::store::content::Content;
use crate::store::kept::{Kept, Whole};
use crate::tier::Answer;

impl Lead {
    /// How many bytes are stored from the beginning, where only the rest is asked for.
    pub(super) fn rest(&self) -> Option<u64> {
        let stored = self.why.selected.as_ref().map(Selected::stored)?;
        let range = stored.meta.part()?.range;
        let is_possible = self.ask.slice.is_none()
            && self.ask.client.method == Method::GET
            && !self.is_unconditional
            && !self.is_partial_miss()
            && stored.meta.validators.is_strong();
        (is_possible && range.first == 0).then_some(range.len())
    }

    /// The rest has come: together with what is stored it answers, and is stored. `None` when it does not belong to it.
    pub(super) fn complete(&self, fetched: &Fetched, backend: &backend::Facts) -> Option<(Answer, Arc<Stored>)> {
        let old = Arc::clone(self.why.selected.as_ref()?.stored());
        let received = fetched.times.response;
        let validators = Validators::of(&fetched.fields, received, received);
        let rest = partial_content(&fetched.fields).ok()?;
        let whole = held::union((old.meta.part()?, &old.meta.validators), (rest, &validators)).ok()?;
        let begins = Some(rest.range.first) == self.rest();
        let is_whole = whole.complete_length == Some(whole.range.len());
        let length = fetched.body.len().unwrap_or(rest.range.len());
        if !begins
            || !is_whole
            || length != rest.range.len()
            || whole.range.len() > self.ask.rules().stored_response_max
        {
            return None;
        }
        let (get, rules) = (Method::GET, self.ask.rules());
        let freshened = freshen(
            &old.fields.to_map(),
            StatusCode::OK,
            &self.ask.exchange(&get, fetched),
            rules,
        );
        let mut fields = freshened.to_store()?;
        fields.remove(&[CONTENT_RANGE]);
        let content = Kept::coming(Content::continued(old.content.pieces()?, whole.range.len()));
        let stored = Stored::new(
            old.key.clone(),
            freshened.storing.ok()?.meta,
            Arc::new(fields.into()),
            content,
            self.purging(tags(&fetched.fields, &rules.tags.fields)),
        );
        let answer = self.confirmed(&stored, StatusCode::PARTIAL_CONTENT, backend)?;
        self.land(Landing::Stored(Arc::clone(&stored)));
        Some((answer, stored))
    }

    /// A part together with what is stored already: `None` where it is to be stored as it is, an error where it is not.
    pub(super) fn joined(&self, new: &Arc<Stored>) -> Result<Option<Arc<Stored>>, AlreadyWhole> {
        let (Some(part), None) = (new.meta.part(), self.ask.slice) else {
            return Ok(None);
        };
        let memory = self.local.memory.as_ref();
        let Some(entry) = memory.and_then(|memory| memory.get(self.hash, &self.ask.key())) else {
            return Ok(None);
        };
        let is_same = |old: &&Arc<Stored>| old.meta.vary == new.meta.vary && old.meta.vary_key == new.meta.vary_key;
        let Some(old) = entry.variants().iter().find(is_same) else {
            return Ok(None);
        };
        let Some(held) = old.meta.part() else {
            // Fetched meanwhile by somebody who asked for the whole.
            return if old.meta.date >= new.meta.date {
                Err(AlreadyWhole)
            } else {
                Ok(None)
            };
        };
        let both = held::union((held, &old.meta.validators), (part, &new.meta.validators));
        let max = self.ask.rules().stored_response_max;
        let pieces = (old.content.pieces(), new.content.pieces());
        let (Ok(both), (Some(old_pieces), Some(new_pieces))) = (both, pieces) else {
            return Ok(None);
        };
        if both.range.len() > max {
            return Ok(None);
        }
        let outside = |first, end| between(old_pieces, held.range, first, end);
        let mut pieces = outside(both.range.first, part.range.first);
        pieces.extend(new_pieces.iter().cloned());
        pieces.extend(outside(
            part.range.last.saturating_add(1),
            both.range.last.saturating_add(1),
        ));
        let mut meta = new.meta.clone();
        meta.partial = Some(Box::new(both));
        let mut fields = Arc::clone(&new.fields);
        if both.complete_length == Some(both.range.len()) {
            let mut whole = new.fields.to_map();
            whole.remove(CONTENT_RANGE);
            fields = Arc::new(SharedFields::new(&whole));
            (meta.partial, meta.status) = (None, StatusCode::OK);
        }
        let content = Whole::of(pieces).into();
        Ok(Some(Stored::new(new.key.clone(), meta, fields, content, new.purging())))
    }
}

/// The whole is stored: a part of it is not worth its place.
pub(super) struct AlreadyWhole;

/// The bytes of a stored part from `first` up to, but without, `end`; copied unless they are all of it, so that what is left
/// out does not stay in memory.
fn between(pieces: &[Bytes], held: ByteRange, first: u64, end: u64) -> Vec<Bytes> {
    let (first, end) = (first.max(held.first), end.min(held.last.saturating_add(1)));
    if first >= end {
        return Vec::new();
    }
    let range = ByteRange {
        first: first - held.first,
        last: end - 1 - held.first,
    };
    if range.len() == held.len() {
        return pieces.to_vec();
    }
    let copied = cut(pieces, range).into_iter();
    copied.map(|piece| Bytes::copy_from_slice(&piece)).collect()
}
