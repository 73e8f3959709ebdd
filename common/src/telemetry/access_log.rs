//! The access log: one line per exchange, formatted on the worker into its own buffer, written by a thread of its own.
//!
//! The worker hands a whole buffer over when it is full or when the tick comes; the channel is bounded, and lines that
//! find it full are dropped and counted. Nothing here waits for a disk.

use std::path::PathBuf;
use std::time::Duration;

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

/// One worker's end of the access log.
#[derive(Debug, Default)]
pub struct AccessLog {}
