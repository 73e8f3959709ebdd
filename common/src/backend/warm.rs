//! Connections that are made before anybody needs them (`keepalive_min`), so that the first request after a start, a pause
//! or a failure does not wait for handshakes.
//!
//! Each worker looks after its share: of servers where connections are common to all workers, of connections where each has
//! its own (HTTP/2). Called by housekeeping; costs nothing where it is off.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::facts::Facts;
use super::multiplex::{Begin, Lead};
use super::pool::Source;
use super::send::{Ask, Backend};
use super::standing::ServerState;
use crate::http::head::Head;
use crate::worker::Worker;

/// How long a server may take to say what it has to say after the TLS handshake.
const SETTLE: Duration = Duration::from_millis(500);

impl Backend {
    /// Begins to make the connections that `worker` is to keep ready and that are missing; to be called on it now and then.
    pub fn warm(self: &Arc<Self>, worker: &Arc<Worker>) {
        // The last housekeeping comes when nothing runs any more.
        if self.settings.keepalive_min == 0 || Handle::try_current().is_err() {
            return;
        }
        let now = self.since_made(worker.clock.mono());
        for (number, server) in self.servers.iter().enumerate() {
            if self.standings[number].state(now) != ServerState::Up {
                continue;
            }
            let missing = server.pool.missing(number, worker.index, self.settings.keepalive_min);
            for _ in 0..missing {
                let (backend, worker) = (Arc::clone(self), Arc::clone(worker));
                drop(tokio::spawn(async move { backend.make_ready(number, &worker).await }));
            }
        }
    }

    async fn make_ready(self: &Arc<Self>, number: usize, worker: &Worker) {
        let pool = &self.servers[number].pool;
        let lead: Option<Lead<'_>> = match pool.multiplex().filter(|multiplex| multiplex.is_shared()) {
            None => None,
            Some(multiplex) => match multiplex.begin(worker.index) {
                Begin::Lead(lead) => Some(lead),
                // One is being made.
                Begin::Wait(_) => return,
            },
        };
        let Some(lease) = pool.lease_now(worker.index) else {
            return;
        };
        let now = worker.clock.mono();
        let ask = Ask {
            head: &Head::default().into(),
            has_content: false,
            key: 0,
            limits: &self.settings.limits,
            worker,
            until: None,
            began: now,
        };
        let mut facts = Facts::default();
        match self
            .connected(number, lease, &ask, (Source::New, now), &mut facts)
            .await
        {
            Ok(ready) => ready.keep(SETTLE).await,
            // Why has been logged and counted, as for a request.
            Err(error) => lead.into_iter().for_each(|lead| lead.failed(error)),
        }
    }
}
