//! The same request to every server of a backend, whatever its standing: what one of them missed would stay wrong.
//!
//! Called by the front, for purges. One try each, on a connection of its own: an idle one may be dead, and what is sent
//! everywhere is sent seldom.

use std::sync::Arc;

use http::StatusCode;

use super::facts::Facts;
use super::pool::Source;
use super::send::{Ask, Backend};
use super::settings::ExchangeLimits;
use crate::http::body::Body;
use crate::http::origin_error::OriginError;
use crate::http::outgoing::OutgoingHead;
use crate::http1::client::ExchangeError;
use crate::worker::Worker;

/// Bytes of an answer that are read before its connection is let go.
const ANSWER_MAX: usize = 64 * 1024;

/// What one server said.
#[derive(Clone, Debug)]
pub struct Told {
    /// The server, as configured.
    pub server: Arc<str>,
    /// Its answer's status, or why there is none.
    pub result: Result<StatusCode, OriginError>,
}

impl Backend {
    /// Sends a request without content to every server at once; what they said is in the order of the settings.
    ///
    /// Once begun it goes on when the future is dropped.
    pub async fn send_to_each(
        self: &Arc<Self>,
        head: &OutgoingHead,
        limits: &ExchangeLimits,
        worker: &Arc<Worker>,
    ) -> Vec<Told> {
        let asked: Vec<_> = (0..self.servers.len())
            .filter(|server| !self.standings[*server].is_gone())
            .map(|server| {
                let name = self.servers[server].name();
                let (backend, worker) = (Arc::clone(self), Arc::clone(worker));
                let (head, limits) = (head.clone(), limits.clone());
                let asking = async move { backend.send_to(server, &head, &limits, &worker).await };
                (name, tokio::spawn(asking))
            })
            .collect();
        let mut told = Vec::with_capacity(asked.len());
        for (server, answer) in asked {
            told.push(Told {
                server,
                result: answer.await.unwrap_or(Err(OriginError::ProxyInternalError)),
            });
        }
        told
    }

    async fn send_to(
        self: &Arc<Self>,
        server: usize,
        head: &OutgoingHead,
        limits: &ExchangeLimits,
        worker: &Worker,
    ) -> Result<StatusCode, OriginError> {
        let ask = Ask {
            head,
            has_content: false,
            key: 0,
            limits,
            worker,
            began: worker.clock.mono(),
            until: self.until(head, worker),
        };
        let mut facts = Facts::default();
        let answer = self.attempt(server, &ask, Body::Empty, Source::New, &mut facts).await;
        let response = answer.map_err(|failure| match failure.error {
            ExchangeError::Origin(error) => error,
            ExchangeError::Client(_) => OriginError::ProxyInternalError,
        })?;
        // Read to its end, so that the connection can be used again; what cannot be read changes nothing.
        drop(response.body.collect(ANSWER_MAX).await);
        Ok(response.status)
    }
}
