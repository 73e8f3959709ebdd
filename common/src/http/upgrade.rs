//! Which protocols a client may change to, and whether an answer does so (RFC 9110 §7.8). Pure.
//!
//! The transport notes whether a connection could become a tunnel ([`Notable::UPGRADE`]); the front lets that be where the
//! route's list has the protocol; `http1::client` holds the answer against what was asked. What flows then is `tunnel`'s.

use std::fmt;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};

use super::head::Head;
use super::hop_by_hop::Upgrade;
use super::list;
use super::request::Notable;

/// The name of a protocol, such as `websocket`; lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol(Box<str>);

/// Why a protocol cannot be tunnelled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// It is not a token.
    #[error("not the name of a protocol")]
    NotAName,
    /// It is HTTP or TLS: requests in such a tunnel would pass every rule unseen.
    #[error("requests in such a tunnel would pass all rules unseen")]
    Unseen,
}

impl Protocol {
    /// The one with this name.
    ///
    /// # Errors
    /// It is no name, or one that is never passed on.
    pub fn new(name: &str) -> Result<Self, ProtocolError> {
        let name = name.to_ascii_lowercase();
        if !list::is_token(name.as_bytes()) {
            return Err(ProtocolError::NotAName);
        }
        if matches!(&*name, "h2c" | "h2" | "http" | "tls") {
            return Err(ProtocolError::Unseen);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reduces the Upgrade field to what is `allowed`; whether anything of it goes on.
pub fn choose(head: &mut Head, notable: Notable, allowed: &[Protocol]) -> Upgrade {
    if !notable.any(Notable::UPGRADE) {
        return Upgrade::Remove;
    }
    // "A client can […] use the Upgrade field to […] offer a list of protocols in order of descending preference"
    // (RFC 9110 §7.8): what remains keeps its order.
    let chosen: Vec<&[u8]> = list::members_of(&head.headers, &UPGRADE)
        .filter(|member| allowed.iter().any(|protocol| is(member, protocol)))
        .collect();
    let Ok(value) = HeaderValue::from_bytes(&chosen.join(&b", "[..])) else {
        return Upgrade::Remove;
    };
    if chosen.is_empty() {
        return Upgrade::Remove;
    }
    head.headers.insert(UPGRADE, value);
    Upgrade::Keep
}

/// Whether a 101 changes to something that was asked for.
///
/// "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding request's Upgrade header
/// field." and "A server that sends a 101 (Switching Protocols) response MUST send an Upgrade header field" (RFC 9110 §7.8).
pub fn is_asked_for(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut answered = list::members_of(response, &UPGRADE).peekable();
    answered.peek().is_some()
        && answered.all(|member| list::members_of(request, &UPGRADE).any(|asked| asked.eq_ignore_ascii_case(member)))
}

/// Whether this is one `protocol-name["/"protocol-version]`.
pub fn is_protocol(member: &[u8]) -> bool {
    let (name, version) = parts(member);
    list::is_token(name) && version.is_none_or(list::is_token)
}

/// Whether `member` names this protocol.
fn is(member: &[u8], protocol: &Protocol) -> bool {
    let (name, version) = parts(member);
    name.eq_ignore_ascii_case(protocol.0.as_bytes()) && version.is_none_or(list::is_token)
}

/// The name of a protocol and its version.
fn parts(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    match member.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&member[..slash], Some(&member[slash + 1..])),
        None => (member, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(values: &[&'static str]) -> HeaderMap {
        let lines = values.iter().map(|value| (UPGRADE, HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        lines.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    #[test]
    fn what_is_allowed_goes_on_in_the_order_of_the_client() {
        let allowed = [Protocol::new("WebSocket").unwrap(), Protocol::new("spdy").unwrap()];
        for (asked, expected) in [
            (&["websocket"][..], Some("websocket")),
            (&["WebSocket"], Some("WebSocket")),
            (&["h2c, websocket"], Some("websocket")),
            (&["SPDY/3.1, foo", "websocket"], Some("SPDY/3.1, websocket")),
            (&["h2c"], None),
            (&["websocketx"], None),
            (&["websocket/"], None),
            (&["websocket/1/2"], None),
            (&["", " , "], None),
            (&[], None),
        ] {
            let mut head = Head {
                headers: fields(asked).into(),
                ..Head::default()
            };
            let cannot = choose(&mut head, Notable::default(), &allowed);
            assert_eq!(cannot, Upgrade::Remove, "the transport cannot");
            let kept = choose(&mut head, Notable::UPGRADE, &allowed);
            assert_eq!(kept == Upgrade::Keep, expected.is_some(), "{asked:?}");
            if let Some(expected) = expected {
                assert_eq!(head.headers[UPGRADE], expected);
                assert_eq!(head.headers.get_all(UPGRADE).iter().count(), 1);
            }
            let nothing = choose(&mut head, Notable::UPGRADE, &[]);
            assert_eq!(nothing, Upgrade::Remove, "nothing is allowed");
        }
    }

    #[test]
    fn a_server_changes_to_what_it_was_asked_for_or_not_at_all() {
        for (asked, answered, expected) in [
            (&["websocket"][..], &["websocket"][..], true),
            (&["websocket"], &["WebSocket"], true),
            (&["foo/2, websocket"], &["foo/2"], true),
            (&["foo/2"], &["foo/1"], false),
            (&["websocket"], &["h2c"], false),
            (&["websocket"], &["websocket, h2c"], false),
            (&["websocket"], &[], false),
            (&[], &["websocket"], false),
        ] {
            assert_eq!(
                is_asked_for(&fields(asked), &fields(answered)),
                expected,
                "{asked:?} {answered:?}"
            );
        }
    }

    #[test]
    fn protocols_that_would_hide_requests_are_not_to_be_had() {
        for (name, expected) in [
            ("h2c", Err(ProtocolError::Unseen)),
            ("TLS", Err(ProtocolError::Unseen)),
            ("", Err(ProtocolError::NotAName)),
            ("web socket", Err(ProtocolError::NotAName)),
            ("websocket/13", Err(ProtocolError::NotAName)),
            ("WebSocket", Ok("websocket".to_owned())),
        ] {
            assert_eq!(
                Protocol::new(name).map(|protocol| protocol.to_string()),
                expected,
                "{name}"
            );
        }
    }
}
