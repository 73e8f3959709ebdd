//! Which host a request is for: absolute-form before `Host`, one and well-formed (RFC 9112 §3.2, §3.3).
//!
//! Called by the front and the cache server for every request, before routing; an error becomes a 400. Does not know
//! which hosts are served.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::head::Head;
use super::known::Known;

/// The host that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveHost<'a> {
    /// Lower case, without port and without a trailing dot; an IPv6 address in brackets.
    pub host: Cow<'a, str>,
    /// The port, where it is named.
    pub port: Option<u16>,
    /// Host and port as they were received.
    pub authority: &'a str,
}

/// Why a request does not say which host it is for. All of them are the client's fault, and a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HostError {
    /// HTTP/1.1 without `Host`.
    #[error("the request has no Host field")]
    Missing,
    /// More than one `Host` line.
    #[error("the request has more than one Host field")]
    Repeated,
    /// `Host` has no value.
    #[error("the host is empty")]
    Empty,
    /// The host is not a name or an address, or the port is not a port.
    #[error("the host is malformed")]
    Malformed,
    /// `user@host`.
    #[error("the host has user information before it")]
    UserInformation,
    /// The target's scheme is neither http nor https.
    #[error("the scheme of the request target is not supported")]
    Scheme,
    /// The form of the target does not go with the method.
    #[error("the form of the request target does not fit the method")]
    TargetForm,
    /// HTTP/2: `:authority` and `Host` name different hosts.
    #[error("the Host field differs from the :authority pseudo-header field")]
    Differs,
}

/// The host that a request is for; `None` when HTTP/1.0 names none.
///
/// # Errors
/// A [`HostError`] says what is wrong; no request with one may be forwarded.
pub fn effective_host(parts: &Head) -> Result<Option<EffectiveHost<'_>>, HostError> {
    check_form(&parts.method, &parts.uri)?;
    let named = host_field(parts)?;
    let Some(authority) = parts.uri.authority() else {
        return Ok(named);
    };
    // "When an origin server receives a request with an absolute-form of request-target, the origin server MUST ignore
    // the received Host header field (if any) and instead use the host information of the request-target." (RFC 9112
    // §3.2.2) It must be well-formed nevertheless (§3.2), which `host_field` saw to.
    let target = parse_authority(authority.as_str())?;
    // "A server SHOULD treat a request as malformed if it contains a Host header field that identifies an entity that
    // differs from the entity in the ":authority" pseudo-header field." (RFC 9113 §8.3.1)
    if parts.version >= Version::HTTP_2 && named.is_some_and(|named| !target.is_same_as(&named)) {
        return Err(HostError::Differs);
    }
    Ok(Some(target))
}

/// Makes a request that goes on, and whose host was accepted, say the same thing once: origin-form, and `Host`.
///
/// "When a proxy receives a request with an absolute-form of request-target, the proxy MUST ignore the received Host
/// header field (if any) and instead replace it with the host information of the request-target." (RFC 9112 §3.2.2)
pub fn to_origin_form(parts: &mut Head) {
    if parts.method == Method::CONNECT {
        return;
    }
    let Some(authority) = parts.uri.authority() else {
        return;
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        parts.headers.insert(HOST, host);
    }
    let target = match parts.uri.path_and_query() {
        Some(target) if target.as_str().starts_with('/') => target.clone(),
        // `http://example.com?q`: "If the target URI's path component is empty, the client MUST send "/" as the path"
        // (RFC 9112 §3.2.1). Display adds it.
        Some(target) => PathAndQuery::try_from(target.to_string()).unwrap_or_else(|_| PathAndQuery::from_static("/")),
        None => PathAndQuery::from_static("/"),
    };
    parts.uri = Uri::from(target);
}

impl EffectiveHost<'_> {
    fn is_same_as(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

/// The one `Host` line, where there must be one.
///
/// "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host header
/// field and to any request message that contains more than one Host header field line or a Host header field with an
/// invalid field value." (RFC 9112 §3.2)
fn host_field(parts: &Head) -> Result<Option<EffectiveHost<'_>>, HostError> {
    let mut lines = parts.headers.values(Known::HOST);
    let Some(line) = lines.next() else {
        return if parts.version == Version::HTTP_11 {
            Err(HostError::Missing)
        } else {
            Ok(None)
        };
    };
    if lines.next().is_some() {
        return Err(HostError::Repeated);
    }
    parse_authority(std::str::from_utf8(line).map_err(|_| HostError::Malformed)?).map(Some)
}

