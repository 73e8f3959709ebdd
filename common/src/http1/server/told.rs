//! What is told of an exchange when it is over: to its record, and to the counters of bytes.
//!
//! A step of `server`, which conducts.

use super::{Connection, Outgoing};
use crate::serve::service::{CloseReason, End, Record, Sent};
use crate::telemetry::metrics::Counter;
use crate::time::mono_now;

impl Connection {
    /// Tells how a response was sent; where the connection goes on, its idle time begins.
    pub(super) fn finish<R: Record>(&mut self, outgoing: Outgoing<R>, end: End, close: Option<CloseReason>) {
        let Outgoing {
            outbox, record, began, ..
        } = outgoing;
        let request_bytes = self.request_bytes();
        let metrics = &self.conn.worker.metrics;
        metrics.add(Counter::BytesReceived, request_bytes);
        metrics.add(Counter::BytesSent, outbox.bytes);
        let now = mono_now();
        if close.is_none() {
            self.deadline.set(now + self.settings.idle_timeout);
        }
        record.finish(&Sent {
            end,
            body_bytes: outbox.body_bytes,
            bytes: outbox.bytes,
            request_bytes,
            took: now.saturating_duration_since(began),
            close,
        });
    }

    /// Bytes of the running request that were used so far.
    pub(super) fn request_bytes(&self) -> u64 {
        let inbox = self.shared.lock();
        let used = inbox.io.received - inbox.io.buf.len() as u64;
        used.saturating_sub(self.received_before)
    }
}
