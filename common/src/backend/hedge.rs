//! Hedging: when the first server takes longer than most requests do, a second one is asked as well, and who answers
//! first is heard. Called by `send` for the first try of a request that may be sent twice; costs nothing where it is off.
//!
//! When that is, is learnt from the times of late (`learn`, on the control thread); how many are asked twice at once is the
//! retry budget's to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::budget::Retry;
use super::facts::Facts;
use super::pool::Source;
use super::send::{Ask, Backend};
use super::standing::ServerState;
use super::times::Counts;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::http1::client::Failure;
use crate::telemetry::metrics::Counter;

/// Times that are needed to say what is long: with fewer, the 99th percentile would be the slowest of all.
const TIMES_MIN: u64 = 100;

/// How long most requests take.
#[derive(Debug, Default)]
pub(super) struct HedgeDelay {
    /// In microseconds; zero: not known yet.
    micros: AtomicU64,
    /// What it was learnt from; written by the control thread only.
    seen: Mutex<Counts>,
}

impl HedgeDelay {
    fn get(&self) -> Option<Duration> {
        let micros = self.micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Learns from all times since the start, once enough are new.
    pub(super) fn learn(&self, all: Counts, percent: u32) {
        let mut seen = self.seen.lock();
        let new = all.since(&seen);
        if new.total() < TIMES_MIN {
            return;
        }
        let found = new.percentile(percent).unwrap_or_default();
        let micros = u64::try_from(found.as_micros()).unwrap_or(u64::MAX);
        self.micros.store(micros.max(1), Ordering::Relaxed);
        *seen = all;
    }
}

impl Backend {
    /// After how long a second server is to be asked; `None`: never, for this request or at all.
    pub(super) fn hedge_delay(&self, ask: &Ask<'_>, facts: &Facts) -> Option<Duration> {
        if self.settings.hedge_percentile == 0 || ask.has_content || self.servers.len() < 2 || facts.attempts > 0 {
            return None;
        }
        // A second tunnel would be one that somebody serves and nobody uses.
        if ask.head.asks_upgrade {
            return None;
        }
        // "A proxy MUST NOT automatically retry non-idempotent requests." (RFC 9110 §9.2.2)
        ask.head
            .parts
            .method
            .is_idempotent()
            .then(|| self.hedge.get())
            .flatten()
    }

    /// A first try, and after `delay` a second one beside it. The one whose answer is not needed any more is hung up on.
    ///
    /// `server` becomes the one that was heard; another one that was asked is `tried` then.
    pub(super) async fn hedged(
        self: &Arc<Self>,
        server: &mut usize,
        delay: Duration,
        ask: &Ask<'_>,
        tried: &mut Vec<usize>,
        facts: &mut Facts,
    ) -> Result<Response, Failure> {
        let first = *server;
        let (mut of_first, mut of_second) = (Facts::default(), Facts::default());
        let mut one = Box::pin(self.attempt(first, ask, Body::Empty, Source::Any, &mut of_first));
        let in_time = tokio::time::timeout(delay, &mut one).await.ok();
        let now = ask.worker.clock.mono();
        let again = Ask { began: now, ..*ask };
        let second = if in_time.is_none() {
            self.second(first, &again)
        } else {
            None
        };
        let (heard, other, result) = match (in_time, second) {
            (Some(result), _) => (first, None, result),
            (None, None) => (first, None, one.as_mut().await),
            (None, Some((second, _leave))) => {
                let mut two = Box::pin(self.attempt(second, &again, Body::Empty, Source::Any, &mut of_second));
                tokio::select! {
                    biased;
                    result = &mut one => match result {
                        Ok(_) => (first, Some(second), result),
                        Err(_) => (second, Some(first), two.await),
                    },
                    result = &mut two => match result {
                        Ok(_) => (second, Some(first), result),
                        Err(_) => (first, Some(second), one.as_mut().await),
                    },
                }
            }
        };
        drop(one);
        if heard != first && result.is_ok() {
            ask.worker.metrics.count(Counter::BackendHedgesWon);
            // Nobody will hear how long it takes: at least this long.
            let now = ask.worker.clock.mono();
            self.standings[first]
                .latency
                .observe(now - ask.began, self.since_made(now));
        }
        *facts = merged(of_first, of_second, heard == first);
        *server = heard;
        tried.extend(other);
        result
    }

    /// Another server that is well, and the leave to ask it as well.
    fn second(&self, first: usize, ask: &Ask<'_>) -> Option<(usize, Retry<'_>)> {
        let now = self.since_made(ask.began);
        let second = self.pick(ask.key, &[first], ask.worker, ask.began)?;
        if self.standings[second].state(now) != ServerState::Up {
            return None;
        }
        let leave = self.budget.take(self.load(), now);
        let counter = if leave.is_some() {
            Counter::BackendHedges
        } else {
            Counter::BackendRetriesRefused
        };
        ask.worker.metrics.count(counter);
        Some((second, leave?))
    }
}

/// What is told of both tries: how the one went that was heard, and how many there were.
fn merged(of_first: Facts, of_second: Facts, first_is_heard: bool) -> Facts {
    let (heard, other) = if first_is_heard {
        (of_first, of_second)
    } else {
        (of_second, of_first)
    };
    Facts {
        attempts: heard.attempts + other.attempts,
        queued: heard.queued + other.queued,
        ..heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::times::Times;

    #[test]
    fn the_delay_is_learnt_from_enough_times_and_follows_them() {
        let (times, delay) = (Times::default(), HedgeDelay::default());
        let take = |millis: u64, count: usize| {
            for _ in 0..count {
                times.observe(Duration::from_millis(millis));
            }
            delay.learn(times.counts(), 95);
            delay.get().map(|delay| delay.as_millis())
        };
        assert_eq!(take(10, 99), None, "too few");
        let learnt = take(10, 1).unwrap();
        assert!((10..=12).contains(&learnt), "{learnt}");
        assert_eq!(take(500, 50), Some(learnt), "too few of them are new");
        let learnt = take(500, 50).unwrap();
        assert!((500..=625).contains(&learnt), "what was before is forgotten: {learnt}");
    }
}