/// Which form a target may have for which method (RFC 9112 §3.2).
fn check_form(method: &Method, uri: &Uri) -> Result<(), HostError> {
    let form_fits = match (uri.scheme(), uri.authority()) {
        (Some(scheme), _) if *scheme != http::uri::Scheme::HTTP && *scheme != http::uri::Scheme::HTTPS => {
            return Err(HostError::Scheme);
        }
        (Some(_), _) => method != Method::CONNECT,
        // "The authority-form of request-target is only used for CONNECT requests" (§3.2.3).
        (None, Some(_)) => method == Method::CONNECT,
        // "The asterisk-form of request-target is only used for a server-wide OPTIONS request" (§3.2.4).
        (None, None) if uri.path() == "*" => method == Method::OPTIONS,
        (None, None) => method != Method::CONNECT && uri.path().starts_with('/'),
    };
    form_fits.then_some(()).ok_or(HostError::TargetForm)
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), where uri-host is narrower than RFC 3986 allows: a name of DNS, with
/// underscores because they are in use, or an address. A percent-encoded name, or one with `!$&'()*+,;=`, is in no DNS,
/// and different programs would read it differently.
fn parse_authority(authority: &str) -> Result<EffectiveHost<'_>, HostError> {
    // RFC 9110 §4.2.1: "A recipient that processes such a URI reference MUST reject it as invalid", of an http URI with
    // an empty host; and the empty Host that §7.2 allows is for URIs without authority, which we do not serve.
    if authority.is_empty() {
        return Err(HostError::Empty);
    }
    // Nearly every authority is a name alone.
    let (host, port) = if is_name(authority) {
        (authority, None)
    } else {
        parts(authority)?
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    Ok(EffectiveHost { host, port, authority })
}

/// A well-formed host, and its port.
fn parts(authority: &str) -> Result<(&str, Option<u16>), HostError> {
    // RFC 9110 §4.2.4: "a recipient SHOULD parse for userinfo and treat its presence as an error".
    if authority.contains('@') {
        return Err(HostError::UserInformation);
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        // RFC 3986 §3.2.3: `port = *DIGIT`, so `example.com:` is well-formed.
        None | Some("") => None,
        Some(digits) => Some(parse_port(digits).ok_or(HostError::Malformed)?),
    };
    let well_formed = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => is_name(host),
    };
    well_formed.then_some((host, port)).ok_or(HostError::Malformed)
}

/// Host and, after a colon, port; the colons of an IPv6 address are within its brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), HostError> {
    if !authority.starts_with('[') {
        let split = authority.split_once(':');
        return Ok(split.map_or((authority, None), |(host, port)| (host, Some(port))));
    }
    let end = authority.find(']').ok_or(HostError::Malformed)? + 1;
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(HostError::Malformed),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let port: u16 = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    (port != 0).then_some(port)
}

/// A name of DNS: labels without an empty one among them, and perhaps the root's dot.
fn is_name(host: &str) -> bool {
    let mut previous = b'.';
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'.' if previous != b'.' => {}
            _ => return false,
        }
        previous = byte;
    }
    !host.is_empty() && host != "." && host.len() <= HOST_BYTES_MAX
}

