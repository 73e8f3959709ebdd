//! Tells a client that is not let in when to come again: a 503 without a look at its request, and a close that it can read.
//!
//! Bounded in number, time and bytes: it is for moments when descriptors or memory run short.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::limits::Shed;
use super::seat::Floor;
use crate::net::stream::Stream;
use crate::time::mono_now;

/// What is said; `Retry-After` in whole seconds (RFC 9110 §10.2.3).
pub(super) fn words(retry_after: Duration) -> Box<[u8]> {
    const CONTENT: &str = "503: too much to do at the moment\n";
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let length = CONTENT.len();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Retry-After: {seconds}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{CONTENT}"
    );
    text.into_bytes().into()
}

/// Says it, where there is something to say and not too many are being told already.
pub(super) fn tell(floor: &Arc<Floor>, stream: Stream, reason: Shed) {
    if floor.limit.words(reason).is_none() || floor.away.load(Ordering::Relaxed) >= AT_ONCE_MAX {
        return;
    }
    floor.away.fetch_add(1, Ordering::Relaxed);
    let told = Told(Arc::clone(floor));
    tokio::spawn(async move {
        let words = told.0.limit.words(reason).unwrap_or_default();
        drop(tokio::time::timeout_at(mono_now() + LINGER, say(stream, words)).await);
    });
}

/// Clients of one worker that are being told at once.
const AT_ONCE_MAX: usize = 64;
/// How long a client may take to read it and to close.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes of its request that are thrown away meanwhile: closing with unread bytes would be a reset.
const DISCARD_MAX: usize = 64 << 10;

/// One of those; dropping it makes room.
struct Told(Arc<Floor>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.away.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn say(mut stream: Stream, words: &[u8]) {
    // An empty socket's buffer has room for all of it.
    let written = poll_fn(|cx| stream.poll_write_vectored(cx, &[IoSlice::new(words)])).await;
    if written.ok() != Some(words.len()) {
        return;
    }
    stream.shutdown_write();
    let mut room = [0; 4096];
    let mut discarded = 0;
    while discarded < DISCARD_MAX {
        match poll_fn(|cx| stream.poll_take(cx, &mut room)).await {
            Ok(taken) => discarded += taken,
            Err(_) => return,
        }
    }
}
