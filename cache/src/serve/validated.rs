//! What is stored and still holds: a 304, or an answer to HEAD, gives it new fields (RFC 9111 §4.3.4, §4.3.5).
//!
//! Called by `lead.rs` and `slice_lead.rs`; which fields are taken is decided in `policy::freshen`.

use std::sync::Arc;

use common::http::response::SharedFields;
use http::Method;

use super::Selected;
use super::lead::Lead;
use crate::fetch::Fetched;
use crate::policy::freshen::{HeadEffect, freshen, head_effect};
use crate::policy::validate::{self, Selected304};
use crate::purge::tags::tags;
use crate::store::Stored;

impl Lead {
    /// A 304: what is stored still holds, with new fields. `None` when it is about none of what was asked about.
    pub(super) fn validated(&self, fetched: &Fetched, named: usize) -> Option<Arc<Stored>> {
        let selected = self.why.selected.as_ref().map(Selected::stored);
        let candidates: Vec<&Arc<Stored>> = selected.into_iter().chain(self.others().take(named)).collect();
        let metas = candidates.iter().map(|stored| &stored.meta);
        match (
            validate::select_for_304(&fetched.fields, metas, fetched.times.response),
            selected,
        ) {
            (Selected304::These(places), _) => {
                let mut freshened = places.into_iter().map(|place| self.freshen(candidates[place], fetched));
                // Each of them is freshened; the first answers.
                let first = freshened.next().flatten();
                freshened.for_each(drop);
                first
            }
            // Only one was asked about, and the origin says that it is not modified: it answers this request, and "the cache
            // MUST NOT use the new response to update any stored responses" (RFC 9111 §4.3.4).
            (Selected304::NoneOfThem, Some(selected)) if candidates.len() == 1 => Some(Arc::clone(selected)),
            (Selected304::NoneOfThem, _) => None,
        }
    }

    /// A stored response with the fields of a 304 (or of an answer to HEAD), put in the place of the old one.
    fn freshen(&self, old: &Arc<Stored>, fetched: &Fetched) -> Option<Arc<Stored>> {
        let get = Method::GET;
        let freshened = freshen(
            &old.fields.to_map(),
            old.meta.status,
            &self.ask.exchange(&get, fetched),
            self.ask.rules(),
        );
        let fields = freshened.to_store();
        let memory = self.local.memory.as_ref()?;
        match (freshened.storing, fields) {
            (Ok(storable), Some(fields)) => {
                let fields = Arc::new(SharedFields::from(fields));
                let tags = match tags(&fetched.fields, &self.ask.rules().tags.fields) {
                    none if none.is_empty() => old.tags().into(),
                    tags => tags,
                };
                let purging = self.purging(tags);
                let updated = |meta, fields| {
                    let (key, content) = (old.key.clone(), old.content.clone());
                    Stored::new(key, meta, fields, content, purging.clone())
                };
                let (vary, key) = (&old.meta.vary, &old.meta.vary_key);
                let same_request = vary.matches(key, &self.ask.client.headers, &self.ask.rules().vary);
                if !same_request && storable.meta.vary == *vary {
                    // It answers the requests that it was stored for as before; besides, this one has its like now.
                    let mut meta = storable.meta.clone();
                    meta.vary_key = key.clone();
                    self.put(&updated(meta, Arc::clone(&fields)), Some(old));
                }
                let stored = updated(storable.meta, fields);
                self.put(&stored, same_request.then_some(old));
                Some(stored)
            }
            (Err(why), _) if why.is_about_response() => {
                memory.remove(self.hash, &self.ask.key());
                Some(Arc::clone(old))
            }
            _ => Some(Arc::clone(old)),
        }
    }

    /// An answer to HEAD updates what is stored for GET, or shows that it has changed.
    pub(super) fn head_freshens(&self, fetched: &Fetched) {
        let Some(entry) = self
            .local
            .memory
            .as_ref()
            .and_then(|memory| memory.get(self.hash, &self.ask.key()))
        else {
            return;
        };
        let rules = self.ask.rules();
        let request = &self.ask.client.headers;
        for stored in entry
            .variants()
            .iter()
            .filter(|stored| stored.meta.vary.matches(&stored.meta.vary_key, request, &rules.vary))
        {
            match head_effect(&stored.meta, stored.content.length(), fetched.status, &fetched.fields) {
                HeadEffect::Freshen => drop(self.freshen(stored, fetched)),
                HeadEffect::MarkStale => stored.mark_stale(),
                HeadEffect::Nothing => {}
            }
        }
    }
}