/// The longest name that DNS has (RFC 1035 §2.3.4), with its dots.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, hosts: &[&[u8]]) -> Head {
        let mut words = line.split(' ');
        let mut request = http::Request::new(());
        *request.method_mut() = words.next().unwrap().parse().unwrap();
        *request.uri_mut() = words.next().unwrap().parse().unwrap();
        *request.version_mut() = match words.next() {
            Some("HTTP/1.0") => Version::HTTP_10,
            Some("HTTP/2") => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        for host in hosts {
            request
                .headers_mut()
                .append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        request.into_parts().0.into()
    }

    #[test]
    fn a_host_is_lower_case_and_without_port() {
        let long = "a".repeat(255);
        #[rustfmt::skip]
        let rows = [
            ("example.com", "example.com", None),
            ("Example.COM:8080", "example.com", Some(8080)),
            ("example.com:", "example.com", None),
            ("example.com.", "example.com", None),
            ("example.com.:443", "example.com", Some(443)),
            ("under_score.example", "under_score.example", None),
            ("192.0.2.1:00080", "192.0.2.1", Some(80)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("[::1]:", "[::1]", None),
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]", Some(1)),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
            (&long, &long, None),
        ];
        for (given, host, port) in rows {
            let parts = request("GET /x", &[given.as_bytes()]);
            let expected = EffectiveHost {
                host: host.into(),
                port,
                authority: given,
            };
            assert_eq!(effective_host(&parts), Ok(Some(expected)), "{given}");
        }
    }

    #[test]
    fn a_lower_case_host_costs_no_allocation() {
        let parts = request("GET /", &[b"example.com:80"]);
        let host = effective_host(&parts).unwrap().unwrap().host;
        assert!(matches!(host, Cow::Borrowed("example.com")));
    }

    #[test]
    fn an_absent_repeated_or_malformed_host_is_an_error() {
        use HostError::{Empty, Malformed, Missing, Repeated, UserInformation};
        let long = "a".repeat(256);
        #[rustfmt::skip]
        let rows: &[(&[&[u8]], HostError)] = &[
            (&[], Missing),
            (&[b"a", b"b"], Repeated),
            (&[b"a", b"a"], Repeated),
            (&[b"", b"a"], Repeated),
            (&[b""], Empty),
            (&[b"user@a"], UserInformation),
            (&[b"user:pass@a:80"], UserInformation),
            (&[b"a b"], Malformed), (&[b"a\tb"], Malformed), (&[b"a,b"], Malformed), (&[b"a/b"], Malformed),
            (&[b"http://a"], Malformed), (&[b"a?b"], Malformed), (&[b"a#b"], Malformed), (&[b"a\\b"], Malformed),
            (&[b"a%2eb"], Malformed), (&[b"*.a"], Malformed), (&[b"a\xff"], Malformed), (&[b"\"a\""], Malformed),
            (&[b"a;b"], Malformed), (&[b"a<b"], Malformed), (&[b"${a}"], Malformed),
            (&[b"."], Malformed), (&[b".a"], Malformed), (&[b"a..b"], Malformed), (&[b"a.."], Malformed),
            (&[b":80"], Malformed), (&[b"a:b"], Malformed), (&[b"a:80:80"], Malformed), (&[b"a:+80"], Malformed),
            (&[b"a:0"], Malformed), (&[b"a:65536"], Malformed), (&[b"a: 80"], Malformed), (&[b"a:-1"], Malformed),
            (&[b"[::1"], Malformed), (&[b"::1"], Malformed), (&[b"[::1]a"], Malformed), (&[b"[::1]]"], Malformed),
            (&[b"[]"], Malformed), (&[b"[1.2.3.4]"], Malformed), (&[b"[fe80::1%25eth0]"], Malformed),
            (&[b"[v1.a]"], Malformed), (&[b"a[::1]"], Malformed), (&[b"[::1]:x"], Malformed),
            (&[long.as_bytes()], Malformed),
        ];
        for (hosts, expected) in rows {
            let parts = request("GET /", hosts);
            let shown = hosts.first().map(|host| String::from_utf8_lossy(host));
            assert_eq!(effective_host(&parts), Err(*expected), "{shown:?}");
        }
    }

    #[test]
    fn the_form_of_the_target_decides_where_the_host_is_read() {
        use HostError::{Differs, Malformed, Missing, Scheme, TargetForm, UserInformation};
        type Row<'a> = (&'a str, &'a [&'a [u8]], Result<Option<&'a str>, HostError>);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            ("GET http://a.example/x", &[b"b.example"], Ok(Some("a.example"))),
            ("GET http://A.example:81/x", &[b"a.example"], Ok(Some("a.example"))),
            ("GET https://a.example", &[b"b.example"], Ok(Some("a.example"))),
            ("GET http://a.example/x HTTP/1.0", &[], Ok(Some("a.example"))),
            ("GET http://a.example/x", &[], Err(Missing)),
            ("GET http://a.example/x", &[b"b b"], Err(Malformed)),
            ("GET http://user@a.example/x", &[b"a.example"], Err(UserInformation)),
            ("GET ftp://a.example/x", &[b"a.example"], Err(Scheme)),
            ("GET / HTTP/1.0", &[], Ok(None)),
            ("GET / HTTP/1.0", &[b"a b"], Err(Malformed)),
            ("OPTIONS *", &[b"a.example"], Ok(Some("a.example"))),
            ("GET *", &[b"a.example"], Err(TargetForm)),
            ("GET a.example:80", &[b"a.example"], Err(TargetForm)),
            ("CONNECT a.example:80", &[b"a.example"], Ok(Some("a.example"))),
            ("CONNECT /", &[b"a.example"], Err(TargetForm)),
            ("CONNECT http://a.example/", &[b"a.example"], Err(TargetForm)),
            ("GET https://a.example/ HTTP/2", &[], Ok(Some("a.example"))),
            ("GET https://a.example/ HTTP/2", &[b"A.example"], Ok(Some("a.example"))),
            ("GET https://a.example/ HTTP/2", &[b"b.example"], Err(Differs)),
            ("GET https://a.example:1/ HTTP/2", &[b"a.example:2"], Err(Differs)),
            ("GET / HTTP/2", &[b"a.example"], Ok(Some("a.example"))),
        ];
        for (line, hosts, expected) in rows {
            let parts = request(line, hosts);
            let found = effective_host(&parts).map(|found| found.map(|found| found.host.into_owned()));
            assert_eq!(found, expected.map(|host| host.map(str::to_owned)), "{line}");
        }
    }

    #[test]
    fn a_request_that_goes_on_names_its_host_once() {
        #[rustfmt::skip]
        let rows = [
            ("GET /x?q", "/x?q", "b.example"),
            ("GET http://a.example:81/x?q", "/x?q", "a.example:81"),
            ("GET http://a.example", "/", "a.example"),
            ("GET http://a.example?q", "/?q", "a.example"),
            ("OPTIONS *", "*", "b.example"),
            ("CONNECT a.example:80", "a.example:80", "b.example"),
        ];
        for (line, target, host) in rows {
            let mut parts = request(line, &[b"b.example"]);
            to_origin_form(&mut parts);
            assert_eq!(parts.uri.to_string(), target, "{line}");
            assert_eq!(
                parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or(target),
                target,
                "{line}"
            );
            assert_eq!(parts.headers[HOST], host, "{line}");
        }
    }
}
