//! The method PURGE: one URL out of the store, for those whom the configuration lets. Pure.
//!
//! The same purge as the admin listener's, for tools that know no other way. It has no RFC; Squid and Varnish made it usual.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use cache::purge::Strength;
use cache::tier::{Purged, PurgedAt};
use common::backend::Told;
use common::http::forwarded::IpNetwork;
use common::http::head::Head;
use common::http::response::Response;
use common::telemetry::json::line;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::refusal::Refusal;

/// How strong a purge is meant to be.
const X_PURGE_METHOD: HeaderName = HeaderName::from_static("x-purge-method");

/// Who may send PURGE.
#[derive(Clone, Debug)]
pub struct PurgeMethod {
    /// `None`: there is no cache tier, and PURGE is a method like any other.
    allow: Option<Arc<[IpNetwork]>>,
}

impl PurgeMethod {
    /// Peers in these networks, where there is a cache tier at all.
    pub fn new(has_tier: bool, allow: &[IpNetwork]) -> Self {
        Self {
            allow: has_tier.then(|| allow.into()),
        }
    }

    /// The purge that a request asks for; `None` where it asks for something else.
    ///
    /// # Errors
    /// Why it may not.
    pub fn asked(&self, head: &Head, peer: Option<IpAddr>) -> Result<Option<Strength>, Refusal> {
        // PURGE is not safe: for nearly all requests this is the only branch.
        if head.method.is_safe() || head.method.as_str() != "PURGE" {
            return Ok(None);
        }
        match &self.allow {
            None => Ok(None),
            Some(allow) if allow.is_empty() => Err(Refusal::MethodNotAllowed),
            Some(allow) if !covers(allow, peer) => Err(Refusal::PurgeDenied),
            Some(_) => strength(&head.headers).map(Some),
        }
    }
}

/// Whether this peer is in one of the networks; one on a unix socket is on this machine.
fn covers(allow: &[IpNetwork], peer: Option<IpAddr>) -> bool {
    let covers = |address: IpAddr| allow.iter().any(|network| network.contains(address));
    match peer {
        Some(address) => covers(address),
        None => covers(Ipv4Addr::LOCALHOST.into()) || covers(Ipv6Addr::LOCALHOST.into()),
    }
}

fn strength(fields: &HeaderMap) -> Result<Strength, Refusal> {
    let Some(value) = fields.get(X_PURGE_METHOD) else {
        return Ok(Strength::Hard);
    };
    match value.as_bytes() {
        b"soft" => Ok(Strength::Soft),
        b"hard" => Ok(Strength::Hard),
        _ => Err(Refusal::PurgeUnknown),
    }
}

/// What was done, as JSON. 502 when a cache server did not do it.
pub fn answer(url: &str, strength: Strength, done: &PurgedAt) -> Response {
    let did_it = |told: &Told| told.result.is_ok_and(|status| status.is_success());
    let (status, content) = match done {
        PurgedAt::Here(purged) => (StatusCode::OK, report(strength, &[("url", url, *purged)])),
        PurgedAt::Nowhere => (StatusCode::OK, report(strength, &[])),
        PurgedAt::Servers(told) if told.iter().all(did_it) => (StatusCode::OK, told_by(strength, told)),
        PurgedAt::Servers(told) => (StatusCode::BAD_GATEWAY, told_by(strength, told)),
    };
    Response::new(status, bytes::Bytes::from(content))
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// What each cache server said, as JSON.
fn told_by(strength: Strength, told: &[Told]) -> Vec<u8> {
    line(|object| {
        let mut servers = object.field("strength", strength.word()).array("servers");
        for Told { server, result } in told {
            let mut one = servers.object();
            one.field("server", &**server);
            match result {
                Ok(status) => one.field("status", u64::from(status.as_u16())),
                Err(error) => one.field("error", error.word()),
            };
        }
    })
}

/// What was purged, as JSON: by what, which, and how it went.
pub fn report(strength: Strength, purged: &[(&str, &str, Purged)]) -> Vec<u8> {
    line(|object| {
        let mut purges = object.field("strength", strength.word()).array("purges");
        for (by, value, Purged { number, matched }) in purged {
            purges
                .object()
                .field("by", *by)
                .field("value", *value)
                .field("number", *number)
                .some("matched", *matched);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_for_those_in_the_list_and_says_how_strong_it_is() {
        let network = |a, prefix| IpNetwork {
            address: IpAddr::from([a, 0, 0, 0]),
            prefix,
        };
        let on = PurgeMethod::new(true, &[network(10, 8), network(127, 8)]);
        let (off, none) = (PurgeMethod::new(true, &[]), PurgeMethod::new(false, &[]));
        for (rules, method, peer, field, expected) in [
            (&on, "PURGE", "10.1.2.3", None, "Ok(Some(Hard))"),
            (&on, "PURGE", "10.1.2.3", Some("soft"), "Ok(Some(Soft))"),
            (&on, "PURGE", "10.1.2.3", Some("hard"), "Ok(Some(Hard))"),
            (&on, "PURGE", "10.1.2.3", Some("tender"), "Err(PurgeUnknown)"),
            (&on, "PURGE", "::ffff:10.1.2.3", None, "Ok(Some(Hard))"),
            (&on, "PURGE", "", None, "Ok(Some(Hard))"),
            (&on, "PURGE", "11.1.2.3", None, "Err(PurgeDenied)"),
            (&on, "purge", "11.1.2.3", None, "Ok(None)"),
            (&on, "DELETE", "11.1.2.3", None, "Ok(None)"),
            (&on, "GET", "11.1.2.3", None, "Ok(None)"),
            (&off, "PURGE", "10.1.2.3", None, "Err(MethodNotAllowed)"),
            (&none, "PURGE", "10.1.2.3", None, "Ok(None)"),
        ] {
            let mut request = http::Request::builder().method(method).uri("/");
            if let Some(field) = field {
                request = request.header(X_PURGE_METHOD, field);
            }
            let head = request.body(()).unwrap().into_parts().0.into();
            let asked = rules.asked(&head, peer.parse().ok());
            assert_eq!(format!("{asked:?}"), expected, "{method} {peer} {field:?}");
        }
    }
}
