//! The last step before sending: the response as the client gets it, and the one place that turns refusals into
//! responses.

use std::fmt::Write as _;

use bytes::Bytes;
use common::http::field_lines::ConstantLine;
use common::http::response::Response;
use common::telemetry::json::Object;
use common::worker::Worker;
use http::StatusCode;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};

use super::record::ExchangeRecord;
use super::refusal::Refusal;

/// RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// "An HTTP-to-HTTP gateway […] MAY send a Via header field in forwarded response messages." (RFC 9110 §7.6.3)
const VIA: ConstantLine = ConstantLine::new("via", "via: 1.1 tidegate\r\n");
/// RFC 9209.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Adds to a response of the tier what is ours to say on its way to the client.
pub fn complete(response: &mut Response, worker: &Worker) {
    // "A recipient with a clock that receives a response message without a Date header field MUST record the time it was
    // received and append a corresponding Date header field to the message's header section if it is cached or forwarded
    // downstream." (RFC 9110 §6.6.1)
    if !response.fields.contains(&DATE) {
        response
            .fields
            .added
            .push_display(&DATE, worker.clock.wall().http_date());
    }
    response.fields.added.push_constant(&VIA);
}

/// The answer to a request that is refused.
pub fn refused(refusal: &Refusal, record: &mut ExchangeRecord, json: bool) -> Response {
    record.refused(refusal);
    let status = refusal.status();
    let content = match status {
        StatusCode::NO_CONTENT => Vec::new(),
        _ if json => json_body(refusal, record),
        _ => html_body(refusal, record).into_bytes(),
    };
    let mut response = Response::new(status, Bytes::from(content));
    let fields = response.fields.map_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status != StatusCode::NO_CONTENT {
        let kind = if json {
            "application/json"
        } else {
            "text/html; charset=utf-8"
        };
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if matches!(refusal, Refusal::MethodNotAllowed | Refusal::LastHop) {
        fields.insert(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"),
        );
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Refusal::TooManyRequests(wait) = refusal {
        // "a non-negative decimal integer representing seconds" (RFC 9110 §10.2.3): the next whole one, or it is early again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let added = &mut response.fields.added;
    added.push_display(&DATE, record.worker().clock.wall().http_date());
    if let Some(word) = refusal.word() {
        added.push_display(&PROXY_STATUS, format_args!("tidegate; error={word}"));
    }
    if let Some(outcome) = &record.facts.outcome {
        added.push_display(&CACHE_STATUS, outcome);
    }
    response
}

fn json_body(refusal: &Refusal, record: &ExchangeRecord) -> Vec<u8> {
    let mut body = Vec::with_capacity(160);
    let mut id = [0; 16];
    Object::new(&mut body)
        .field("status", u64::from(refusal.status().as_u16()))
        .field("error", refusal.word().unwrap_or_default())
        .field("detail", refusal.sentence().as_str())
        .field("request_id", record.id.text(&mut id));
    body.push(b'\n');
    body
}

fn html_body(refusal: &Refusal, record: &ExchangeRecord) -> String {
    let status = refusal.status();
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let mut body = String::with_capacity(400);
    // Nothing of the request stands in the page, so there is nothing to escape.
    let written = write!(
        body,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n<p>{}.</p>\n<p><small>{} &middot; request {} &middot; tidegate</small></p></body></html>\n",
        refusal.sentence(),
        refusal.word().unwrap_or_default(),
        record.id,
    );
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
    body
}
