//! Redirects and fixed responses. Pure.

use std::fmt::Write as _;

use common::http::response::Response;
use config::traffic::{FixedAnswer, Part, Redirect};
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};

use super::text::Request;

/// The answer of a rule to a request.
pub fn answer(answer: &FixedAnswer, request: &Request<'_>) -> Response {
    match answer {
        FixedAnswer::Redirect(redirect) => {
            let response = Response::new(redirect.status, "");
            match HeaderValue::try_from(location(redirect, request)) {
                Ok(location) => response.with(LOCATION, location),
                Err(_) => response,
            }
        }
        FixedAnswer::Respond(respond) => {
            let response = Response::new(respond.status, respond.body.clone());
            match HeaderValue::try_from(&respond.content_type) {
                Ok(content_type) if !respond.body.is_empty() => response.with(CONTENT_TYPE, content_type),
                _ => response,
            }
        }
    }
}

/// The `Location`: what a URI cannot have is percent-encoded, and what begins as a path on this host stays one.
fn location(redirect: &Redirect, request: &Request<'_>) -> String {
    let filled = request.fill(&redirect.to).to_string();
    let mut location = String::with_capacity(filled.len());
    let mut rest = filled.as_str();
    let is_elsewhere = match redirect.to.parts().first() {
        Some(Part::Text(text)) => text.starts_with("//") || !text.starts_with('/'),
        Some(Part::Variable(variable)) => *variable == config::traffic::Variable::Scheme,
        None => false,
    };
    if !is_elsewhere {
        // "//host" and, to browsers, "/\host" are other hosts: a client's path must not choose where a redirect leads.
        rest = rest.trim_start_matches(['/', '\\']);
        location.push('/');
    }
    for byte in rest.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            location.push(char::from(byte));
        } else {
            let written = write!(location, "%{byte:02X}");
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
    }
    location
}

#[cfg(test)]
mod tests {
    use common::http::outgoing::RequestId;
    use http::StatusCode;
    use regex::Regex;

    use super::*;
    use crate::exchange::testing::{conn, head, template};

    fn located(to: &str, target: &str, regex: &str) -> String {
        let (conn, id) = (conn(), RequestId::Made(0x1f));
        let head = head(target);
        let regex = Regex::new(regex).unwrap();
        let path = head.uri.path().to_owned();
        let request = Request::new(&head, &conn, &id, regex.captures(&path));
        let (to, status) = (template(to), StatusCode::FOUND);
        location(&Redirect { to, status }, &request)
    }

    #[test]
    fn variables_are_filled_in() {
        for (to, target, expected) in [
            ("https://$host$uri", "/a?b=c", "https://www.example.com/a?b=c"),
            ("https://$host/new$query", "/a?b=c", "https://www.example.com/new?b=c"),
            ("https://$host/new$query", "/a", "https://www.example.com/new"),
            ("$scheme://other.example$path", "/a?b", "http://other.example/a"),
            (
                "/by/$method/${request_id}/$client_ip",
                "/",
                "/by/GET/000000000000001f/192.0.2.1",
            ),
            ("/$2/$1$$", "/one/two", "/two/one$"),
        ] {
            assert_eq!(located(to, target, "^/([^/]*)/?(.*)"), expected, "{to} for {target}");
        }
    }

    #[test]
    fn a_client_does_not_choose_the_host_that_a_redirect_leads_to() {
        for (to, target, expected) in [
            ("$path", "//evil.example/a", "/evil.example/a"),
            ("$uri", "///evil.example", "/evil.example"),
            ("/$1", "//evil.example", "/evil.example"),
            ("$1", "/evil.example", "/evil.example"),
            ("/$path", "/evil.example", "/evil.example"),
            ("https://a.example$path", "//b", "https://a.example//b"),
            ("//other.example$path", "/b", "//other.example/b"),
        ] {
            assert_eq!(located(to, target, "^/(.*)"), expected, "{to} for {target}");
        }
    }
}
