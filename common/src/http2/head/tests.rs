//! Field sections that are requests, and those that are not.

use std::time::Duration;

use super::*;
use crate::serve::settings::HalfClose;

pub(in crate::http2) fn settings() -> ServeSettings {
    let time = Duration::from_secs(5);
    ServeSettings {
        header_timeout: time,
        idle_timeout: time,
        body_timeout: time,
        send_timeout: time,
        body_rate_min: 0,
        send_rate_min: 0,
        rate_grace: Duration::ZERO,
        head_bytes_max: 16 << 10,
        fields_max: 5,
        uri_bytes_max: 64,
        body_bytes_max: 1 << 20,
        requests_per_connection_max: 1000,
        half_close: HalfClose::Answer,
    }
}

fn draft(fields: &[(&str, &str)]) -> Draft {
    let mut draft = Draft::default();
    for (name, value) in fields {
        draft.add(&Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            known: Known::of(name.as_bytes()),
        });
    }
    draft
}

fn request(fields: &[(&str, &str)]) -> Result<Section, Refused> {
    draft(fields).request(&settings(), true)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const AUTHORITY: (&str, &str) = (":authority", "a.example");
const PATH: (&str, &str) = (":path", "/a?b");
const GET: [(&str, &str); 4] = [METHOD, SCHEME, AUTHORITY, PATH];

fn with(more: &[(&'static str, &'static str)]) -> Result<Section, Refused> {
    request(&[&GET, more].concat())
}

#[test]
fn a_request_is_the_one_that_http1_would_make() {
    let more = [
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("content-length", "7"),
        ("cookie", "b=2"),
        ("x-own", ""),
    ];
    let head = with(&more).unwrap();
    assert_eq!((head.parts.method, head.parts.version), (Method::GET, Version::HTTP_2));
    assert_eq!(head.parts.uri, "/a?b");
    assert_eq!(
        (head.length, head.expects_continue, head.connects),
        (Some(7), false, false)
    );
    let mut lines: Vec<_> = head
        .parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        ["cookie: a=1; b=2", "host: a.example", "te: trailers", "x-own: "]
    );
    assert!(head.notable.any(Notable::FRAMING) && head.notable.any(Notable::HOP_BY_HOP));
    assert!(with(&[("expect", "100-continue")]).unwrap().expects_continue);
}

