//! Conducts one client request, in the order of its modules: intake → route → tier → respond → record.
//!
//! The same for a front's clients and for the fronts that ask a cache server. All branching between the steps is here;
//! steps never call steps.

pub mod traffic; // what the operator's rules do before the tier is asked, and to the response
pub mod door; // what the listener itself does: redirect to https, HSTS
pub mod intake; // is this a request we may serve, and for which host
pub mod refusal; // why a request is answered by us, in one word
pub mod purge; // the method PURGE
pub mod respond; // the response as the client gets it
pub mod record; // the one record of the exchange

use std::sync::Arc;

use cache::purge::Strength;
use cache::tier::{Call, Tier, TierRequest};
use common::http::forwarded::ForwardedSettings;
use common::http::outgoing::{Hop, RequestId};
use common::http::request::{Notable, Request};
use common::http::response::Response;
use common::http::upgrade;
use common::http::via::NodeId;
use common::http1::parse::ParseError;
use common::serve::service::{ConnInfo, Reply, Service};

use crate::routes::Routes;
use door::Door;
use purge::PurgeMethod;
use record::ExchangeRecord;
use refusal::Refusal;
use traffic::{Ahead, Passage};

/// What answers the requests of a front, or of a cache server. A clone is some reference counts.
#[derive(Clone)]
pub struct Exchange {
    /// Sites and routes.
    pub routes: Arc<Routes>,
    /// The cache tier: in this process, or remote.
    pub tier: Arc<Tier>,
    /// This node in `CDN-Loop`.
    pub node: Arc<NodeId>,
    /// What is told about clients, and whom to believe.
    pub forwarded: Arc<ForwardedSettings>,
    /// Whether anybody reads the access log.
    pub logs: bool,
    /// Who may send PURGE.
    pub purge: PurgeMethod,
    /// The rules of the listener.
    pub door: Door,
}

impl Service for Exchange {
    type Record = Box<ExchangeRecord>;

    async fn call(&self, request: Request, conn: &Arc<ConnInfo>) -> Reply<Box<ExchangeRecord>> {
        let head = &request.head;
        let is_trusted = self.forwarded.trusts(conn.client.map(|client| client.ip()));
        let id = RequestId::choose(is_trusted, &head.headers, conn.worker.next_id());
        let mut record = ExchangeRecord::begin(&request, conn, id, self.logs);
        let json = request.notable.any(Notable::ACCEPT) && refusal::wants_json(&head.headers);
        let mut passage = None;
        let (mut response, close) = match self.conduct(request, conn, &mut record, &mut passage).await {
            Ok(mut response) => {
                respond::complete(&mut response, &conn.worker);
                (response, None)
            }
            Err(refusal) => (respond::refused(&refusal, &mut record, json), refusal.close()),
        };
        self.door.mark(&mut response);
        if let Some(passage) = passage {
            passage.after(&mut response);
        }
        record.answered(&response);
        Reply {
            response,
            record,
            close,
        }
    }

    fn refuse(&self, error: &ParseError, conn: &Arc<ConnInfo>) -> Reply<Box<ExchangeRecord>> {
        let id = RequestId::Made(conn.worker.next_id());
        let mut record = ExchangeRecord::unparsed(conn, id);
        let response = respond::refused(&Refusal::Parse(*error), &mut record, false);
        record.answered(&response);
        Reply {
            response,
            record,
            close: None,
        }
    }
}

impl Exchange {
    async fn conduct<'a>(
        &'a self,
        request: Request,
        conn: &Arc<ConnInfo>,
        record: &mut ExchangeRecord,
        passage: &mut Option<Passage<'a>>,
    ) -> Result<Response, Refusal> {
        let Request {
            mut head,
            body,
            mut notable,
            ..
        } = request;
        intake::normalize(&mut head, conn)?;
        if let Some(response) = self.door.answer(&head)? {
            return Ok(response);
        }
        let target = intake::check(&head, notable, &self.node)?;
        let (site, route) = self.routes.find(&target.host, head.uri.path())?;
        record.routed(site);
        if let Some(traffic) = &route.traffic {
            let (ahead, rest) = traffic.before(&mut head, conn, &record.id);
            *passage = Some(rest);
            // What the client's connection can become is not for fields to say.
            notable = notable | Notable::of(&head.headers).without(Notable::UPGRADE);
            if let Ahead::Answer(response) = ahead {
                return Ok(response);
            }
        }
        let route = route.tier.as_ref().ok_or(Refusal::NoRoute)?;
        let upgrade = upgrade::choose(&mut head, notable, &route.upgrades);
        let hop = Hop {
            node: &self.node,
            forwarded: &self.forwarded,
            peer: conn.client.map(|client| client.ip()),
            tls: conn.tls,
            request_id: record.id.clone(),
            upgrade,
        };
        let purge = self.purge.asked(&head, hop.peer)?;
        let request = TierRequest {
            head,
            body,
            notable,
            route,
            hop,
            worker: &conn.worker,
        };
        if let Some(strength) = purge {
            return Ok(Box::pin(self.purge(request, strength)).await);
        }
        let answer = match self.tier.call(request) {
            Call::Ready(answer) => answer,
            Call::Pending(coming) => coming.await,
        };
        record.facts = answer.facts;
        answer.result.map_err(Refusal::from)
    }

    async fn purge(&self, request: TierRequest<'_>, strength: Strength) -> Response {
        let url = request.target().to_string();
        let done = self.tier.purge_request(request, strength).await;
        tracing::info!(by = "method", value = %url, ?done, strength = strength.word(), "purged");
        purge::answer(&url, strength, &done)
    }
}
