//! Interim responses (1xx) on their way from a server to the client whose request it is (RFC 9110 §15.2).
//!
//! A transport makes a [`Desk`] per request, which costs nothing; whoever forwards the request takes a [`Courier`] from it,
//! and `http1::client` hands over what comes. 100 and 101 never pass here: each has a rule of its own.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use super::field_lines::FieldLines;
use super::hop_by_hop;
use super::via;

/// Interim responses that wait for one client; more are dropped, as they may be: "A proxy MUST forward 1xx responses" is
/// for those that come one by one, and no server has reason for as many.
const WAITING_MAX: usize = 16;

/// One interim response, as the client gets it.
#[derive(Debug)]
pub struct Interim {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: HeaderMap,
}

/// Where a transport collects the interim responses to one request.
#[derive(Debug, Default)]
pub struct Desk {
    /// Made when the request is forwarded.
    letterbox: OnceLock<Arc<Mutex<Letterbox>>>,
}

/// Brings interim responses to a desk, from whatever task, however long the request is still there.
#[derive(Clone, Debug)]
pub struct Courier(Arc<Mutex<Letterbox>>);

#[derive(Debug, Default)]
struct Letterbox {
    waiting: VecDeque<Interim>,
    /// Who is waiting for the next one.
    waker: Option<Waker>,
    /// The final response was begun, or the client left.
    is_shut: bool,
}

impl Desk {
    /// A courier to it.
    pub fn courier(&self) -> Courier {
        Courier(Arc::clone(self.letterbox.get_or_init(Arc::default)))
    }

    /// The next interim response. To be asked again after each poll of what answers the request: a desk that nobody brings
    /// anything to wakes nobody.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Interim> {
        let Some(letterbox) = self.letterbox.get() else {
            return Poll::Pending;
        };
        let mut letterbox = letterbox.lock();
        if let Some(interim) = letterbox.waiting.pop_front() {
            return Poll::Ready(interim);
        }
        letterbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next interim response that is there, before the final one.
    pub fn take(&self) -> Option<Interim> {
        self.letterbox.get()?.lock().waiting.pop_front()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(letterbox) = self.letterbox.get() {
            *letterbox.lock() = Letterbox {
                is_shut: true,
                ..Letterbox::default()
            };
        }
    }
}

impl Courier {
    /// Brings a response as it came, less what ends at this hop.
    pub fn bring(&self, status: StatusCode, mut fields: HeaderMap) {
        hop_by_hop::remove_from_response(status, &mut fields);
        // "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx" (RFC 9110 §8.6)
        fields.remove(CONTENT_LENGTH);
        let mut added = FieldLines::default();
        via::append_via(&mut fields, &mut added, http::Version::HTTP_11);
        added.append_to(&mut fields);
        let mut letterbox = self.0.lock();
        if letterbox.is_shut || letterbox.waiting.len() >= WAITING_MAX {
            return;
        }
        letterbox.waiting.push_back(Interim { status, fields });
        if let Some(waker) = letterbox.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn hints() -> HeaderMap {
        [
            ("link", "</a.css>; rel=preload"),
            ("connection", "x-own"),
            ("x-own", "1"),
            ("content-length", "3"),
        ]
        .into_iter()
        .map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        })
        .collect()
    }

    #[test]
    fn what_is_brought_is_taken_once_without_what_ends_at_this_hop() {
        let desk = Desk::default();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(desk.poll_next(&mut cx).is_pending(), "nobody has a courier");
        let courier = desk.courier();
        assert!(desk.poll_next(&mut cx).is_pending());
        courier.bring(StatusCode::EARLY_HINTS, hints());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(interim) = desk.poll_next(&mut cx) else {
            panic!("it was brought");
        };
        let mut names: Vec<_> = interim.fields.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!((interim.status, names), (StatusCode::EARLY_HINTS, vec!["link", "via"]));
        assert!(desk.take().is_none());
    }

    #[test]
    fn nothing_is_brought_to_who_is_gone_or_has_enough() {
        let desk = Desk::default();
        let courier = desk.courier();
        for _ in 0..3 * WAITING_MAX {
            courier.bring(StatusCode::PROCESSING, HeaderMap::new());
        }
        assert_eq!(std::iter::from_fn(|| desk.take()).count(), WAITING_MAX);
        drop(desk);
        courier.bring(StatusCode::PROCESSING, HeaderMap::new());
        assert_eq!(courier.0.lock().waiting.len(), 0);
    }
}
