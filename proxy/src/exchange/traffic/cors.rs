//! Cross-origin requests (the Fetch standard's CORS protocol): preflights are answered, responses say who may read them. Pure.

use std::fmt;

use common::http::head::Head;
use common::http::response::{Fields, Response};
use config::traffic::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};

/// The origin whose page may read the response.
pub fn granted(cors: &Cors, head: &Head) -> Option<HeaderValue> {
    let origin = head.headers.get(ORIGIN)?;
    cors.allows(origin.as_bytes()).then(|| origin.clone())
}

/// The answer to a preflight; `None` where it is none. Who is granted what is said by [`mark`].
pub fn preflight(cors: &Cors, head: &Head, granted: bool) -> Option<Response> {
    let asks = head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if head.method != Method::OPTIONS || !asks {
        return None;
    }
    let mut response = Response::new(StatusCode::NO_CONTENT, "");
    if granted {
        let added = &mut response.fields.added;
        added.push_display(
            &ACCESS_CONTROL_ALLOW_METHODS,
            Joined(&["GET", "HEAD", "POST"], &cors.methods),
        );
        if !cors.fields.is_empty() {
            added.push_display(&ACCESS_CONTROL_ALLOW_HEADERS, Joined(&[], &cors.fields));
        }
        added.push_display(&ACCESS_CONTROL_MAX_AGE, cors.max_age.as_secs());
    }
    Some(response)
}

/// Says who may read the response, in the place of what the origin said about it.
pub fn mark(cors: &Cors, granted: Option<&HeaderValue>, fields: &mut Fields) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        fields.remove(&name);
    }
    let is_same_for_all = cors.is_for_all();
    if let Some(origin) = granted {
        const ANY: HeaderValue = HeaderValue::from_static("*");
        let origin = if is_same_for_all { &ANY } else { origin };
        fields.added.push(&ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            let allowed = HeaderValue::from_static("true");
            fields.added.push(&ACCESS_CONTROL_ALLOW_CREDENTIALS, &allowed);
        }
        if !cors.expose.is_empty() {
            fields
                .added
                .push_display(&ACCESS_CONTROL_EXPOSE_HEADERS, Joined(&[], &cors.expose));
        }
    }
    // A cache between us and the client must not give one origin's answer to another.
    if !is_same_for_all {
        const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
        fields.added.push(&VARY, &BY_ORIGIN);
    }
}

/// Words as a list.
struct Joined<'a, T>(&'a [&'a str], &'a [T]);

impl<T: AsRef<str>> fmt::Display for Joined<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().copied().chain(self.1.iter().map(T::as_ref));
        for (place, word) in words.enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            f.write_str(word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::exchange::testing::head;

    const ALL: [HeaderName; 6] = [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ];

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            methods: vec![Method::PUT],
            fields: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
            expose: vec![HeaderName::from_static("x-c")],
            max_age: Duration::from_secs(60),
            credentials,
        }
    }

    fn said(cors: &Cors, method: Method, origin: &'static str) -> (bool, String) {
        let mut head = head("/");
        head.method = method;
        head.headers.insert(ORIGIN, HeaderValue::from_static(origin));
        head.headers
            .insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        let granted = granted(cors, &head);
        let preflight = preflight(cors, &head, granted.is_some());
        let is_preflight = preflight.is_some();
        let mut response = preflight.unwrap_or_else(|| {
            let own = HeaderValue::from_static("https://own.example");
            Response::new(StatusCode::OK, "").with(ACCESS_CONTROL_ALLOW_ORIGIN, own)
        });
        mark(cors, granted.as_ref(), &mut response.fields);
        let fields = response.fields.into_map();
        let said = ALL.iter().chain(&[VARY]).filter_map(|name| fields.get(name));
        (
            is_preflight,
            said.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("; "),
        )
    }

    #[test]
    fn origins_that_are_named_may_read_and_others_may_not() {
        let named = cors(&["https://a.example"], true);
        for (method, origin, expected) in [
            (
                Method::OPTIONS,
                "https://a.example",
                (
                    true,
                    "https://a.example; true; x-c; GET, HEAD, POST, PUT; x-a, x-b; 60; Origin",
                ),
            ),
            (
                Method::GET,
                "https://a.example",
                (false, "https://a.example; true; x-c; Origin"),
            ),
            (Method::OPTIONS, "https://b.example", (true, "Origin")),
            (Method::GET, "http://a.example", (false, "Origin")),
            (Method::GET, "null", (false, "Origin")),
        ] {
            let said = said(&named, method, origin);
            assert_eq!((said.0, said.1.as_str()), expected, "{origin}");
        }
        assert_eq!(said(&cors(&["*"], false), Method::GET, "null").1, "*; x-c");
    }
}
