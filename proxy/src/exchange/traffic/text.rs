//! Texts with variables, filled in from one request. Pure.

use std::fmt;
use std::net::IpAddr;

use common::http::head::Head;
use common::http::host;
use common::http::outgoing::RequestId;
use common::serve::service::ConnInfo;
use config::traffic::{Part, Template, Variable};
use regex::Captures;

/// What variables are filled in from.
pub struct Request<'a> {
    head: &'a Head,
    tls: bool,
    client: Option<IpAddr>,
    id: &'a RequestId,
    captures: Option<Captures<'a>>,
}

impl<'a> Request<'a> {
    /// A request as it came, and what its path matched of the route's expression.
    pub fn new(head: &'a Head, conn: &ConnInfo, id: &'a RequestId, captures: Option<Captures<'a>>) -> Self {
        Self {
            head,
            tls: conn.tls,
            client: conn.client.map(|client| client.ip().to_canonical()),
            id,
            captures,
        }
    }

    /// A request that nobody has sent: by whom it would be is not known.
    pub const fn unsent(head: &'a Head, tls: bool, id: &'a RequestId, captures: Option<Captures<'a>>) -> Self {
        Self {
            head,
            tls,
            client: None,
            id,
            captures,
        }
    }

    /// The text for this request.
    pub fn fill<'t>(&'t self, template: &'t Template) -> impl fmt::Display {
        Filled {
            template,
            request: self,
        }
    }

    fn write(&self, variable: Variable, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = &self.head.uri;
        match variable {
            Variable::Scheme => f.write_str(if self.tls { "https" } else { "http" }),
            Variable::Host => match host::effective_host(self.head) {
                Ok(Some(named)) => f.write_str(&named.host),
                // Such requests have been refused before any rule.
                Ok(None) | Err(_) => Ok(()),
            },
            Variable::Path => f.write_str(uri.path()),
            Variable::Query => uri.query().map_or(Ok(()), |query| write!(f, "?{query}")),
            Variable::Uri => f.write_str(uri.path_and_query().map_or("", |target| target.as_str())),
            Variable::Method => f.write_str(self.head.method.as_str()),
            Variable::ClientIp => self.client.map_or(Ok(()), |client| write!(f, "{client}")),
            Variable::RequestId => f.write_str(self.id.text(&mut [0; 16])),
            Variable::Capture(group) => {
                let found = self.captures.as_ref().and_then(|captures| captures.get(group));
                found.map_or(Ok(()), |found| f.write_str(found.as_str()))
            }
        }
    }
}

struct Filled<'a> {
    template: &'a Template,
    request: &'a Request<'a>,
}

impl fmt::Display for Filled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.template.parts() {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Variable(variable) => self.request.write(*variable, f)?,
            }
        }
        Ok(())
    }
}
