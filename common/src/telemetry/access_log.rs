//! The access log: one line per exchange, formatted on the worker into its own buffer, written by a thread of its own.
//!
//! The worker hands a whole buffer over when it is full or when the tick comes; the queue is bounded, and lines that
//! find it full are dropped and counted. Nothing here waits for a disk. Lines are made in `line`, written in `writer`.

mod line; // a record as combined or JSON
mod stamp; // the time of a line, formatted once per second
mod queue; // full buffers between the workers and the writer
mod sink; // whole lines into a file that may be full
mod writer; // the file, and the thread that writes it

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Version};
use parking_lot::Mutex;

use self::queue::{Batch, Queue};
use self::stamp::Stamp;

use super::metrics::{Counter, Metrics};
use crate::time::WallTime;

pub use self::writer::{AccessLogWriter, Unwritten};

/// `[log.access]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSettings {
    /// Where it goes.
    pub to: AccessLogTarget,
    /// How its lines look.
    pub format: AccessLogFormat,
    /// Lines are handed to the writer when this many bytes are waiting…
    pub buffer_bytes: usize,
    /// …or this much time has gone by.
    pub flush: Duration,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// A file, reopened on SIGUSR1.
    File(PathBuf),
}

/// How access log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Apache's combined format, with tidegate's fields after it.
    Combined,
    /// One JSON object per line.
    Json,
}

/// What one line says. Bytes are as the client sent them; what is `None` does not apply and is left out of the line.
#[derive(Clone, Debug, Default)]
pub struct AccessRecord<'a> {
    /// When the request's first byte was received.
    pub time: WallTime,
    /// The exchange's id, as it stands in logs and error bodies: nothing in it has to be escaped.
    pub request_id: &'a str,
    /// The client's address; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// The name of the listener it came in on.
    pub listener: &'a str,
    /// The connection's number.
    pub conn_id: u64,
    /// The request line; `None` when it could not be read.
    pub request: Option<RequestLine<'a>>,
    /// The host that was asked for.
    pub host: Option<&'a [u8]>,
    /// The status of the final response.
    pub status: StatusCode,
    /// Bytes of the response's content.
    pub body_bytes: u64,
    /// Bytes of the request, head and framing included.
    pub bytes_received: u64,
    /// Bytes of the response, head and framing included.
    pub bytes_sent: u64,
    /// The `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// The site that served it.
    pub site: Option<&'a str>,
    /// What the cache did: a word, or the value of `Cache-Status`.
    pub cache_outcome: Option<&'a [u8]>,
    /// The backend that was asked, by its configured name.
    pub backend: Option<&'a str>,
    /// The address of the server of it that answered, or failed last.
    pub server: Option<&'a str>,
    /// How often a server was asked.
    pub attempts: u32,
    /// What went wrong, in one word of ours.
    pub error: Option<&'a str>,
    /// How long its parts took.
    pub took: Took,
    /// Why the connection closed after it.
    pub close: Option<&'a str>,
    /// How sending ended: `whole`, `client_gone` or `body_failed`.
    pub end: &'a str,
}

/// The first line of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method, a token.
    pub method: &'a str,
    /// The request target, as received.
    pub target: &'a [u8],
    /// The version.
    pub version: Version,
}

/// How long the parts of an exchange took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// The connection's wait in the accept queue, where it was measured.
    pub accept_wait: Option<Duration>,
    /// Finding the stored response, or that there is none.
    pub lookup: Option<Duration>,
    /// Waiting for a connection to a server.
    pub queue: Option<Duration>,
    /// Establishing one.
    pub connect: Option<Duration>,
    /// The part of that which was the TLS handshake.
    pub tls: Option<Duration>,
    /// From the request sent to the response head.
    pub first_byte: Option<Duration>,
    /// From the response that was ready to be sent to its last byte.
    pub body: Option<Duration>,
    /// From the request's first byte to the response's last.
    pub total: Duration,
}

/// One worker's end of the access log.
///
/// `Default` is the log that is off, and costs a branch.
#[derive(Debug, Default)]
pub struct AccessLog {
    end: Option<WorkerEnd>,
}

#[derive(Debug)]
struct WorkerEnd {
    format: AccessLogFormat,
    buffer_bytes: usize,
    flush: Duration,
    queue: Arc<Queue>,
    // Locked by its own worker only, so never waited for.
    pending: Mutex<Pending>,
}

/// Lines that the writer does not have yet.
#[derive(Debug)]
struct Pending {
    batch: Batch,
    /// When the first of them was added.
    oldest: WallTime,
    stamp: Stamp,
}

impl AccessLog {
    /// The log that is off.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Whether lines go anywhere, so that nobody gathers a record for nothing.
    pub fn is_enabled(&self) -> bool {
        self.end.is_some()
    }

