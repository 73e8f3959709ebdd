//! Conducts one client request, in the order of its modules: intake → route → guard → tier → respond → record.
//!
//! The same for a front's clients and for the fronts that ask a cache server. All branching between the steps is here;
//! steps never call steps.

pub mod traffic; // what the operator's rules do before the tier is asked, and to the response
pub mod door; // what the listener itself does: redirect to https, HSTS
pub mod guard; // who may ask, how often and how much
pub mod intake; // is this a request we may serve, and for which host
pub mod refusal; // why a request is answered by us, in one word
pub mod purge; // the method PURGE
pub mod respond; // the response as the client gets it
pub mod record; // the one record of the exchange
#[cfg(test)]
mod testing; // what tests of the steps share

use std::sync::Arc;

use cache::purge::Strength;
use cache::tier::{Answer, Tier, TierRequest};
use common::http::body::Body;
use common::http::forwarded::ForwardedSettings;
use common::http::head::Head;
use common::http::hop_by_hop::Upgrade;
use common::http::interim::Desk;
use common::http::origin_error::OriginError;
use common::http::outgoing::{Hop, RequestId};
use common::http::request::{Notable, Request};
use common::http::upgrade;
use common::http::via::NodeId;
use common::http1::parse::ParseError;
use common::serve::service::{ConnInfo, Reply, Service};
use common::soon::Soon;
use common::time::mono_now;
use http::Version;

use crate::routes::{Route, Routes};
use door::Door;
use purge::PurgeMethod;
use record::ExchangeRecord;
use refusal::Refusal;
use traffic::auth::Lock;
use traffic::verifier::Claim;
use traffic::{Greeting, Made, Passage, Traffic};

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

    fn call<'a>(
        &'a self,
        request: Request,
        conn: &'a Arc<ConnInfo>,
        desk: &'a Desk,
    ) -> Soon<'a, Reply<Box<ExchangeRecord>>> {
        let mut under_way = UnderWay::begin(self, &request, conn);
        match under_way.conduct(request, desk) {
            Ok(Step::Answer(answer)) => {
                under_way.record.is_at_once = matches!(answer, Soon::Ready(_));
                answer.map(|answer| under_way.reply(Ok(answer)))
            }
            Ok(Step::Verify(held)) => Soon::coming(under_way.admit(held, desk)),
            Err(refusal) => Soon::Ready(under_way.reply(Err(refusal))),
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

/// One request, from its head to its reply.
struct UnderWay<'a> {
    exchange: &'a Exchange,
    conn: &'a Arc<ConnInfo>,
    record: Box<ExchangeRecord>,
    /// What the route's rules have still to do.
    passage: Option<Passage<'a>>,
    /// A refusal is told in JSON.
    json: bool,
    /// It is an extended CONNECT: it gets a tunnel, or no success.
    connects: bool,
}

/// What comes of a request at once.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made; a box would cost each hit an allocation"
)]
enum Step<'a> {
    /// An answer, or one that is coming.
    Answer(Soon<'a, Answer>),
    /// A password has to be verified first.
    Verify(Box<Held<'a>>),
}

/// A request that has its route.
struct Routed<'a> {
    head: Box<Head>,
    body: Body,
    notable: Notable,
    route: &'a Route,
}

/// A request that waits until it is known who sent it.
struct Held<'a> {
    lock: &'a Lock,
    claim: Box<Claim>,
    traffic: &'a Traffic,
    routed: Routed<'a>,
}

impl<'a> UnderWay<'a> {
    fn begin(exchange: &'a Exchange, request: &Request, conn: &'a Arc<ConnInfo>) -> Self {
        let fields = &request.head.headers;
        let is_trusted = exchange.forwarded.trusts(conn.client.map(|client| client.ip()));
        let id = RequestId::choose(is_trusted, fields, conn.worker.next_id());
        Self {
            exchange,
            conn,
            record: ExchangeRecord::begin(request, conn, id, exchange.logs),
            passage: None,
            json: request.notable.any(Notable::ACCEPT) && refusal::wants_json(fields),
            connects: request.notable.any(Notable::CONNECT),
        }
    }

