//! What an operator's traffic rules do to one exchange: before the tier is asked, and to the response, whoever made it.
//!
//! Before: maintenance → preflight → credentials → answer (redirect, fixed response) → fields of the request → path.
//! After: error page → challenge → CORS → timing → fields of the response, whose values are filled in before, while the
//! request is there. A route without rules has no [`Traffic`].

mod text; // texts with variables, filled in
mod answer; // redirects and fixed responses
mod fields; // fields of requests and responses
mod rewrite; // paths
mod cors; // cross-origin requests
mod timing; // Server-Timing
pub mod auth; // what credentials a request shows
pub mod verifier; // threads that verify them
pub mod users; // the file that they are verified against
mod password; // its hashes
pub mod pages; // pages for errors

use std::sync::Arc;

use cache::tier::Facts;
use common::http::head::Head;
use common::http::outgoing::RequestId;
use common::http::response::Response;
use common::serve::service::ConnInfo;
use common::telemetry::metrics::Counter;
use common::worker::Worker;
use config::PathPattern;
use config::traffic::FixedAnswer;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use regex::{Captures, Regex};

use super::refusal::Refusal;
use auth::{Lock, Shown};
use fields::{Rendered, RequestRules, ResponseRules};
use pages::{Page, Pages};
use text::Request;
use timing::Timing;
use verifier::{Claim, Verifier};

/// The traffic rules of one route.
pub struct Traffic {
    rules: config::traffic::Traffic,
    request: Option<RequestRules>,
    response: Option<ResponseRules>,
    /// The route's expression, where some text names its groups.
    captures: Option<Regex>,
    pages: Arc<Pages>,
    lock: Option<Lock>,
}

/// What comes of a request before anything but its head is known.
pub enum Greeting<'t> {
    /// It is answered by a rule.
    Answer(Response),
    /// It may come in.
    Open,
    /// It may come in if its claim is right.
    Locked(&'t Lock, Box<Claim>),
}

/// What becomes of a request that nobody has sent.
pub enum Rehearsal {
    /// A rule answers it: with this status, and by this name.
    Answered(StatusCode, &'static str),
    /// It is refused.
    Refused(Refusal),
    /// It goes on, on these conditions.
    Open(Vec<&'static str>),
}

/// What is still to be done when there is a response.
pub struct Passage<'t> {
    traffic: &'t Traffic,
    response: Option<(&'t ResponseRules, Rendered<'t>)>,
    /// The origin whose web page may read the response.
    granted: Option<HeaderValue>,
    /// The response is a rule's own.
    is_answered: bool,
}

/// How a response came to be.
pub struct Made<'a> {
    /// It is tidegate's own error.
    pub is_refusal: bool,
    /// The client would rather read JSON.
    pub json: bool,
    /// The exchange's id.
    pub id: &'a RequestId,
    /// What the tier did.
    pub facts: &'a Facts,
    /// Where it is counted.
    pub worker: &'a Worker,
}

impl Traffic {
    /// The rules of a route with this pattern; `None` where it has none. `pages` and users are those of all routes.
    pub fn new(
        rules: &config::traffic::Traffic,
        pattern: &PathPattern,
        pages: &Arc<Pages>,
        verifier: &Verifier,
    ) -> Option<Box<Self>> {
        if rules.is_empty() {
            return None;
        }
        let captures = match pattern {
            PathPattern::Regex(regex) if rules.names_captures() => Some(regex.clone()),
            _ => None,
        };
        Some(Box::new(Self {
            request: rules.request_fields.clone().map(RequestRules::new),
            response: rules.response_fields.clone().map(ResponseRules::new),
            rules: rules.clone(),
            captures,
            pages: Arc::clone(pages),
            lock: Lock::new(rules.auth.as_deref(), verifier),
        }))
    }

    /// What a request gets before the tier is thought of, and what is left to do with the response.
    pub fn greet(&self, head: &Head, conn: &ConnInfo, id: &RequestId) -> (Result<Greeting<'_>, Refusal>, Passage<'_>) {
        let cors = self.rules.cors.as_deref();
        let mut passage = Passage {
            traffic: self,
            response: self.response.as_ref().map(|rules| {
                let request = Request::new(head, conn, id, self.captures(&head.uri));
                (rules, rules.render(&request))
            }),
            granted: cors.and_then(|cors| cors::granted(cors, head)),
            is_answered: false,
        };
        let answer = self
            .maintenance(conn, id)
            .or_else(|| cors.and_then(|cors| cors::preflight(cors, head, passage.granted.is_some())));
        let greeting = match (answer, &self.lock) {
            (Some(answer), _) => Ok(Greeting::Answer(passage.answer(answer, conn))),
            (None, Some(lock)) => {
                let worker = &conn.worker;
                let shown = lock.look(&head.headers, worker.clock.mono(), &worker.metrics);
                shown.map(|shown| match shown {
                    Shown::Known => Greeting::Open,
                    Shown::Claim(claim) => Greeting::Locked(lock, claim),
                })
            }
            (None, None) => Ok(Greeting::Open),
        };
        (greeting, passage)
    }

    /// What is done with a request that may come in, before the tier is asked; the answer of a rule, where one has it.
    pub fn before(
        &self,
        head: &mut Head,
        conn: &ConnInfo,
        id: &RequestId,
        passage: &mut Passage<'_>,
    ) -> Option<Response> {
        let uri = head.uri.clone();
        let request = Request::new(head, conn, id, self.captures(&uri));
        if let Some(answer) = &self.rules.answer {
            return Some(passage.answer(answer::answer(answer, &request), conn));
        }
        let values = self.request.as_ref().map(|rules| (rules, rules.render(&request)));
        self.change(head, values);
        None
    }

