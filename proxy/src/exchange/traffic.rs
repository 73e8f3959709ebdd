//! What an operator's traffic rules do to one exchange: before the tier is asked, and to the response, whoever made it.
//!
//! Before: answer (redirect, fixed response) → fields of the request → path. After: fields of the response. Values of
//! response fields are filled in before, while the request is there. A route without rules has no [`Traffic`].

mod text; // texts with variables, filled in
mod answer; // redirects and fixed responses
mod fields; // fields of requests and responses
mod rewrite; // paths
#[cfg(test)]
mod testing; // what tests share

use common::http::outgoing::RequestId;
use common::http::response::Response;
use common::serve::service::ConnInfo;
use config::PathPattern;
use config::traffic::FixedAnswer;
use http::request::Parts;
use http::{StatusCode, Uri};
use regex::Regex;

use fields::{Rendered, RequestRules, ResponseRules};
use text::Request;

/// The traffic rules of one route.
pub struct Traffic {
    rules: config::traffic::Traffic,
    request: Option<RequestRules>,
    response: Option<ResponseRules>,
    /// The route's expression, where some text names its groups.
    captures: Option<Regex>,
}

/// What comes of a request.
pub enum Ahead {
    /// It is answered by a rule.
    Answer(Response),
    /// It goes on.
    On,
}

/// What is still to be done when there is a response.
pub struct Passage<'t> {
    response: Option<(&'t ResponseRules, Rendered<'t>)>,
}

impl Traffic {
    /// The rules of a route with this pattern; `None` where it has none.
    pub fn new(rules: &config::traffic::Traffic, pattern: &PathPattern) -> Option<Box<Self>> {
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
        }))
    }

    /// What is done with a request before the tier is asked, and what is left to do with the response.
    pub fn before(&self, head: &mut Parts, conn: &ConnInfo, id: &RequestId) -> (Ahead, Passage<'_>) {
        let uri = head.uri.clone();
        let path = uri.path();
        let captures = self.captures.as_ref().and_then(|regex| regex.captures(path));
        let request = Request::new(head, conn, id, captures);
        let passage = Passage {
            response: self.response.as_ref().map(|rules| (rules, rules.render(&request))),
        };
        if let Some(answer) = &self.rules.answer {
            return (Ahead::Answer(answer::answer(answer, &request)), passage);
        }
        let values = self.request.as_ref().map(|rules| (rules, rules.render(&request)));
        if let Some((rules, values)) = values {
            rules.apply(values, &mut head.headers);
        }
        self.rewrite(&mut head.uri);
        (Ahead::On, passage)
    }

    /// The status of the rule that answers everything, where there is one.
    pub fn answers(&self) -> Option<StatusCode> {
        self.rules.answer.as_ref().map(|answer| match answer {
            FixedAnswer::Redirect(redirect) => redirect.status,
            FixedAnswer::Respond(respond) => respond.status,
        })
    }

    /// Rewrites the path, where the rules say so.
    pub fn rewrite(&self, uri: &mut Uri) {
        if let Some(rewritten) = self.rewritten(uri.path()) {
            rewrite::put(&rewritten, uri);
        }
    }

    /// The path that the tier is asked for, where it is another one: what is in the cache key.
    pub fn rewritten(&self, path: &str) -> Option<String> {
        rewrite::rewritten(self.rules.rewrite.as_deref()?, path)
    }
}

impl Passage<'_> {
    /// What is done with the response.
    pub fn after(self, response: &mut Response) {
        if let Some((rules, rendered)) = self.response {
            rules.apply(&rendered, &mut response.fields);
        }
    }
}
