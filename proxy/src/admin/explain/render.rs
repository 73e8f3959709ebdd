//! An explanation as JSON, and as text for a terminal. The JSON's names are stable; docs/explain.md describes them.

use std::fmt::Write as _;

use cache::explain::{Explanation, Place, Quote, Slices, View};
use common::telemetry::json::{Object, line};

use super::{Explained, Routed};

/// For programs.
pub fn as_json(explained: &Explained) -> Vec<u8> {
    line(|object| {
        object.field("method", explained.method.as_str());
        object.field("url", &*explained.url);
        match &explained.outcome {
            Ok(routed) => routed_json(object, routed),
            Err(unasked) => {
                let mut decision = object.object("decision");
                decision.field("outcome", unasked.outcome);
                decision.some("word", unasked.word);
                decision.field("sentence", &*unasked.sentence);
                decision.field("status", u64::from(unasked.status.as_u16()));
            }
        }
    })
}

fn routed_json(object: &mut Object<'_>, routed: &Routed) {
    let explanation = &routed.explanation;
    object.field("site", &*routed.site);
    object
        .object("route")
        .field("matches", &*routed.path)
        .field("origin", &*routed.origin)
        .field("cached", routed.is_cached);
    if !routed.conditions.is_empty() {
        let mut conditions = object.array("conditions");
        for condition in &routed.conditions {
            conditions.item(*condition);
        }
    }
    object.field("key", &*explanation.key);
    object.field("tier", tier_word(&explanation.place));
    if let Place::Server(server) = &explanation.place {
        object.some("cache_server", server.as_deref());
    }
    if explanation.place == Place::Here {
        object.field("hits", explanation.hits);
        let mut stored = object.array("stored");
        for view in &explanation.stored {
            stored_json(&mut stored.object(), view);
        }
        drop(stored);
        if let Some(slices) = &explanation.slices {
            slices_json(&mut object.object("slices"), slices);
        }
    }
    let verdict = &explanation.verdict;
    let mut decision = object.object("decision");
    decision
        .field("outcome", verdict.outcome)
        .field("word", verdict.word)
        .field("sentence", &*verdict.sentence)
        .some("status", verdict.status.map(|status| u64::from(status.as_u16())))
        .some("cache_status", verdict.cache_status.as_deref());
    quote_json(&mut decision, verdict.quote.as_ref());
    drop(decision);
    let mut notes = object.array("notes");
    for note in &explanation.notes {
        notes.item(&**note);
    }
}

fn stored_json(object: &mut Object<'_>, view: &View) {
    object
        .field("selected", view.selected)
        .field("matches", view.matches)
        .field("state", view.state)
        .field("status", u64::from(view.status.as_u16()))
        .field("age_seconds", view.age)
        .field("lifetime_seconds", u64::from(view.lifetime))
        .field("lifetime_rule", view.rule)
        .some("lifetime_bound", view.bound);
    quote_json(object, view.quote.as_ref());
    object
        .field("ttl_seconds", view.ttl)
        .field("vary_key", &*view.vary_key)
        .field("request_vary_key", &*view.request_vary_key)
        .field("no_cache", view.no_cache)
        .some("stale_forbidden_by", view.stale_forbidden_by)
        .field("stale_while_revalidate_seconds", view.stale_while_revalidate)
        .field("stale_if_error_seconds", view.stale_if_error)
        .some("etag", view.etag.as_deref())
        .some("last_modified", view.last_modified.as_deref())
        .field("tags", &*view.tags)
        .field("content_bytes", view.content_bytes)
        .field("bytes", view.bytes);
}

fn slices_json(object: &mut Object<'_>, slices: &Slices) {
    object
        .field("bytes", slices.bytes)
        .some("complete_length", slices.complete_length);
    let mut stored = object.array("stored");
    for run in &slices.runs {
        stored
            .object()
            .field("first", run.first)
            .field("last", run.last)
            .field("state", run.state)
            .some("etag", run.etag.as_deref());
    }
}

fn quote_json(object: &mut Object<'_>, quote: Option<&Quote>) {
    if let Some(quote) = quote {
        object.object("quote").field("of", quote.of).field("line", &*quote.line);
    }
}

fn tier_word(place: &Place) -> &'static str {
    match place {
        Place::Here => "here",
        Place::Server(_) => "servers",
        Place::Nowhere => "none",
    }
}

/// For people.
pub fn as_text(explained: &Explained) -> String {
    let mut page = Page::default();
    let (method, url) = (&explained.method, &explained.url);
    page.line("request", format_args!("{method} {url}"));
    match &explained.outcome {
        Ok(routed) => routed_text(&mut page, routed),
        Err(unasked) => {
            let word = unasked.word.unwrap_or("answered");
            page.line("answer", format_args!("{} ({word})", unasked.status));
            page.line("why", &unasked.sentence);
        }
    }
    page.0
}

