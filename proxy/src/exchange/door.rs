//! What one listener does to every exchange on it: a redirect to https before anything else, HSTS after it. Pure.

mod trailers; // those that would say what only a handshake says

use std::time::Duration;

use common::http::body::Body;
use common::http::head::Head;
use common::http::response::Response;
use common::http::{hop_by_hop, host};
use common::serve::service::ConnInfo;
use http::header::{HeaderName, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, StatusCode};

use super::refusal::Refusal;
use trailers::Unforged;

/// The rules of one listener.
#[derive(Clone, Debug, Default)]
pub struct Door {
    redirect_https: bool,
    hsts: Option<HeaderValue>,
    /// The field that says whom the client's certificate is for.
    certificate: Option<HeaderName>,
}

impl Door {
    /// Redirects everything to https, or sends `Strict-Transport-Security` with this `max-age`.
    pub fn new(redirect_https: bool, hsts: Option<Duration>) -> Self {
        let value = |age: Duration| {
            let value = HeaderValue::try_from(format!("max-age={}", age.as_secs()));
            value.expect("invariant: letters and digits")
        };
        Self {
            redirect_https,
            hsts: hsts.map(value),
            certificate: None,
        }
    }

    /// Tells origins in this field whom the client's certificate is for.
    #[must_use]
    pub fn telling_certificates(self, field: Option<HeaderName>) -> Self {
        Self {
            certificate: field,
            ..self
        }
    }

    /// Says whom the client's certificate is for, and lets nobody else say it, neither in the head nor in trailers.
    pub fn announce(&self, head: &mut Head, body: &mut Body, conn: &ConnInfo) {
        let Some(name) = &self.certificate else { return };
        remove_alike(&mut head.headers, name);
        if let Body::Stream(_) = body {
            *body = Body::stream(Unforged::new(std::mem::take(body), name.clone()));
        }
        // `Connection: NAME` would strip it.
        hop_by_hop::withdraw_options(&mut head.headers, std::iter::once(name));
        let told = conn.certificate.as_deref().cloned();
        let told = told.unwrap_or_else(|| HeaderValue::from_static("none"));
        head.headers.insert(name, told);
    }

    /// The answer that the listener gives without asking anybody.
    ///
    /// # Errors
    /// The request does not say which host it is for.
    pub fn answer(&self, head: &Head) -> Result<Option<Response>, Refusal> {
        if !self.redirect_https {
            return Ok(None);
        }
        let named = host::effective_host(head)?.ok_or(Refusal::Host(host::HostError::Missing))?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        let location = HeaderValue::try_from(format!("https://{}{target}", named.host));
        let location = location.map_err(|_| Refusal::Host(host::HostError::Malformed))?;
        // 308: "the user agent MUST NOT change the request method" (RFC 9110 §15.4.9).
        let response = Response::new(StatusCode::PERMANENT_REDIRECT, "");
        Ok(Some(response.with(LOCATION, location)))
    }

    /// What the listener adds to every response.
    pub fn mark(&self, response: &mut Response) {
        // "an HSTS Host MUST NOT include more than one" STS field (RFC 6797 §7.1): the origin's own stands.
        if let Some(hsts) = &self.hsts
            && !response.fields.contains(&STRICT_TRANSPORT_SECURITY)
        {
            response.fields.added.push(&STRICT_TRANSPORT_SECURITY, hsts);
        }
    }
}

/// Removes the fields with this name, and with those that environments of CGI's kind cannot tell from it: `_` for `-`.
fn remove_alike(fields: &mut HeaderMap, name: &HeaderName) {
    let is_alike = |other: &&HeaderName| {
        let mut pairs = other.as_str().bytes().zip(name.as_str().bytes());
        let same = |(a, b): (u8, u8)| a == b || matches!((a, b), (b'_', b'-') | (b'-', b'_'));
        other.as_str().len() == name.as_str().len() && pairs.all(same)
    };
    let alike: Vec<_> = fields.keys().filter(is_alike).cloned().collect();
    for alike in &alike {
        fields.remove(alike);
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;

    use super::*;
    use crate::exchange::testing::conn;

    fn ask(target: &str, host: &str) -> Head {
        let request = http::Request::builder().uri(target).header("host", host).body(());
        request.unwrap().into_parts().0.into()
    }

    #[test]
    fn a_redirect_keeps_host_path_and_query_and_loses_the_port() {
        let door = Door::new(true, None);
        for (target, host, expected) in [
            ("/a?b=c", "www.example.com", "https://www.example.com/a?b=c"),
            ("/", "WWW.example.com:8080", "https://www.example.com/"),
            ("/", "[::1]:80", "https://[::1]/"),
        ] {
            let mut response = door.answer(&ask(target, host)).unwrap().unwrap();
            assert_eq!(
                (response.status.as_u16(), &response.fields.map_mut()[LOCATION]),
                (308, &HeaderValue::try_from(expected).unwrap())
            );
            assert!(!response.fields.contains(&CONTENT_LENGTH), "framing is the transport's");
        }
        assert!(door.answer(&ask("/", "a b")).is_err());
        assert!(Door::default().answer(&ask("/", "a")).unwrap().is_none());
    }

    #[test]
    fn only_the_handshake_says_whom_a_certificate_is_for() {
        let name = HeaderName::from_static("x-client-cert");
        let door = Door::default().telling_certificates(Some(name.clone()));
        let mut conn = conn();
        for told in ["none", "verified;subject=\"CN=bob\""] {
            let mut head = ask("/", "a");
            for forged in ["x-client-cert", "x_client_cert", "X-Client_Cert"] {
                let forged = HeaderName::try_from(forged).unwrap();
                head.headers.append(forged, HeaderValue::from_static("verified"));
            }
            let options = HeaderValue::from_static("x-client-cert, close");
            head.headers.insert(http::header::CONNECTION, options);
            door.announce(&mut head, &mut Body::Empty, &conn);
            assert_eq!(head.headers.get_all(&name).iter().collect::<Vec<_>>(), [told]);
            assert_eq!(
                (head.headers.len(), &head.headers["connection"]),
                (3, &HeaderValue::from_static("close"))
            );
            conn.certificate = Some(Box::new(HeaderValue::from_static("verified;subject=\"CN=bob\"")));
        }
        let mut head = ask("/", "a");
        Door::default().announce(&mut head, &mut Body::Empty, &conn);
        assert_eq!(head.headers.len(), 1, "nothing is told where nothing is configured");
    }

    #[test]
    fn hsts_is_added_once() {
        let door = Door::new(false, Some(Duration::from_secs(86_400)));
        let mut response = Response::new(StatusCode::OK, "");
        door.mark(&mut response);
        assert_eq!(response.fields.into_map()[STRICT_TRANSPORT_SECURITY], "max-age=86400");
        let own = HeaderValue::from_static("max-age=1");
        let mut response = Response::new(StatusCode::OK, "").with(STRICT_TRANSPORT_SECURITY, own.clone());
        door.mark(&mut response);
        let fields = response.fields.into_map();
        assert_eq!(
            fields.get_all(STRICT_TRANSPORT_SECURITY).iter().collect::<Vec<_>>(),
            [&own]
        );
    }
}
