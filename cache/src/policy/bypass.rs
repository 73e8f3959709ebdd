//! Which requests go past the cache (`fwd=bypass`, `fwd=method` of RFC 9211).

use common::http::head::RequestFields;
use http::Method;

use super::key::cookie;
use super::rules::BypassRule;

/// Why a request goes past the cache: it is neither answered from it nor is its response stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bypass {
    /// The method cannot be answered from a cache; its response may still invalidate, or (POST) be stored.
    Method,
    /// A configured request field.
    Field,
    /// A configured cookie.
    Cookie,
    /// A configured query parameter.
    Query,
}

impl Bypass {
    /// The word for log, metric and `Cache-Status`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Field => "bypass_field",
            Self::Cookie => "bypass_cookie",
            Self::Query => "bypass_query",
        }
    }
}

/// Whether a request goes past the cache, and why.
pub fn bypass(method: &Method, query: Option<&str>, fields: &RequestFields, rules: &[BypassRule]) -> Option<Bypass> {
    // "the request method associated with the stored response allows it to be used for the presented request"
    // (RFC 9111 §4)
    if method != Method::GET && method != Method::HEAD {
        return Some(Bypass::Method);
    }
    rules.iter().find_map(|rule| match rule {
        BypassRule::Field(name) => fields.contains_key(name).then_some(Bypass::Field),
        BypassRule::FieldValue(name, value) => {
            let matches = |line: &http::HeaderValue| line.as_bytes() == value.as_bytes();
            fields.get_all(name).iter().any(matches).then_some(Bypass::Field)
        }
        BypassRule::Cookie(name) => cookie(fields, name).map(|_| Bypass::Cookie),
        BypassRule::Query(name) => {
            let mut parameters = query?.split('&');
            let named = parameters.any(|parameter| parameter.split('=').next() == Some(name));
            named.then_some(Bypass::Query)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue, header};

    #[test]
    fn requests_go_past_the_cache_by_method_field_cookie_and_query() {
        let rules = [
            BypassRule::Field(HeaderName::from_static("x-debug")),
            BypassRule::FieldValue(HeaderName::from_static("x-mode"), "raw".into()),
            BypassRule::Cookie("session".into()),
            BypassRule::Query("nocache".into()),
        ];
        let none: &[(HeaderName, &'static str)] = &[];
        for (method, query, lines, expected) in [
            (Method::GET, None, none, None),
            (Method::HEAD, None, none, None),
            (Method::POST, None, none, Some(Bypass::Method)),
            (Method::OPTIONS, None, none, Some(Bypass::Method)),
            (
                Method::GET,
                None,
                &[(HeaderName::from_static("x-debug"), "")],
                Some(Bypass::Field),
            ),
            (
                Method::GET,
                None,
                &[(HeaderName::from_static("x-mode"), "raw")],
                Some(Bypass::Field),
            ),
            (
                Method::GET,
                None,
                &[(HeaderName::from_static("x-mode"), "cooked")],
                None,
            ),
            (
                Method::GET,
                None,
                &[(header::COOKIE, "a=b; session=1")],
                Some(Bypass::Cookie),
            ),
            (Method::GET, None, &[(header::COOKIE, "a=session; sessions=1")], None),
            (Method::GET, Some("a&nocache=1"), none, Some(Bypass::Query)),
            (Method::GET, Some("nocache"), none, Some(Bypass::Query)),
            (Method::GET, Some("a=nocache"), none, None),
        ] {
            let mut fields = RequestFields::default();
            for (name, value) in lines {
                fields.insert(name, HeaderValue::from_static(value));
            }
            assert_eq!(
                bypass(&method, query, &fields, &rules),
                expected,
                "{method} {query:?} {lines:?}"
            );
        }
    }
}