    fn captures<'u>(&self, uri: &'u Uri) -> Option<Captures<'u>> {
        self.captures.as_ref()?.captures(uri.path())
    }

    /// The answer during maintenance, to those who are not served all the same.
    fn maintenance(&self, conn: &ConnInfo, id: &RequestId) -> Option<Response> {
        let rule = self.rules.maintenance.as_deref().filter(|rule| rule.on)?;
        let client = conn.client.map(|client| client.ip());
        if client.is_some_and(|client| rule.allow.iter().any(|network| network.contains(client))) {
            return None;
        }
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let page = rule.page.as_ref().and_then(|page| self.pages.get(page));
        let mut response = match page {
            Some(page) => page.response(status, id),
            None => Response::new(status, "Down for maintenance.\n"),
        };
        let added = &mut response.fields.added;
        added.push_display(&RETRY_AFTER, rule.retry_after.as_secs());
        added.push(&CACHE_CONTROL, &HeaderValue::from_static("no-store"));
        Some(response)
    }

    /// What becomes of a request that nobody has sent, in the order of [`Self::greet`] and [`Self::before`]: its fields and its
    /// path are changed, and what depends on who sends it is told.
    pub fn rehearse(&self, head: &mut Head, tls: bool) -> Rehearsal {
        let mut conditions = Vec::new();
        if let Some(rule) = self.rules.maintenance.as_deref().filter(|rule| rule.on) {
            if rule.allow.is_empty() {
                return Rehearsal::Answered(StatusCode::SERVICE_UNAVAILABLE, "maintenance");
            }
            conditions.push("maintenance is on: 503, but for clients in its allow");
        }
        let cors = self.rules.cors.as_deref();
        if let Some(preflight) = cors.and_then(|cors| cors::preflight(cors, head, cors::granted(cors, head).is_some()))
        {
            return Rehearsal::Answered(preflight.status, "cors_preflight");
        }
        if self.lock.is_some() {
            if !head.headers.contains_key(AUTHORIZATION) {
                return Rehearsal::Refused(Refusal::Unauthorized);
            }
            conditions.push("its name and password have to be right, which is not looked at here: else 401");
        }
        let (uri, id) = (head.uri.clone(), RequestId::Made(0));
        let request = Request::unsent(head, tls, &id, self.captures(&uri));
        let values = self.request.as_ref().map(|rules| (rules, rules.render(&request)));
        match &self.rules.answer {
            Some(FixedAnswer::Redirect(redirect)) => return Rehearsal::Answered(redirect.status, "redirect"),
            Some(FixedAnswer::Respond(respond)) => return Rehearsal::Answered(respond.status, "respond"),
            None => {}
        }
        self.change(head, values);
        Rehearsal::Open(conditions)
    }

    /// The request as the tier is asked for it.
    fn change(&self, head: &mut Head, values: Option<(&RequestRules, Vec<HeaderValue>)>) {
        // Before the rules for fields, which may give the origin an Authorization of its own.
        if let Some(lock) = &self.lock {
            lock.withhold(&mut head.headers);
        }
        if let Some((rules, values)) = values {
            rules.apply(values, &mut head.headers);
        }
        if let Some(rewritten) = self.rewritten(head.uri.path()) {
            rewrite::put(&rewritten, &mut head.uri);
        }
    }

    /// The path that the tier is asked for, where it is another one: what is in the cache key.
    pub fn rewritten(&self, path: &str) -> Option<String> {
        rewrite::rewritten(self.rules.rewrite.as_deref()?, path)
    }
}

impl Passage<'_> {
    /// Notes that a rule answers.
    fn answer(&mut self, answer: Response, conn: &ConnInfo) -> Response {
        conn.worker.metrics.count(Counter::TrafficAnswers);
        self.is_answered = true;
        answer
    }

    /// What is done with the response.
    pub fn after(self, response: &mut Response, made: &Made<'_>) {
        let rules = &self.traffic.rules;
        if let Some(page) = self.page(response.status, made) {
            page.replace(response, made.id);
            made.worker.metrics.count(Counter::TrafficErrorPages);
        }
        if let Some(lock) = &self.traffic.lock
            && made.is_refusal
            && response.status == StatusCode::UNAUTHORIZED
        {
            response.fields.added.push(&WWW_AUTHENTICATE, lock.challenge());
        }
        if let Some(cors) = &rules.cors {
            cors::mark(cors, self.granted.as_ref(), &mut response.fields);
        }
        if rules.server_timing == Some(true) {
            response.fields.added.push_display(&SERVER_TIMING, Timing(made.facts));
        }
        if let Some((rules, rendered)) = self.response {
            rules.apply(&rendered, &mut response.fields);
        }
    }

    /// The page that takes the place of a response.
    fn page(&self, status: StatusCode, made: &Made<'_>) -> Option<&Arc<Page>> {
        let rules = self.traffic.rules.error_pages.as_deref()?;
        let is_replaced = match made.is_refusal {
            true => !made.json,
            false => rules.origin && !self.is_answered,
        };
        self.traffic.pages.get(rules.page(status).filter(|_| is_replaced)?)
    }
}

/// W3C Server Timing.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
