//! What moves, second by second: the event stream, the history, and the rates that both are made of.
//!
//! Driven by the admin thread's housekeeping; a second that nobody listens to costs a sum over the workers' counters.

mod traffic; // the workers' counters at a moment, and what follows
mod kernel; // what a sample of the kernel adds
mod history; // the last hour
mod events; // who listens

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use common::http::body::Body;
use common::kernel::sample::{Moment, Sample};
use common::telemetry::json::{Object, Value};
use common::telemetry::metrics::Metrics;
use common::time::MonoTime;
use parking_lot::Mutex;

use events::Listeners;
use history::History;
use kernel::Kernel;
use traffic::{CLASSES, Traffic};

/// Time between two looks.
const SECOND: Duration = Duration::from_secs(1);
/// Rates and latencies are those of so many seconds.
const WINDOW: usize = 10;
/// How long a listener that lost its stream is asked to wait, in milliseconds.
const RETRY: u64 = 2000;

/// What moves.
#[derive(Debug)]
pub struct Live {
    state: Mutex<State>,
    listeners: Listeners,
}

#[derive(Debug, Default)]
struct State {
    /// The last seconds, oldest first; never more than [`WINDOW`] + 1.
    seconds: VecDeque<(MonoTime, Traffic)>,
    /// The newest sample of the kernel.
    kernel: Option<Kernel>,
    history: History,
}

impl Live {
    /// Begins when the process does: nothing has been counted yet.
    pub fn new(start: Moment) -> Self {
        let live = Self {
            state: Mutex::default(),
            listeners: Listeners::default(),
        };
        live.feed(start, [], None);
        live
    }

    /// Whether a second has passed since the last one was taken in.
    pub fn is_due(&self, now: MonoTime) -> bool {
        let state = self.state.lock();
        state
            .seconds
            .back()
            .is_none_or(|(last, _)| now.saturating_duration_since(*last) >= SECOND)
    }

    /// Takes in one second.
    pub fn feed<'a>(&self, now: Moment, workers: impl IntoIterator<Item = &'a Metrics>, sample: Option<&Sample>) {
        let traffic = Traffic::of(workers);
        let mut state = self.state.lock();
        if state.seconds.len() > WINDOW {
            state.seconds.pop_front();
        }
        state.seconds.push_back((now.mono, traffic));
        state.kernel = sample.map(Kernel::of);
        let kernel = state.kernel.clone();
        state.history.feed(now.wall, traffic, kernel);
    }

    /// Tells everybody who listens; `health` is asked only when somebody does.
    pub fn tell(&self, now: Moment, health: impl FnOnce() -> Vec<u8>) {
        if !self.listeners.is_empty() {
            self.listeners.send(&self.event(now, &health()));
        }
    }

    /// A stream of events that begins with one; `None` when too many listen already.
    pub fn listen(&self, now: Moment, health: &[u8]) -> Option<Body> {
        let event = self.event(now, health);
        let first = [format!("retry: {RETRY}\n").as_bytes(), &event].concat();
        self.listeners.add(first.into())
    }

    /// Ends all streams.
    pub fn end(&self) {
        self.listeners.end();
    }

    /// The last hour as JSON.
    pub fn history(&self) -> Vec<u8> {
        self.state.lock().history.report()
    }

    fn event(&self, now: Moment, health: &[u8]) -> Bytes {
        let mut out = b"data: ".to_vec();
        let state = self.state.lock();
        let mut object = Object::new(&mut out);
        object
            .field("schema", 1_u64)
            .field("at", now.wall.unix_secs())
            .field("health", Json(health.trim_ascii()));
        state.rates(object.object("traffic"));
        if let Some(kernel) = &state.kernel {
            kernel.describe(object.object("sockets"));
        }
        if let Some(point) = state.history.last() {
            point.describe(object.object("step"));
        }
        drop(object);
        out.extend_from_slice(b"\n\n");
        out.into()
    }
}

impl State {
    fn rates(&self, mut object: Object<'_>) {
        let (Some((from, first)), Some((to, last))) = (self.seconds.front(), self.seconds.back()) else {
            return;
        };
        let over = to.saturating_duration_since(*from).as_secs_f64();
        let change = last.since(first);
        let rate = |count: u64| (over > 0.0).then(|| per_second(count, over));
        object
            .field("over_seconds", over)
            .field("requests_per_second", rate(change.requests()))
            .field("connections_per_second", rate(change.accepted))
            .field("bytes_received_per_second", rate(change.bytes_received))
            .field("bytes_sent_per_second", rate(change.bytes_sent))
            .field("hit_ratio", change.hit_ratio())
            .field("latency_p50_seconds", change.latency(0.5))
            .field("latency_p99_seconds", change.latency(0.99));
        let mut classes = object.object("responses_per_second");
        for ((class, _), count) in CLASSES.iter().zip(change.classes) {
            classes.field(class, rate(count));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people, not an account")]
fn per_second(count: u64, over: f64) -> f64 {
    count as f64 / over
}

/// Text that is JSON already, on one line.
struct Json<'a>(&'a [u8]);

impl Value for Json<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        debug_assert!(!self.0.contains(&b'\n'), "a line break would end the event");
        out.extend_from_slice(self.0);
    }
}

#[cfg(test)]
mod tests {
    use common::telemetry::metrics::Counter;
    use common::time::{Clock, WallTime};

    use super::*;

    fn later(start: MonoTime, seconds: u64) -> Moment {
        Moment {
            mono: start + Duration::from_secs(seconds),
            wall: WallTime::from_unix_secs(1000 + seconds),
        }
    }

    #[tokio::test]
    async fn rates_are_those_of_the_last_ten_seconds() {
        let (start, metrics) = (Clock::System.mono(), Metrics::default());
        let live = Live::new(later(start, 0));
        for second in 1..=30 {
            assert!(live.is_due(later(start, second).mono));
            metrics.add(Counter::Responses2xx, if second < 20 { 1000 } else { 5 });
            live.feed(later(start, second), [&metrics], None);
            assert!(!live.is_due(later(start, second).mono));
        }
        let body = live.listen(later(start, 30), b"{\"status\":\"ok\"}\n").unwrap();
        live.end();
        let event = String::from_utf8(body.collect(10_000).await.unwrap().to_vec()).unwrap();
        assert!(
            event.starts_with("retry: 2000\ndata: {\"schema\":1,\"at\":1030,\"health\":{\"status\":\"ok\"},"),
            "{event}"
        );
        assert!(
            event.contains("\"over_seconds\":10,\"requests_per_second\":5,"),
            "{event}"
        );
        assert!(
            event.contains("\"step\":{\"at\":1020,\"requests\":50,\"connections\":0,") && event.ends_with("}\n\n"),
            "{event}"
        );
    }

    #[test]
    fn nobody_is_told_when_nobody_listens() {
        let now = later(Clock::System.mono(), 0);
        Live::new(now).tell(now, || panic!("health was asked"));
    }
}
