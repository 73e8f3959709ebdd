//! The first step: is this a request that may be served, and for which host? Pure.

use common::http::head::Head;
use common::http::host::{self, EffectiveHost};
use common::http::outgoing;
use common::http::request::Notable;
use common::http::via::{self, NodeId};
use common::serve::service::ConnInfo;
use http::header::{HOST, HeaderValue};
use http::{Method, Version};

use super::refusal::Refusal;

/// Makes the request say once, in its Host field, which host it is for.
///
/// # Errors
/// Its target is in a form that does not go with its method.
pub fn normalize(head: &mut Head, conn: &ConnInfo) -> Result<(), Refusal> {
    if head.uri.authority().is_some() && head.method != Method::CONNECT {
        host::effective_host(head)?;
        host::to_origin_form(head);
    }
    // An HTTP/1.0 request may name no host; the address that it reached is the only one it can mean.
    if head.version == Version::HTTP_10 && !head.headers.contains_key(HOST) {
        let reached = conn
            .local
            .map_or_else(|| "localhost".to_owned(), |local| local.to_string());
        if let Ok(host) = HeaderValue::try_from(reached) {
            head.headers.insert(HOST, host);
        }
    }
    Ok(())
}

/// Checks what does not depend on any site.
///
/// # Errors
/// Why the request is answered here.
pub fn check<'a>(head: &'a Head, notable: Notable, node: &NodeId) -> Result<EffectiveHost<'a>, Refusal> {
    match head.method {
        // Forward proxying is deliberately absent.
        Method::CONNECT => return Err(Refusal::NotImplemented),
        // TRACE echoes what the client sent, credentials included, and no client of a CDN needs it.
        Method::TRACE => return Err(Refusal::MethodNotAllowed),
        // "If the received Max-Forwards field value is zero (0), the recipient MUST NOT forward the request; instead, the
        // recipient MUST respond to it as its final recipient." (RFC 9110 §7.6.2)
        Method::OPTIONS if outgoing::max_forwards(&head.headers) == Some(0) => return Err(Refusal::LastHop),
        _ => {}
    }
    if notable.any(Notable::HOPS) && via::has_passed(&head.headers, node) {
        return Err(Refusal::Loop);
    }
    host::effective_host(head)?.ok_or(Refusal::Host(host::HostError::Missing))
}
