//! What clients get in the place of, or beside, what the origin says: authentication, maintenance, error pages, CORS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::http::forwarded::IpNetwork;
use http::{HeaderName, Method, StatusCode};

/// Clients say who they are (RFC 7617).
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Whether they must.
    pub on: bool,
    /// Users and their hashed passwords.
    pub file: Option<PathBuf>,
    /// What browsers call it when they ask.
    pub realm: String,
    /// Whether the origin gets the credentials.
    pub pass_on: bool,
}

/// Every request is answered with 503.
#[derive(Clone, Debug, PartialEq)]
pub struct Maintenance {
    /// Whether it is so now.
    pub on: bool,
    /// When clients may come again.
    pub retry_after: Duration,
    /// The page that they get.
    pub page: Option<PathBuf>,
    /// Clients that are served all the same.
    pub allow: Vec<IpNetwork>,
}

/// Pages for responses that tell of an error.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorPages {
    /// The pages, by status or class; a status goes before its class.
    pub pages: Vec<(Statuses, PathBuf)>,
    /// Whether they take the place of what the origin says, too.
    pub origin: bool,
}

/// One status, or all of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// This one.
    One(StatusCode),
    /// 4 or 5: `4xx`, `5xx`.
    Class(u16),
}

/// Which web pages of other origins may read responses (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq)]
pub struct Cors {
    /// Their origins, such as `https://www.example.com`; `*` alone is every one.
    pub origins: Vec<String>,
    /// Methods beyond GET, HEAD and POST.
    pub methods: Vec<Method>,
    /// Request fields beyond the safelisted ones.
    pub fields: Vec<HeaderName>,
    /// Response fields that they may read beyond the safelisted ones.
    pub expose: Vec<HeaderName>,
    /// For how long a browser remembers that.
    pub max_age: Duration,
    /// Whether requests may carry cookies and Authorization.
    pub credentials: bool,
}

impl ErrorPages {
    /// The page for a status.
    pub fn page(&self, status: StatusCode) -> Option<&Path> {
        let named = |wanted: Statuses| self.pages.iter().find(move |(statuses, _)| *statuses == wanted);
        let found = named(Statuses::One(status)).or_else(|| named(Statuses::Class(status.as_u16() / 100)));
        found.map(|(_, page)| page.as_path())
    }
}

impl Cors {
    /// Whether pages of this origin may read responses.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.is_for_all() || self.origins.iter().any(|known| known.as_bytes() == origin)
    }

    /// Whether those of every origin may.
    pub fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }
}
