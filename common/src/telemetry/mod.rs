//! What tidegate tells about itself: logs, metrics, the access log.

pub mod log; // tracing to stderr
pub mod fields; // the fixed field names of log events
pub mod metrics; // every counter and histogram, declared once
pub mod exposition; // metrics in Prometheus' text format
#[cfg(test)]
mod metrics_page; // docs/metrics.md, compared with the tables
pub mod json; // writing JSON without a serialiser
pub mod access_log; // one line per exchange, written off the worker
