//! While a request is being answered: interim responses go out (RFC 9110 §15.2), and the client may leave.
//!
//! Steps of `server`, which conducts.

use std::task::{Context, Poll};

use crate::http::interim::{Desk, Interim};
use crate::http1::render;
use crate::http1::request_body::Shared;
use crate::serve::settings::HalfClose;
use crate::telemetry::metrics::{Counter, Metrics};

/// Ready when the client has left.
pub(super) fn poll(
    shared: &Shared,
    desk: &Desk,
    half_close: HalfClose,
    metrics: &Metrics,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while let Poll::Ready(interim) = desk.poll_next(cx) {
        say(shared, &interim, metrics);
    }
    let mut inbox = shared.lock();
    if !inbox.interim.is_empty() && inbox.poll_interim(cx).is_err() {
        return Poll::Ready(());
    }
    inbox.poll_left(half_close, cx)
}

/// Renders an interim response; it is sent as the socket takes it, or with the final one.
pub(super) fn say(shared: &Shared, interim: &Interim, metrics: &Metrics) {
    metrics.count(Counter::InterimResponses);
    let rendered = &mut shared.lock().interim;
    let before = rendered.len();
    render::interim_head(rendered, interim.status, &interim.fields);
    metrics.add(Counter::BytesSent, (rendered.len() - before) as u64);
}
