//! A place for one request on an HTTP/2 connection to a server: on one that is there, or on a new one.
//!
//! take → (lead: lease → connect | wait for who leads) → take again. What a new connection speaks is known when it is made:
//! with `protocol = "auto"` it may be HTTP/1, and then this file has nothing more to say. Called by `send`.

use std::sync::Arc;

use super::facts::Facts;
use super::multiplex::{Begin, Lead, Multiplex, Spoken, Told};
use super::pool::{Place, Source};
use super::seat::{Channel, Ready, Seat, Tenure};
use super::send::{Ask, Backend};
use crate::http::origin_error::OriginError;
use crate::http2::client::Client;
use crate::telemetry::metrics::Counter;

impl Backend {
    /// A place on a connection; `None` where the server speaks HTTP/1.
    pub(super) async fn stream(
        self: &Arc<Self>,
        number: usize,
        multiplex: &Multiplex,
        ask: &Ask<'_>,
        source: Source,
        facts: &mut Facts,
    ) -> Result<Option<Ready>, OriginError> {
        let (pool, worker) = (&self.servers[number].pool, ask.worker.index);
        loop {
            if let Some((client, slot)) = multiplex.take(worker, pool, ask.worker.clock.mono()) {
                return Ok(Some(self.shared(number, client, slot, ask, source, facts)));
            }
            if multiplex.spoken() == Spoken::Http1 {
                return Ok(None);
            }
            match multiplex.begin(worker) {
                Begin::Wait(told) => self.wait(number, told, ask, facts).await?,
                Begin::Lead(lead) => {
                    if let Some(ready) = self.lead(number, multiplex, lead, ask, source, facts).await? {
                        return Ok(Some(ready));
                    }
                }
            }
        }
    }

    /// Makes a connection, or finds room on another worker's where none may be made; `None`: look again.
    async fn lead(
        self: &Arc<Self>,
        number: usize,
        multiplex: &Multiplex,
        lead: Lead<'_>,
        ask: &Ask<'_>,
        source: Source,
        facts: &mut Facts,
    ) -> Result<Option<Ready>, OriginError> {
        let pool = &self.servers[number].pool;
        if !pool.has_room()
            && let Some((client, slot)) = multiplex.take_any(pool, ask.worker.clock.mono())
        {
            return Ok(Some(self.shared(number, client, slot, ask, source, facts)));
        }
        let waiting = ask.worker.clock.mono();
        let lease = tokio::select! {
            biased;
            (lease, _) = pool.lease(ask.worker.index, ask.limits.urgency) => lease,
            () = multiplex.freed.notified() => {
                facts.queued += ask.worker.clock.mono() - waiting;
                return Ok(None);
            }
        };
        let now = ask.worker.clock.mono();
        facts.queued += now - waiting;
        let result = match lease {
            Ok(lease) => self.connected(number, lease, ask, (source, now), facts).await,
            Err(_) => Err(OriginError::ConnectionLimitReached),
        };
        match result {
            Ok(ready) => Ok(Some(ready)),
            Err(error) => {
                if error == OriginError::ConnectionLimitReached {
                    ask.worker.metrics.count(Counter::BackendQueueTimeouts);
                }
                lead.failed(error);
                Err(error)
            }
        }
    }

    /// Waits for the connection that another request of this worker makes.
    async fn wait(&self, number: usize, mut told: Told, ask: &Ask<'_>, facts: &mut Facts) -> Result<(), OriginError> {
        let pool = &self.servers[number].pool;
        let limit_reached = || {
            ask.worker.metrics.count(Counter::BackendQueueTimeouts);
            OriginError::ConnectionLimitReached
        };
        let Some(_place) = Place::take(pool) else {
            return Err(limit_reached());
        };
        let since = ask.worker.clock.mono();
        let patience = pool.queue_timeout + ask.limits.connect_timeout;
        let heard = tokio::time::timeout(patience, told.changed()).await;
        facts.queued += ask.worker.clock.mono() - since;
        match heard {
            Ok(Ok(())) => *told.borrow(),
            // It ended without a word: look again.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(limit_reached()),
        }
    }

    fn shared(
        self: &Arc<Self>,
        number: usize,
        client: Client,
        slot: super::multiplex::Slot,
        ask: &Ask<'_>,
        source: Source,
        facts: &mut Facts,
    ) -> Ready {
        self.servers[number].stats.reused();
        // A retry that asked for a new connection is not retried for free once more.
        facts.reused = source == Source::Any;
        Ready {
            channel: Channel::Http2(client),
            seat: Seat::new(Tenure::Stream(slot), self, number),
            since: ask.worker.clock.mono(),
        }
    }
}
