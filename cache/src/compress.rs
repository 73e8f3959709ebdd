//! Compresses responses on their way from the origin: once for the store, so that a hit costs nothing.
//!
//! A request is made to say which coding it gets (`policy/coding.rs`) before anything looks at it; what comes back is
//! compressed before it is stored, and says `Vary: Accept-Encoding`. So a key has one variant per coding. The work is done
//! by the worker that fetches, in small pieces between which its other connections get their turn.

mod encoder; // one coding, as a writer that is drained
mod stream; // a body that is compressed while it comes

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::http::body::Body;
use common::http::response::Response;
use common::telemetry::metrics::Counter;
use common::worker::Worker;
use config::traffic::{Coding, Compression};
use http::{HeaderMap, Method};

use crate::policy::coding;
use encoder::Encoder;
use stream::Compressed;

/// What compresses the responses of one route.
#[derive(Debug)]
pub struct Compressor {
    rules: Compression,
    /// Responses that are being compressed now.
    running: Arc<AtomicUsize>,
}

/// What a settled request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    coding: Option<Coding>,
    has_content: bool,
}

/// A place among the responses that are compressed at the same time; given back when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

/// Content up to this size that is at hand is compressed at once, so that its length is known.
const AT_ONCE_MAX: usize = 32 * 1024;

impl Compressor {
    /// One for these rules.
    pub fn new(rules: Compression) -> Self {
        Self {
            rules,
            running: Arc::default(),
        }
    }

    /// Makes a request say which coding it gets.
    pub(crate) fn settle(&self, request: &mut HeaderMap) {
        coding::settle(request, &self.rules.codings);
    }

    /// What a settled request with this method asks for.
    pub(crate) fn asked(&self, method: &Method, request: &HeaderMap) -> Asked {
        Asked {
            coding: coding::settled(request, &self.rules.codings),
            has_content: method != Method::HEAD,
        }
    }

    /// Gives a response the coding that was asked for, where it is one to be compressed.
    pub(crate) fn apply(&self, asked: Asked, response: &mut Response, worker: &Arc<Worker>) {
        let fields = response.fields.map_mut();
        let length = if asked.has_content {
            response.body.len()
        } else {
            head_length(fields)
        };
        if !coding::is_compressible(response.status, fields, length, &self.rules) {
            return;
        }
        coding::vary(fields);
        let Some(coding) = asked.coding else { return };
        if !asked.has_content {
            coding::describe(fields, coding);
            return;
        }
        let encoder = self.place().and_then(|place| Some((place, self.encoder(coding)?)));
        let Some((place, encoder)) = encoder else {
            worker.metrics.count(Counter::CompressSkipped);
            return;
        };
        coding::describe(fields, coding);
        worker.metrics.count(Counter::CompressedResponses);
        response.body = match std::mem::take(&mut response.body) {
            Body::Full(bytes) if bytes.len() <= AT_ONCE_MAX => at_once(encoder, &bytes, worker),
            body => Body::stream(Compressed::new(body, encoder, place, Arc::clone(worker))),
        };
    }

    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.running));
        (self.running.fetch_add(1, Ordering::Relaxed) < self.rules.streams_max).then_some(place)
    }

    fn encoder(&self, coding: Coding) -> Option<Encoder> {
        let level = match coding {
            Coding::Zstd => self.rules.zstd_level,
            Coding::Brotli => self.rules.brotli_level,
            Coding::Gzip => self.rules.gzip_level,
        };
        Encoder::new(coding, level).ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn at_once(mut encoder: Encoder, bytes: &Bytes, worker: &Worker) -> Body {
    let done = encoder.write(bytes).and_then(|()| encoder.finish());
    match done {
        Ok(compressed) => {
            worker.metrics.add(Counter::CompressBytesIn, bytes.len() as u64);
            worker.metrics.add(Counter::CompressBytesOut, compressed.len() as u64);
            Body::Full(compressed)
        }
        Err(error) => Body::stream(stream::Failed(error)),
    }
}

/// The length that the answer to HEAD tells.
fn head_length(fields: &HeaderMap) -> Option<u64> {
    let value = fields.get(http::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
