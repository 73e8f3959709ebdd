//! Collapsed forwarding: one fetch per key on the whole server; who fetches is the leader, who waits a waiter.
//!
//! RFC 9111 §4: "A cache can use a response that is stored or storable to satisfy multiple requests, […] This enables a
//! cache to 'collapse requests'". Waiters are woken when the leader's response head has come (or failed), never polled.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::http::origin_error::OriginError;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::store::Stored;

/// Locks over which keys are spread, so that workers seldom meet.
const SHARDS: usize = 64;

/// What a leader has found; what its waiters then do.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// It is not known yet.
    Pending,
    /// This response may be reused; its content may still be coming.
    Stored(Arc<Stored>),
    /// There is no answer: the fetch failed for everybody.
    Failed(OriginError),
    /// A validation came to an error, or nobody is to wait any longer: this answers everybody for whom nothing stale may.
    ServerError(ServerError),
    /// The answer is not for others: everybody asks for himself, at once.
    NotShareable,
    /// The origin gives no slices: everybody asks for the whole, together.
    NotSliceable,
    /// The leader ended without an answer: somebody else leads.
    Abandoned,
}

/// What is shared of a 5xx that is not stored.
#[derive(Clone, Debug)]
pub(crate) struct ServerError {
    /// The status.
    pub(crate) status: StatusCode,
    /// When to come again.
    pub(crate) retry_after: Option<HeaderValue>,
}

/// The fetches under way.
#[derive(Debug)]
pub(crate) struct Flights {
    shards: Vec<Mutex<HashMap<u64, Arc<Flight>>>>,
}

#[derive(Debug)]
struct Flight {
    landing: watch::Sender<Landing>,
    waiters: AtomicUsize,
}

/// What a request that found nothing may do.
pub(crate) enum Boarding {
    /// Fetch; others wait for it.
    Lead(Permit),
    /// Wait for the one who fetches.
    Wait(Waiter),
    /// Too many wait for this key already: fetch alone.
    Alone,
}

/// Leave to fetch one key.
///
/// INVARIANT: a waiter never waits for a permit that no longer exists.
#[must_use = "dropping it hands the fetch to a waiter"]
pub(crate) struct Permit {
    flights: Arc<Flights>,
    key: u64,
    flight: Arc<Flight>,
}

/// A request that waits for a leader.
pub(crate) struct Waiter {
    flight: Arc<Flight>,
    landing: watch::Receiver<Landing>,
}

impl Flights {
    /// None under way.
    pub(crate) fn new() -> Arc<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Arc::new(Self { shards })
    }

    /// Joins the fetch of `key`, unless `waiters_max` do already, or starts it.
    pub(crate) fn board(self: &Arc<Self>, key: u64, waiters_max: usize) -> Boarding {
        let mut shard = self.shard(key).lock();
        if let Some(flight) = shard.get(&key) {
            if flight.waiters.fetch_add(1, Ordering::Relaxed) >= waiters_max {
                flight.waiters.fetch_sub(1, Ordering::Relaxed);
                return Boarding::Alone;
            }
            return Boarding::Wait(Waiter {
                flight: Arc::clone(flight),
                landing: flight.landing.subscribe(),
            });
        }
        let flight = Arc::new(Flight {
            landing: watch::Sender::new(Landing::Pending),
            waiters: AtomicUsize::new(0),
        });
        shard.insert(key, Arc::clone(&flight));
        drop(shard);
        Boarding::Lead(Permit {
            flights: Arc::clone(self),
            key,
            flight,
        })
    }

    /// Whether somebody fetches this key now.
    pub(crate) fn is_under_way(&self, key: u64) -> bool {
        self.shard(key).lock().contains_key(&key)
    }

    /// Requests that wait now, for all keys.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = |shard: &Mutex<HashMap<u64, Arc<Flight>>>| -> usize {
            shard
                .lock()
                .values()
                .map(|flight| flight.waiters.load(Ordering::Relaxed))
                .sum()
        };
        self.shards.iter().map(waiting).sum()
    }

    /// Fetches under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: u64) -> &Mutex<HashMap<u64, Arc<Flight>>> {
        &self.shards[usize::try_from(key % SHARDS as u64).unwrap_or(0)]
    }
}

impl Permit {
    /// Tells the waiters what was found. Until the permit is dropped, later requests are told the same: what was found may
    /// not be in the store yet.
    pub(crate) fn land(&self, landing: Landing) {
        let place = &self.flight.landing;
        place.send_if_modified(|found| {
            *found = landing;
            // Who comes from here on looks at what is here before he waits: where nobody does yet, nobody has to be woken.
            place.receiver_count() > 0
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.flights.shard(self.key).lock().remove(&self.key);
        self.flight.landing.send_if_modified(|landing| {
            let is_pending = matches!(landing, Landing::Pending);
            if is_pending {
                *landing = Landing::Abandoned;
            }
            is_pending
        });
    }
}

impl Waiter {
    /// Waits until the leader has found something, or is gone.
    pub(crate) async fn wait(mut self) -> Landing {
        match self
            .landing
            .wait_for(|landing| !matches!(landing, Landing::Pending))
            .await
        {
            Ok(landing) => landing.clone(),
            Err(_) => Landing::Abandoned,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.flight.waiters.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Arc<Flights>, key: u64) -> Permit {
        match flights.board(key, 10) {
            Boarding::Lead(permit) => permit,
            Boarding::Wait(_) | Boarding::Alone => panic!("somebody leads already"),
        }
    }

    fn wait(flights: &Arc<Flights>, key: u64) -> Waiter {
        match flights.board(key, 10) {
            Boarding::Wait(waiter) => waiter,
            Boarding::Lead(_) | Boarding::Alone => panic!("nobody leads"),
        }
    }

    #[tokio::test]
    async fn waiters_are_told_when_the_leader_is_dropped() {
        let flights = Flights::new();
        let permit = lead(&flights, 1);
        let (a, b) = (wait(&flights, 1), wait(&flights, 1));
        assert_eq!(flights.waiting(), 2);
        drop(permit);
        assert!(matches!(a.wait().await, Landing::Abandoned));
        assert!(matches!(b.wait().await, Landing::Abandoned));
        assert_eq!(flights.waiting(), 0);
        drop(lead(&flights, 1));
    }

    #[tokio::test]
    async fn waiters_of_an_answer_that_is_not_shareable_go_on_at_once() {
        let flights = Flights::new();
        let permit = lead(&flights, 1);
        let waiter = wait(&flights, 1);
        permit.land(Landing::NotShareable);
        assert!(matches!(waiter.wait().await, Landing::NotShareable));
    }

    #[test]
    fn only_so_many_wait_for_one_key() {
        let flights = Flights::new();
        let _permit = lead(&flights, 1);
        let _waiter = wait(&flights, 1);
        assert!(matches!(flights.board(1, 1), Boarding::Alone));
        let _other = lead(&flights, 2);
    }
}
