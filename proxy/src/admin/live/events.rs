//! Server-sent events: one stream per listener, each event whole in itself, so that a slow listener may miss some.
//!
//! The event-stream format is WHATWG HTML §9.2.6. Bounded: so many listeners, so many events in line for each.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::http::body::{Body, BodyError};
use http_body::Frame;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Streams at a time.
const LISTENERS_MAX: usize = 32;
/// Events in line for a listener that does not read; further ones are not for it.
const EVENTS_MAX: usize = 2;

/// Everybody who listens.
#[derive(Debug, Default)]
pub struct Listeners {
    senders: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Listeners {
    /// A stream that begins with `first`; `None` when too many listen already.
    pub fn add(&self, first: Bytes) -> Option<Body> {
        let mut senders = self.senders.lock();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() >= LISTENERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        // There is room for the first one.
        drop(sender.try_send(first));
        senders.push(sender);
        Some(Body::stream(Events(receiver)))
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.senders.lock().iter().all(mpsc::Sender::is_closed)
    }

    /// Sends an event to everybody who has room for it, and forgets who has left.
    pub fn send(&self, event: &Bytes) {
        let has_left = |sender: &mpsc::Sender<Bytes>| {
            matches!(
                sender.try_send(event.clone()),
                Err(mpsc::error::TrySendError::Closed(_))
            )
        };
        self.senders.lock().retain(|sender| !has_left(sender));
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.senders.lock().clear();
    }
}

/// One listener's stream.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn a_listener_gets_what_is_sent_and_misses_what_it_has_no_room_for() {
        let listeners = Listeners::default();
        let body = listeners.add(event("a")).unwrap();
        for text in ["b", "c", "d"] {
            listeners.send(&event(text));
        }
        listeners.end();
        assert_eq!(body.collect(10).await.unwrap(), "ab");
    }

    #[test]
    fn listeners_are_bounded_and_their_places_are_given_back() {
        let listeners = Listeners::default();
        let mut bodies: Vec<_> = (0..LISTENERS_MAX).map(|_| listeners.add(event("")).unwrap()).collect();
        assert!(listeners.add(event("")).is_none());
        bodies.pop();
        bodies.push(listeners.add(event("")).unwrap());
        assert!(listeners.add(event("")).is_none() && !listeners.is_empty());
        bodies.clear();
        assert!(listeners.is_empty());
        listeners.send(&event("x"));
        assert!(listeners.senders.lock().is_empty());
    }
}