    /// Adds a line. Lines that the writer had no room for are counted in `metrics`.
    pub fn record(&self, record: &AccessRecord<'_>, metrics: &Metrics) {
        let Some(end) = &self.end else { return };
        let pending = &mut *end.pending.lock();
        if pending.batch.lines == 0 {
            pending.oldest = record.time.plus(record.took.total);
        }
        let time = pending.stamp.text(end.format, record.time);
        match end.format {
            AccessLogFormat::Combined => line::combined(&mut pending.batch.bytes, record, time),
            AccessLogFormat::Json => line::json(&mut pending.batch.bytes, record, time),
        }
        pending.batch.lines += 1;
        if pending.batch.bytes.len() >= end.buffer_bytes {
            end.hand_over(pending, metrics);
        }
    }

    /// Called by the worker's tick: hands lines to the writer that have waited for the `flush` setting.
    pub fn flush_if_due(&self, now: WallTime, metrics: &Metrics) {
        let Some(end) = &self.end else { return };
        let pending = &mut *end.pending.lock();
        // A clock that was set back says nothing about age: better too early than an hour too late.
        let is_due = now < pending.oldest || now.saturating_since(pending.oldest) >= end.flush;
        if is_due {
            end.hand_over(pending, metrics);
        }
    }

    /// Hands every line to the writer: the last act of a worker.
    pub fn flush(&self, metrics: &Metrics) {
        if let Some(end) = &self.end {
            end.hand_over(&mut end.pending.lock(), metrics);
        }
    }

    fn new(settings: &AccessLogSettings, queue: Arc<Queue>) -> Self {
        let pending = Pending {
            batch: Batch::default(),
            oldest: WallTime::default(),
            stamp: Stamp::default(),
        };
        Self {
            end: Some(WorkerEnd {
                format: settings.format,
                buffer_bytes: settings.buffer_bytes,
                flush: settings.flush,
                queue,
                pending: Mutex::new(pending),
            }),
        }
    }
}

impl WorkerEnd {
    fn hand_over(&self, pending: &mut Pending, metrics: &Metrics) {
        let lines = pending.batch.lines;
        if lines == 0 {
            return;
        }
        let taken = self.queue.push(&mut pending.batch, self.buffer_bytes);
        metrics.add(
            if taken {
                Counter::AccessLogLines
            } else {
                Counter::AccessLogDropped
            },
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(buffer_bytes: usize, flush: Duration) -> AccessLogSettings {
        AccessLogSettings {
            to: AccessLogTarget::Stdout,
            format: AccessLogFormat::Combined,
            buffer_bytes,
            flush,
        }
    }

    fn at(secs: u64) -> AccessRecord<'static> {
        AccessRecord {
            time: WallTime::from_unix_secs(secs),
            ..AccessRecord::default()
        }
    }

    fn handed_over(queue: &Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.try_take().map(|batch| batch.lines)).collect()
    }

    #[test]
    fn lines_wait_until_the_buffer_is_full_or_the_oldest_is_due() {
        let (queue, metrics) = (Arc::new(Queue::default()), Metrics::default());
        let one_line = {
            // The length of a line decides how many fill a buffer.
            let log = AccessLog::new(&settings(1, Duration::ZERO), Arc::clone(&queue));
            log.record(&at(0), &metrics);
            queue.try_take().unwrap().bytes.len()
        };
        let log = AccessLog::new(&settings(3 * one_line, Duration::from_secs(1)), Arc::clone(&queue));
        for _ in 0..4 {
            log.record(&at(10), &metrics);
        }
        assert_eq!(handed_over(&queue), [3], "three lines fill the buffer");
        log.flush_if_due(WallTime::from_unix_secs(10), &metrics);
        assert_eq!(handed_over(&queue), [0; 0], "the fourth is not due");
        log.flush_if_due(WallTime::from_unix_secs(11), &metrics);
        log.flush_if_due(WallTime::from_unix_secs(99), &metrics);
        assert_eq!(handed_over(&queue), [1], "now it is, and there is nothing after it");
        log.record(&at(10), &metrics);
        log.flush_if_due(WallTime::from_unix_secs(5), &metrics);
        assert_eq!(handed_over(&queue), [1], "the clock was set back");
        log.record(&at(10), &metrics);
        log.flush(&metrics);
        assert_eq!(handed_over(&queue), [1]);
        assert_eq!(metrics.get(Counter::AccessLogLines), 7);
    }

    #[test]
    fn lines_that_find_the_queue_full_are_counted_as_dropped() {
        let (queue, metrics) = (Arc::new(Queue::default()), Metrics::default());
        let log = AccessLog::new(&settings(1, Duration::ZERO), Arc::clone(&queue));
        for _ in 0..queue::QUEUE_MAX + 2 {
            log.record(&at(0), &metrics);
        }
        assert_eq!(metrics.get(Counter::AccessLogDropped), 2);
        assert_eq!(handed_over(&queue).len(), queue::QUEUE_MAX);
        log.record(&at(0), &metrics);
        assert_eq!(handed_over(&queue), [1], "there is room again");
    }

    #[test]
    fn a_log_that_is_off_does_nothing() {
        let metrics = Metrics::default();
        let log = AccessLog::disabled();
        log.record(&at(0), &metrics);
        log.flush(&metrics);
        assert!(!log.is_enabled());
        assert_eq!(
            metrics.get(Counter::AccessLogLines) + metrics.get(Counter::AccessLogDropped),
            0
        );
    }
}