#[test]
fn the_host_is_that_of_the_target_and_what_is_wrong_with_it_is_left_for_the_service_to_say() {
    let other = |scheme, host: &'static [(&'static str, &'static str)]| {
        let fields = [&[METHOD, (":scheme", scheme), AUTHORITY, PATH], host].concat();
        let parts = request(&fields).unwrap().parts;
        let host = host::effective_host(&parts).map(|host| host.map(|host| host.host.into_owned()));
        (parts.uri.to_string(), host)
    };
    let own = Ok(Some("a.example".to_owned()));
    assert_eq!(other("HTTP", &[]), ("/a?b".into(), own.clone()));
    assert_eq!(other("https", &[("host", "a.example")]), ("/a?b".into(), own));
    let (uri, host) = other("https", &[("host", "b.example")]);
    assert_eq!(
        (uri.as_str(), host),
        ("https://a.example/a?b", Err(host::HostError::Differs))
    );
    assert_eq!(other("ftp", &[]).1, Err(host::HostError::Scheme));
    let hostless = request(&[METHOD, SCHEME, PATH]).unwrap().parts;
    assert_eq!(host::effective_host(&hostless), Ok(None));
    let asterisk = request(&[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")]).unwrap();
    assert_eq!(asterisk.parts.uri, "*");
    let user = request(&[METHOD, SCHEME, (":authority", "me@a.example"), PATH])
        .unwrap()
        .parts;
    assert_eq!(host::effective_host(&user), Err(host::HostError::UserInformation));
}

#[test]
fn malformed_sections_are_no_requests() {
    let method = [(":method", "POST")];
    let twice: Vec<_> = GET.iter().map(|again| [&GET[..], &[*again]].concat()).collect();
    let without: Vec<_> = [0, 1, 3]
        .into_iter()
        .map(|place| [&GET[..place], &GET[place + 1..]].concat())
        .collect();
    for fields in twice.iter().chain(&without) {
        assert_eq!(request(fields).unwrap_err(), Refused::Malformed, "{fields:?}");
    }
    for more in [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("Upper", "case"),
        ("a b", "x"),
        ("a:", "x"),
        ("", "x"),
        (":test", "x"),
        (":status", "200"),
        (":protocol", "websocket"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a\t"),
    ] {
        assert_eq!(with(&[more]).unwrap_err(), Refused::Malformed, "{more:?}");
    }
    let late = [&GET[..3], &[("x", "y")], &GET[3..]].concat();
    assert_eq!(request(&late).unwrap_err(), Refused::Malformed);
    let empty = [METHOD, SCHEME, AUTHORITY, (":path", "")];
    assert_eq!(request(&empty).unwrap_err(), Refused::Malformed);
    assert_eq!(request(&method).unwrap_err(), Refused::Malformed);
}

#[test]
fn heads_are_held_to_the_limits_and_rules_of_http1() {
    let long = format!("/{}", "a".repeat(100));
    for (path, error) in [
        (long.as_str(), ParseError::TargetTooLong),
        ("/é", ParseError::Malformed("request target")),
        ("/a#b", ParseError::Malformed("request target")),
        ("/a b", ParseError::Malformed("request target")),
        ("a", ParseError::Malformed("request target")),
    ] {
        let fields = [METHOD, SCHEME, AUTHORITY, (":path", path)];
        assert_eq!(request(&fields).unwrap_err(), Refused::Answered(error), "{path}");
    }
    for (more, error) in [
        (&[("a", "b"); 6][..], ParseError::TooManyFields),
        (&[("content-length", "1048577")], ParseError::BodyTooLarge),
        (&[("content-length", "1"); 2], ParseError::Malformed("Content-Length")),
        (&[("content-length", "+1")], ParseError::Malformed("Content-Length")),
        (&[("expect", "miracles")], ParseError::Expectation),
    ] {
        assert_eq!(with(more).unwrap_err(), Refused::Answered(error), "{more:?}");
    }
}

#[test]
fn connect_has_an_authority_alone_unless_it_is_extended() {
    let connect = (":method", "CONNECT");
    let head = request(&[connect, (":authority", "a.example:443")]).unwrap();
    assert_eq!(
        (head.parts.uri.to_string().as_str(), head.connects),
        ("a.example:443", false)
    );
    for fields in [
        &[connect][..],
        &[connect, AUTHORITY, PATH],
        &[connect, SCHEME, AUTHORITY],
        &[connect, SCHEME, AUTHORITY, PATH],
        &[connect, SCHEME, AUTHORITY, (":protocol", "websocket")],
    ] {
        assert_eq!(request(fields).unwrap_err(), Refused::Malformed, "{fields:?}");
    }
    let extended = [connect, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")];
    let head = request(&extended).unwrap();
    assert_eq!((head.parts.method, head.connects), (Method::GET, true));
    assert!(head.notable.any(Notable::CONNECT) && head.notable.any(Notable::UPGRADE));
    let hostless = request(&[connect, SCHEME, PATH, (":protocol", "websocket")]).unwrap();
    assert_eq!(host::effective_host(&hostless.parts), Ok(None), "the service says so");
    let refused = draft(&extended).request(&settings(), false);
    assert_eq!(refused.unwrap_err(), Refused::Malformed, "it was not offered");
}

#[test]
fn trailers_are_fields_and_no_pseudo_fields() {
    let mut plain = draft(&[("x-sum", "7"), ("x-forwarded-for", "10.0.0.1"), ("x-sum", "8")]);
    assert!(!plain.has_pseudo());
    let trailers = plain.trailers().unwrap();
    assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
    assert_eq!(trailers.len(), 2, "routing is no matter of trailers");
    for fields in [
        &[(":path", "/")][..],
        &[("x-sum", "7"), (":path", "/")],
        &[(":other", "x")],
        &[("x", "y"), (":status", "200")],
    ] {
        assert!(draft(fields).has_pseudo(), "{fields:?}");
    }
    for malformed in [("connection", "x"), ("Upper", "x"), ("x", "\n")] {
        let mut draft = draft(&[malformed]);
        assert!(!draft.has_pseudo() && draft.trailers().is_none(), "{malformed:?}");
    }
}
