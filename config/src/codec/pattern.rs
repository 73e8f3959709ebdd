//! What sites and routes match by: hosts, paths, expressions; and names.

use std::net::Ipv6Addr;

use common::http::upgrade::{Protocol, ProtocolError};
use regex::Regex;

use super::address::is_host_name;
use super::scalar::Text;
use crate::model::HostPattern;
use crate::problem::Wrong;

/// A host, or all hosts below one.
pub(crate) const HOST: Text<HostPattern> = Text {
    kind: "host such as \"www.example.com\" or \"*.example.com\"",
    parse: parse_host,
    print: host_text,
};

/// One path.
pub(crate) const PATH: Text<String> = Text {
    kind: "path such as \"/robots.txt\"",
    parse: parse_path,
    print: String::clone,
};

/// A path and everything below it.
pub(crate) const PREFIX: Text<String> = Text {
    kind: "path such as \"/img\"",
    parse: parse_prefix,
    print: String::clone,
};

/// An expression that is searched for in the path.
pub(crate) const REGEX: Text<Regex> = Text {
    kind: "regular expression",
    parse: parse_regex,
    print: |regex| regex.as_str().to_owned(),
};

/// A protocol that clients may change to.
pub(crate) const PROTOCOL: Text<Protocol> = Text {
    kind: "protocol such as \"websocket\"",
    parse: |text| {
        Protocol::new(text).map_err(|error| {
            let wrong = Wrong::from(format!("{text:?}: {error}"));
            match error {
                ProtocolError::NotAName => wrong.hint("a name without its version, such as \"websocket\""),
                ProtocolError::Unseen => wrong,
            }
        })
    },
    print: ToString::to_string,
};

/// What a health check asks for.
pub(crate) const CHECK_PATH: Text<String> = Text {
    kind: "path such as \"/health\"",
    parse: |text| match text {
        path if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') => {
            Ok(path.to_owned())
        }
        other => Err(Wrong::from(format!(
            "{other:?} is not a path of visible ASCII, such as \"/health\""
        ))),
    },
    print: String::clone,
};

/// A service of gRPC, by its full name; empty for the server as a whole.
pub(crate) const GRPC_SERVICE: Text<String> = Text {
    kind: "service such as \"shop.v1.Cart\", or \"\"",
    parse: |text| match text.len() <= GRPC_SERVICE_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::from(format!(
            "{text:?} is not the name of a service, such as \"shop.v1.Cart\": visible ASCII, at most {GRPC_SERVICE_MAX} bytes"
        ))),
    },
    print: String::clone,
};

/// Longer than any package and name.
const GRPC_SERVICE_MAX: usize = 256;

/// The Host field of a health check.
pub(crate) const HOST_FIELD: Text<String> = Text {
    kind: "host such as \"www.example.com\"",
    parse: |text| match text {
        host if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(host.to_owned()),
        other => Err(Wrong::from(format!(
            "{other:?} is not a host, such as \"www.example.com\""
        ))),
    },
    print: String::clone,
};

/// A part of a body.
pub(crate) const BODY_PART: Text<String> = Text {
    kind: "text",
    parse: |text| match text {
        "" => Err(Wrong::from("the text must not be empty: every body contains it")),
        text if text.len() > 1024 => Err(Wrong::from("the text may have at most 1024 bytes")),
        text => Ok(text.to_owned()),
    },
    print: String::clone,
};

/// A user's or group's name.
pub(crate) const USER: Text<String> = Text {
    kind: "name",
    parse: |text| match text {
        "" => Err(Wrong::from("the name must not be empty")),
        name if name.contains('\0') => Err(Wrong::from("the name must not contain NUL")),
        name => Ok(name.to_owned()),
    },
    print: String::clone,
};

/// The name of another table.
pub(crate) const NAME: Text<String> = Text {
    kind: "name",
    parse: |text| {
        let wrong = || {
            Wrong::from(format!(
                "expected a name of 1 to 64 letters, digits, \"-\" and \"_\"; found {text:?}"
            ))
        };
        is_name(text).then(|| text.to_owned()).ok_or_else(wrong)
    },
    print: String::clone,
};

/// A host pattern as it is written.
pub(crate) fn host_text(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(rest) => format!("*.{rest}"),
    }
}