    fn conduct(&mut self, request: Request, desk: &'a Desk) -> Result<Step<'a>, Refusal> {
        let Request {
            mut head,
            mut body,
            notable,
            began,
            ..
        } = request;
        let (exchange, conn) = (self.exchange, self.conn);
        intake::normalize(&mut head, conn)?;
        if let Some(response) = exchange.door.answer(&head)? {
            return Ok(Step::Answer(Soon::Ready(response.into())));
        }
        exchange.door.announce(&mut head, &mut body, conn);
        let target = intake::check(&head, notable, &exchange.node)?;
        let (site, route) = exchange.routes.find(&target.host, head.uri.path())?;
        self.record.routed(site);
        if let Some(guard) = &route.guard {
            body = guard.pass(&head, body, conn, &exchange.forwarded, began)?;
        }
        let routed = Routed {
            head,
            body,
            notable,
            route,
        };
        let Some(traffic) = &route.traffic else {
            return self.proceed(routed, desk).map(Step::Answer);
        };
        let (greeting, rest) = traffic.greet(&routed.head, conn, &self.record.id);
        self.passage = Some(rest);
        match greeting? {
            Greeting::Answer(response) => Ok(Step::Answer(Soon::Ready(response.into()))),
            Greeting::Open => self.enter(routed, traffic, desk).map(Step::Answer),
            Greeting::Locked(lock, claim) => Ok(Step::Verify(Box::new(Held {
                lock,
                claim,
                traffic,
                routed,
            }))),
        }
    }

    /// Goes on with a request when its claim has been verified.
    async fn admit(mut self, held: Box<Held<'a>>, desk: &'a Desk) -> Reply<Box<ExchangeRecord>> {
        let Held {
            lock,
            claim,
            traffic,
            routed,
        } = *held;
        let opened = lock.open(*claim, &self.conn.worker.metrics).await;
        self.record.received = mono_now();
        match opened.and_then(|()| self.enter(routed, traffic, desk)) {
            Ok(Soon::Ready(answer)) => self.reply(Ok(answer)),
            Ok(Soon::Coming(coming)) => {
                let answer = coming.await;
                self.reply(Ok(answer))
            }
            Err(refusal) => self.reply(Err(refusal)),
        }
    }

    /// Applies the rules to a request that may come in.
    fn enter(
        &mut self,
        mut routed: Routed<'a>,
        traffic: &'a Traffic,
        desk: &'a Desk,
    ) -> Result<Soon<'a, Answer>, Refusal> {
        if let Some(passage) = &mut self.passage
            && let Some(response) = traffic.before(&mut routed.head, self.conn, &self.record.id, passage)
        {
            return Ok(Soon::Ready(response.into()));
        }
        // What the client's connection can become is not for fields to say.
        let told = Notable::of(&routed.head.headers).without(Notable::UPGRADE);
        routed.notable = routed.notable | told;
        self.proceed(routed, desk)
    }

    /// Asks the tier.
    fn proceed(&mut self, routed: Routed<'a>, desk: &'a Desk) -> Result<Soon<'a, Answer>, Refusal> {
        let Routed {
            mut head,
            body,
            notable,
            route,
        } = routed;
        let (exchange, conn) = (self.exchange, self.conn);
        let route = route.tier.as_ref().ok_or(Refusal::NoRoute)?;
        let upgrade = upgrade::choose(&mut head, notable, &route.upgrades);
        if self.connects && upgrade == Upgrade::Remove {
            return Err(Refusal::NoTunnel);
        }
        let hop = Hop {
            node: &exchange.node,
            forwarded: &exchange.forwarded,
            peer: conn.client.as_ref(),
            reached: conn.local.as_ref(),
            tls: conn.tls,
            request_id: self.record.id.clone(),
            upgrade,
            // "a server MUST NOT send a 1xx response to an HTTP/1.0 client" (RFC 9110 §15.2)
            desk: (head.version != Version::HTTP_10).then_some(desk),
        };
        let purge = exchange.purge.asked(&head, hop.peer())?;
        let request = TierRequest {
            head,
            body,
            notable,
            route,
            hop,
            now: self.record.received,
            worker: &conn.worker,
        };
        Ok(match purge {
            Some(strength) => Soon::coming(exchange.purge(request, strength)),
            None => exchange.tier.call(request),
        })
    }

    /// Why there is an answer where there should be a tunnel: the origin's doing, or that of a rule.
    const fn not_switched(&self) -> Refusal {
        match self.record.facts.backend {
            Some(_) => Refusal::Origin(OriginError::HttpUpgradeFailed),
            None => Refusal::NoTunnel,
        }
    }

    fn reply(mut self, answer: Result<Answer, Refusal>) -> Reply<Box<ExchangeRecord>> {
        let result = answer.and_then(|answer| {
            self.record.facts = answer.facts;
            answer.result.map_err(Refusal::from)
        });
        // To a client that wants a tunnel, any 2xx would say that it is there (RFC 8441 §5).
        let result = match result {
            Ok(response) if self.connects && response.status.is_success() => Err(self.not_switched()),
            other => other,
        };
        let is_refusal = result.is_err();
        let (mut response, close) = match result {
            Ok(mut response) => {
                respond::complete(&mut response, &self.conn.worker);
                (response, None)
            }
            Err(refusal) => (respond::refused(&refusal, &mut self.record, self.json), refusal.close()),
        };
        self.exchange.door.mark(&mut response);
        if let Some(passage) = self.passage {
            let made = Made {
                is_refusal,
                json: self.json,
                id: &self.record.id,
                facts: &self.record.facts,
                worker: &self.conn.worker,
            };
            passage.after(&mut response, &made);
        }
        self.record.answered(&response);
        Reply {
            response,
            record: self.record,
            close,
        }
    }
}

impl Exchange {
    async fn purge(&self, request: TierRequest<'_>, strength: Strength) -> Answer {
        let url = request.target().to_string();
        let done = self.tier.purge_request(request, strength).await;
        tracing::info!(by = "method", value = %url, ?done, strength = strength.word(), "purged");
        purge::answer(&url, strength, &done).into()
    }
}