fn routed_text(page: &mut Page, routed: &Routed) {
    let explanation = &routed.explanation;
    let cached = if routed.is_cached { "cached" } else { "not cached" };
    page.line("site", &routed.site);
    page.line(
        "route",
        format_args!("{}, {cached}, origin {}", routed.path, routed.origin),
    );
    for condition in &routed.conditions {
        page.line("if", condition);
    }
    page.line("key", &explanation.key);
    if explanation.place == Place::Here {
        page.line("hits", explanation.hits);
        page.line("stored", stored_count(explanation));
    }
    for view in &explanation.stored {
        view_text(page, view);
    }
    if let Some(slices) = &explanation.slices {
        slices_text(page, slices);
    }
    let verdict = &explanation.verdict;
    let mut outcome = verdict.outcome.to_owned();
    if verdict.word != verdict.outcome {
        outcome.push_str(&format!(" ({})", verdict.word));
    }
    if let Some(status) = verdict.status {
        outcome.push_str(&format!(", {status}"));
    }
    page.line("outcome", outcome);
    page.line("why", &verdict.sentence);
    quote_text(page, verdict.quote.as_ref());
    if let Some(cache_status) = &verdict.cache_status {
        page.line("on the wire", format_args!("cache-status: {cache_status}"));
    }
    for note in &explanation.notes {
        page.line("then", note);
    }
}

fn stored_count(explanation: &Explanation) -> String {
    match explanation.stored.len() {
        0 => "nothing".to_owned(),
        1 => "1 response".to_owned(),
        count => format!("{count} responses"),
    }
}

fn view_text(page: &mut Page, view: &View) {
    let chosen = match (view.selected, view.matches) {
        (true, _) => "  <- this one",
        (false, true) => "",
        (false, false) => "  (for other requests)",
    };
    let left = match view.ttl {
        ttl @ 1.. => format!("{ttl} s left"),
        ttl => format!("over since {} s", ttl.unsigned_abs()),
    };
    let (status, state) = (view.status.as_u16(), view.state);
    page.line(
        "",
        format_args!("- {status}, {state}: {} s old, {left}{chosen}", view.age),
    );
    let bound = view
        .bound
        .map_or_else(String::new, |bound| format!(", changed by {bound}"));
    page.more(format_args!("lifetime {} s by {}{bound}", view.lifetime, view.rule));
    if let Some(quote) = &view.quote {
        page.more(format_args!("{} of the {}", quote.line, quote.of));
    }
    if !view.vary_key.is_empty() || !view.request_vary_key.is_empty() {
        page.more(format_args!(
            "vary key \"{}\", the request's \"{}\"",
            view.vary_key, view.request_vary_key
        ));
    }
    let validators = [&view.etag, &view.last_modified].map(|validator| validator.as_deref().unwrap_or("none"));
    page.more(format_args!("etag {}, last-modified {}", validators[0], validators[1]));
    if view.no_cache {
        page.more("no-cache: never reused without validation");
    }
    match view.stale_forbidden_by {
        Some(directive) => page.more(format_args!("never served stale: {directive}")),
        None => page.more(format_args!(
            "stale for {} s while validated, {} s when the origin fails",
            view.stale_while_revalidate, view.stale_if_error
        )),
    }
    if !view.tags.is_empty() {
        page.more(format_args!("tags {}", view.tags));
    }
    page.more(format_args!(
        "{} bytes of content, {} in all",
        view.content_bytes, view.bytes
    ));
}

fn slices_text(page: &mut Page, slices: &Slices) {
    let count: u64 = slices.runs.iter().map(|run| run.last - run.first + 1).sum();
    let whole = slices.complete_length.map_or_else(String::new, |length| {
        format!(" of {} ({length} bytes)", length.div_ceil(slices.bytes.max(1)))
    });
    page.line("slices", format_args!("{count}{whole}, {} bytes each", slices.bytes));
    for run in &slices.runs {
        let etag = run.etag.as_deref().unwrap_or("none");
        let (first, last, state) = (run.first, run.last, run.state);
        match first == last {
            true => page.line("", format_args!("- {first}, {state}: etag {etag}")),
            false => page.line("", format_args!("- {first} to {last}, {state}: etag {etag}")),
        }
    }
}

fn quote_text(page: &mut Page, quote: Option<&Quote>) {
    if let Some(quote) = quote {
        page.line("by", format_args!("{} of the {}", quote.line, quote.of));
    }
}

/// Lines with their names in one column.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let written = writeln!(self.0, "{name:<12}{value}");
        debug_assert!(written.is_ok(), "writing to a String");
    }

    fn more(&mut self, value: impl std::fmt::Display) {
        self.line("", format_args!("  {value}"));
    }
}
