//! Traffic rules: what goes together, and which groups of which expression texts may name.

use std::sync::Arc;

use http::StatusCode;

use crate::model::PathPattern;
use crate::problem::{Notes, Wrong};
use crate::sections::TrafficDraft;
use crate::traffic::{FixedAnswer, Rewrite, RewriteFrom, Traffic};

/// The rules that the table at `path` says; `pattern` is that of the route, where it is one's.
pub(super) fn own(path: &str, draft: &TrafficDraft, pattern: Option<&PathPattern>, notes: &mut Notes) -> Traffic {
    note_answers(path, draft, notes);
    let own = Traffic {
        answer: draft.answer(),
        request_fields: draft.request_fields.as_ref().map(|own| Arc::new(own.0.clone())),
        response_fields: draft.response_fields.as_ref().map(|own| Arc::new(own.0.clone())),
        rewrite: rewrite(path, draft, notes),
        compression: draft.compress.clone().map(Arc::new),
        maintenance: draft.maintenance.clone().map(Arc::new),
        error_pages: draft.error_pages.clone().map(Arc::new),
        cors: draft.cors.clone().map(Arc::new),
        auth: draft.auth.clone().map(Arc::new),
        server_timing: draft.server_timing,
    };
    if let Some(auth) = &own.auth
        && auth.on
        && auth.file.is_none()
        && !notes.has(&format!("{path}.auth.file"))
    {
        notes.error(format!("{path}.auth"), "has no file, which says who may come in");
    }
    if let Some(wrong) = own.cors.as_ref().and_then(|cors| cors.wrong()) {
        notes.error(format!("{path}.cors.credentials"), wrong);
    }
    note_captures(path, &own, pattern, notes);
    own
}

/// A route's own rules, and its site's where it has none. What answers requests that no route takes is not among them.
pub(super) fn inherit(own: Traffic, site: &Traffic) -> Traffic {
    Traffic {
        answer: own.answer,
        request_fields: own.request_fields.or_else(|| site.request_fields.clone()),
        response_fields: own.response_fields.or_else(|| site.response_fields.clone()),
        rewrite: own.rewrite.or_else(|| site.rewrite.clone()),
        compression: own.compression.or_else(|| site.compression.clone()),
        maintenance: own.maintenance.or_else(|| site.maintenance.clone()),
        error_pages: own.error_pages.or_else(|| site.error_pages.clone()),
        cors: own.cors.or_else(|| site.cors.clone()),
        auth: own.auth.or_else(|| site.auth.clone()),
        server_timing: own.server_timing.or(site.server_timing),
    }
}

fn rewrite(path: &str, draft: &TrafficDraft, notes: &mut Notes) -> Option<Arc<Rewrite>> {
    let draft = draft.rewrite.as_ref()?;
    let path = format!("{path}.rewrite");
    let from = match (&draft.prefix, &draft.regex) {
        (Some(prefix), None) => RewriteFrom::Prefix(prefix.clone()),
        (None, Some(regex)) => RewriteFrom::Regex(regex.0.clone()),
        (Some(_), Some(_)) => {
            notes.error(&*path, "has prefix and regex; exactly one is possible");
            return None;
        }
        (None, None) => {
            let is_wrong = ["prefix", "regex"]
                .into_iter()
                .any(|key| notes.has(&format!("{path}.{key}")));
            if !is_wrong {
                notes.error(&*path, "what is rewritten? it needs one of prefix and regex");
            }
            return None;
        }
    };
    let groups = match &from {
        RewriteFrom::Prefix(_) => None,
        RewriteFrom::Regex(regex) => Some(regex.captures_len()),
    };
    note_group(
        &format!("{path}.to"),
        draft.to.capture_max(),
        groups,
        "rewrite.regex",
        notes,
    );
    let to = draft.to.clone();
    Some(Arc::new(Rewrite { from, to }))
}

fn note_answers(path: &str, draft: &TrafficDraft, notes: &mut Notes) {
    if draft.redirect.is_some() && draft.respond.is_some() {
        notes.error(
            format!("{path}.respond"),
            "redirect is there, too; a request has one answer",
        );
    }
    let answer = draft.answer();
    if answer.is_some() && draft.rewrite.is_some() {
        notes.error(format!("{path}.rewrite"), "means nothing here: no origin is asked");
    }
    if let Some(FixedAnswer::Respond(respond)) = &answer
        && respond.status == StatusCode::NO_CONTENT
        && !respond.body.is_empty()
    {
        notes.error(
            format!("{path}.respond.body"),
            "a 204 has no content (RFC 9110 §15.3.5)",
        );
    }
}

/// Texts that name groups which the route's expression does not have.
fn note_captures(path: &str, own: &Traffic, pattern: Option<&PathPattern>, notes: &mut Notes) {
    let groups = match pattern {
        Some(PathPattern::Regex(regex)) => Some(regex.captures_len()),
        _ => None,
    };
    for (key, template) in own.templates() {
        let key = format!("{path}.{key}");
        note_group(&key, template.capture_max(), groups, "the route's regex", notes);
    }
}

fn note_group(key: &str, named: Option<usize>, groups: Option<usize>, owner: &str, notes: &mut Notes) {
    match (named, groups) {
        (Some(named), None) => notes.error(
            key,
            Wrong::from(format!("${named} means nothing without a regular expression")),
        ),
        (Some(named), Some(groups)) if named >= groups => {
            let count = groups - 1;
            notes.error(key, format!("there is no ${named}: {owner} has {count} groups"));
        }
        _ => {}
    }
}
