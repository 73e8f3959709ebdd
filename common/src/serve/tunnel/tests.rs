//! Tunnels between two ends that are nothing but scripts: what passes, what waits, how they end, what is told.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Buf as _;
use parking_lot::Mutex;

use super::*;
use crate::telemetry::access_log::AccessLog;
use crate::time::Clock;
use crate::worker::Worker;

/// An end that says what it is told to, and keeps what it gets.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What it says; `None` is a connection that breaks. Afterwards it is silent.
    says: VecDeque<Option<&'static str>>,
    /// How many bytes it still takes.
    takes: usize,
    got: String,
    is_ended: bool,
    is_aborted: bool,
}

impl Scripted {
    fn saying(says: &[Option<&'static str>], takes: usize) -> Self {
        let end = Self::default();
        end.0.lock().says.extend(says);
        end.0.lock().takes = takes;
        end
    }

    /// What it got, and whether it was told that nothing follows.
    fn heard(&self) -> (String, bool) {
        let state = self.0.lock();
        (state.got.clone(), state.is_ended)
    }
}

impl Duplex for Scripted {
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match self.0.lock().says.pop_front() {
            None => Poll::Pending,
            Some(None) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(Some(words)) => Poll::Ready(Ok(Bytes::from_static(words.as_bytes()))),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        let state = &mut *self.0.lock();
        let taken = state.takes.min(data.len());
        if taken == 0 {
            return Poll::Pending;
        }
        state.takes -= taken;
        state.got.push_str(std::str::from_utf8(&data[..taken]).unwrap());
        data.advance(taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn end(&mut self) {
        self.0.lock().is_ended = true;
    }

    fn abort(&mut self) {
        self.0.lock().is_aborted = true;
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Sent>>>);

impl Record for Kept {
    fn finish(self, sent: &Sent) {
        self.0.lock().push(sent.clone());
    }
}

fn told(record: &Kept, worker: &Arc<Worker>) -> Told<Kept> {
    let conn = ConnInfo {
        id: 1,
        client: None,
        local: None,
        listener: "test".into(),
        tls: false,
        certificate: None,
        accepted: mono_now(),
        accept_wait: None,
        worker: Arc::clone(worker),
    };
    Told {
        record: record.clone(),
        conn: Arc::new(conn),
        request_bytes: 100,
        head_bytes: 0,
        began: mono_now(),
        close: Some(CloseReason::Upgraded),
    }
}

fn worker() -> Arc<Worker> {
    Worker::new(0, Clock::default(), AccessLog::default())
}

fn tunnel(server: &Scripted) -> Tunnel {
    Tunnel {
        server: Box::new(server.clone()),
        idle_timeout: Duration::from_secs(60),
    }
}

/// Silence, which is what both fall into when they have said all, ends it after its time: no waiting under a paused clock.
async fn run(client: &Scripted, server: &Scripted) -> (TunnelEnd, Sent, Arc<Worker>) {
    let (kept, worker) = (Kept::default(), worker());
    let first = Bytes::from_static(b"101!");
    let end = carry(&mut client.clone(), tunnel(server), first, told(&kept, &worker)).await;
    let mut records = kept.0.lock();
    assert_eq!(records.len(), 1, "told once");
    (end, records.pop().unwrap(), worker)
}

#[tokio::test(start_paused = true)]
async fn each_way_of_ending_has_its_word_and_bytes_of_both_directions_are_told() {
    const END: Option<&str> = Some("");
    const BREAK: Option<&str> = None;
    for (client, server, expected) in [
        (&[Some("abc"), END][..], &[Some("hello"), END][..], TunnelEnd::Client),
        (&[Some("abc")], &[Some("hello"), BREAK], TunnelEnd::ServerReset),
        (&[Some("abc"), BREAK], &[Some("hello")], TunnelEnd::ClientReset),
        (&[Some("abc")], &[Some("hello")], TunnelEnd::Idle),
        (&[Some("abc"), END], &[Some("hello")], TunnelEnd::Idle),
    ] {
        let (client, server) = (Scripted::saying(client, 100), Scripted::saying(server, 100));
        let (end, sent, worker) = run(&client, &server).await;
        assert_eq!(end, expected);
        assert!(matches!(sent.end, End::Tunnel(told) if told == expected), "{sent:?}");
        assert_eq!(worker.metrics.get(counter(expected)), 1);
        assert_eq!(server.0.lock().got, "abc", "{expected:?}");
        assert_eq!(sent.request_bytes, 103);
        assert_eq!(client.0.lock().got, "101!hello", "{expected:?}");
        assert_eq!((sent.bytes, sent.body_bytes), (9, 5));
        assert_eq!(client.0.lock().is_aborted, expected == TunnelEnd::ServerReset);
        assert_eq!(server.0.lock().is_aborted, expected == TunnelEnd::ClientReset);
    }
}

#[tokio::test(start_paused = true)]
async fn one_side_that_takes_nothing_holds_back_the_other_and_keeps_it_from_no_answer() {
    let client = Scripted::saying(&[Some("one"), Some("two"), Some("three")], 6);
    let server = Scripted::saying(&[Some("hello"), Some("more"), Some("last")], 100);
    let (end, sent, _) = run(&client, &server).await;
    assert_eq!((end, sent.bytes), (TunnelEnd::Idle, 6));
    assert_eq!(
        (client.0.lock().got.as_str(), server.0.lock().got.as_str()),
        ("101!he", "onetwothree")
    );
    let left: Vec<_> = server.0.lock().says.iter().copied().collect();
    assert_eq!(
        left,
        [Some("more"), Some("last")],
        "nothing is read ahead of what is taken"
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_direction_is_passed_on_after_its_last_byte() {
    let client = Scripted::saying(&[Some("abc"), Some("")], 100);
    let server = Scripted::saying(&[], 2);
    let (kept, worker) = (Kept::default(), worker());
    let mut end = client.clone();
    let mut carrying = pin!(carry(&mut end, tunnel(&server), Bytes::new(), told(&kept, &worker)));
    poll_once(carrying.as_mut());
    assert_eq!(server.heard(), ("ab".to_owned(), false));
    server.0.lock().takes = 1;
    poll_once(carrying.as_mut());
    assert_eq!(server.heard(), ("abc".to_owned(), true));
    assert!(!client.0.lock().is_ended, "the other direction is open");
}

#[tokio::test(start_paused = true)]
async fn each_byte_either_way_gives_a_tunnel_all_its_time_anew() {
    let (client, server) = (Scripted::saying(&[], 100), Scripted::saying(&[], 100));
    let (kept, worker) = (Kept::default(), worker());
    let mut end = client.clone();
    let mut carrying = pin!(carry(&mut end, tunnel(&server), Bytes::new(), told(&kept, &worker)));
    let nearly = Duration::from_secs(59);
    for speaker in [&client, &server, &client, &server] {
        poll_once(carrying.as_mut());
        tokio::time::advance(nearly).await;
        speaker.0.lock().says.push_back(Some("x"));
    }
    poll_once(carrying.as_mut());
    tokio::time::advance(nearly).await;
    poll_once(carrying.as_mut());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(carrying.await, TunnelEnd::Idle);
    assert_eq!((client.heard().0.len(), server.heard().0.len()), (2, 2));
}

fn poll_once<F: Future<Output = TunnelEnd>>(future: std::pin::Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_dropped_was_cut_by_a_drain() {
    let (client, server) = (Scripted::saying(&[Some("abc")], 100), Scripted::saying(&[], 100));
    let (kept, worker) = (Kept::default(), worker());
    let mut end = client.clone();
    let mut carrying = Box::pin(carry(&mut end, tunnel(&server), Bytes::new(), told(&kept, &worker)));
    poll_fn(|cx| {
        assert!(carrying.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(carrying);
    let sent = kept.0.lock().pop().unwrap();
    assert!(matches!(sent.end, End::Tunnel(TunnelEnd::Drain)), "{sent:?}");
    assert_eq!(
        (sent.request_bytes, worker.metrics.get(Counter::TunnelEndDrain)),
        (103, 1)
    );
}