/// Whether a backend may be called so: the name stands in logs, metric labels and `Proxy-Status`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn parse_host(text: &str) -> Result<HostPattern, Wrong> {
    let host = text.to_ascii_lowercase();
    if let Some(rest) = host.strip_prefix("*.") {
        check_name(rest, text)?;
        return Ok(HostPattern::Wildcard(rest.to_owned()));
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()) {
        return Ok(HostPattern::Exact(host));
    }
    check_name(&host, text)?;
    Ok(HostPattern::Exact(host))
}

fn check_name(host: &str, text: &str) -> Result<(), Wrong> {
    let wrong = |what: &str| Wrong::from(format!("{text:?} {what}"));
    if text == "*" {
        return Err(wrong("is not a host").hint("for all other hosts, set default = true on the site"));
    }
    if !host.is_ascii() {
        return Err(wrong("is not ASCII").hint("write it in punycode, as clients send it: \"xn--…\""));
    }
    if host.contains("://") || host.contains('/') {
        return Err(wrong("is not a host").hint("without scheme and path"));
    }
    if host.contains('*') {
        return Err(wrong("has a \"*\" that is not a whole first label").hint("such as \"*.example.com\""));
    }
    if let Some((before, _)) = host.rsplit_once(':') {
        let wrong = wrong("has a port; a site serves its hosts on every port");
        return Err(if before.contains(':') {
            wrong.hint("an IPv6 address is written in brackets")
        } else {
            wrong.hint(format!("did you mean {before:?}?"))
        });
    }
    if let Some(before) = host.strip_suffix('.') {
        return Err(wrong("ends in a dot").hint(format!("did you mean {before:?}?")));
    }
    if !is_host_name(host) {
        return Err(wrong("is not a host name"));
    }
    Ok(())
}

fn parse_path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong::from(format!("{text:?} does not begin with \"/\"")));
    }
    if text.contains(['?', '#']) {
        return Err(Wrong::from(format!(
            "{text:?} has more than a path; routes do not look at the query"
        )));
    }
    // RFC 3986 §2: "A URI is composed from a limited set of characters consisting of digits, letters, and a few graphic
    // symbols."
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Wrong::from(format!("{text:?} has characters that a URI cannot have")).hint("percent-encode them"));
    }
    Ok(text.to_owned())
}

fn parse_prefix(text: &str) -> Result<String, Wrong> {
    let path = parse_path(text)?;
    match path.strip_suffix('/') {
        Some(before) if !before.is_empty() => Err(Wrong::from(format!("{text:?} ends in \"/\"")).hint(format!(
            "{before:?} takes itself and everything below it, by whole segments"
        ))),
        _ => Ok(path),
    }
}

fn parse_regex(text: &str) -> Result<Regex, Wrong> {
    if text.is_empty() {
        return Err(Wrong::from(
            "the expression is empty; leave it out and give the site an origin",
        ));
    }
    Regex::new(text).map_err(|e| {
        // regex draws the place over several lines; the last one says what is wrong.
        let drawn = e.to_string();
        let what = drawn.lines().last().unwrap_or_default();
        Wrong::from(format!(
            "not a regular expression: {}",
            what.trim_start_matches("error: ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_case_and_without_a_port() {
        for (text, pattern) in [
            ("www.Example.com", Some(HostPattern::Exact("www.example.com".into()))),
            (
                "*.img.example.com",
                Some(HostPattern::Wildcard("img.example.com".into())),
            ),
            ("localhost", Some(HostPattern::Exact("localhost".into()))),
            ("10.0.0.1", Some(HostPattern::Exact("10.0.0.1".into()))),
            ("[::1]", Some(HostPattern::Exact("[::1]".into()))),
            (
                "xn--mnchen-3ya.de",
                Some(HostPattern::Exact("xn--mnchen-3ya.de".into())),
            ),
            ("*", None),
            ("*.", None),
            ("", None),
            ("*.*.com", None),
            ("a.*.com", None),
            ("a..b", None),
            ("a.com.", None),
            ("a.com:80", None),
            ("http://a.com", None),
            ("münchen.de", None),
            ("a b", None),
        ] {
            assert_eq!(parse_host(text).ok(), pattern, "{text}");
        }
    }

    #[test]
    fn expressions_may_use_classes_and_ignore_case() {
        let regex = parse_regex(r"(?i)^/v\d+/\w+\.(jpe?g|png)$").expect("compiles");
        assert!(regex.is_match("/V12/a_b.JPG"));
        assert!(!regex.is_match("/v12/a-b.jpg"));
    }
}
