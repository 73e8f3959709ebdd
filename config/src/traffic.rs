//! What an operator decides about traffic, per route: plain settings, which `proxy::exchange::traffic` reads as they are.
//!
//! Everything here is absent by default; a route without any of it costs a request nothing.

mod answers; // maintenance, error pages, CORS
mod compression; // which responses are compressed, and how
mod template; // texts with variables

use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use regex::Regex;

pub use answers::{Auth, Cors, ErrorPages, Maintenance, Statuses};
pub use compression::{Coding, Compression};
pub use template::{Part, Template, Variable};

/// The traffic rules of one route, or those that a site gives its routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// The request is answered without the tier.
    pub answer: Option<FixedAnswer>,
    /// What is changed in the fields of requests.
    pub request_fields: Option<Arc<FieldRules>>,
    /// What is changed in the fields of responses.
    pub response_fields: Option<Arc<FieldRules>>,
    /// How the path is rewritten before the cache key is made.
    pub rewrite: Option<Arc<Rewrite>>,
    /// Which responses are compressed, and how: the cache tier's, who does it before it stores.
    pub compression: Option<Arc<Compression>>,
    /// Whether everything is answered with 503.
    pub maintenance: Option<Arc<Maintenance>>,
    /// Pages for errors.
    pub error_pages: Option<Arc<ErrorPages>>,
    /// Which web pages of other origins may read responses.
    pub cors: Option<Arc<Cors>>,
    /// Whether clients must say who they are.
    pub auth: Option<Arc<Auth>>,
    /// Whether clients are told what took how long.
    pub server_timing: Option<bool>,
}

/// An answer that is the same for everybody.
#[derive(Clone, Debug, PartialEq)]
pub enum FixedAnswer {
    /// To another place.
    Redirect(Arc<Redirect>),
    /// This text.
    Respond(Arc<Respond>),
}

/// To another place.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq)]
pub struct Respond {
    /// Its status.
    pub status: StatusCode,
    /// Its content.
    pub body: String,
    /// Its `Content-Type`.
    pub content_type: String,
}

/// What is changed in a header section: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldRules {
    /// Fields that are taken away.
    pub remove: Vec<HeaderName>,
    /// Fields that get this value, and no other.
    pub set: Vec<(HeaderName, Template)>,
    /// Lines that are added to what is there.
    pub add: Vec<(HeaderName, Template)>,
}

/// How a path is rewritten.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// The part of the path that is replaced; other paths stay as they are.
    pub from: RewriteFrom,
    /// What comes in its place.
    pub to: Template,
}

/// The part of a path that is replaced.
#[derive(Clone, Debug)]
pub enum RewriteFrom {
    /// Its beginning, by whole segments.
    Prefix(String),
    /// The first thing that this expression finds.
    Regex(Regex),
}

impl PartialEq for RewriteFrom {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prefix(one), Self::Prefix(other)) => one == other,
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            (Self::Prefix(_), Self::Regex(_)) | (Self::Regex(_), Self::Prefix(_)) => false,
        }
    }
}

impl Traffic {
    /// Whether a front has nothing to do about it.
    pub fn is_empty(&self) -> bool {
        let others = Self {
            compression: None,
            ..self.clone()
        };
        others == Self::default()
    }

    /// The file of users that clients must be among.
    pub fn users(&self) -> Option<&Path> {
        let auth = self.auth.as_deref().filter(|auth| auth.on)?;
        auth.file.as_deref()
    }

    /// The pages that are read at the start.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let maintenance = self
            .maintenance
            .iter()
            .filter_map(|maintenance| maintenance.page.as_deref());
        let errors = self.error_pages.iter().flat_map(|errors| &errors.pages);
        maintenance.chain(errors.map(|(_, page)| page.as_path()))
    }

    /// Whether some text names a group of the route's expression.
    pub fn names_captures(&self) -> bool {
        self.templates().any(|(_, template)| template.capture_max().is_some())
    }

    /// All texts with variables that are filled in from the request and its route, each with its key.
    pub(crate) fn templates(&self) -> impl Iterator<Item = (String, &Template)> {
        let redirect = match &self.answer {
            Some(FixedAnswer::Redirect(redirect)) => Some(("redirect.to".to_owned(), &redirect.to)),
            Some(FixedAnswer::Respond(_)) | None => None,
        };
        let fields = [
            ("request_fields", self.request_fields.as_deref()),
            ("response_fields", self.response_fields.as_deref()),
        ];
        let of_fields = fields.into_iter().filter_map(|(key, rules)| Some((key, rules?)));
        redirect.into_iter().chain(of_fields.flat_map(|(key, rules)| {
            let lists = [("set", &rules.set), ("add", &rules.add)];
            lists.into_iter().flat_map(move |(list, fields)| {
                let fields = fields.iter();
                fields.map(move |(name, template)| (format!("{key}.{list}.{name}"), template))
            })
        }))
    }
}

impl FieldRules {
    /// The fields that get a value.
    pub fn written(&self) -> impl Iterator<Item = &(HeaderName, Template)> {
        self.set.iter().chain(&self.add)
    }
}
