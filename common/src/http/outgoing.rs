//! What every request that goes on is given on its way out of this node, towards an origin or a cache server.
//!
//! Only requests that are forwarded pass here; an answer from store does not. One place, so that both legs agree.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Version, request};

use super::forwarded::{self, ForwardedSettings, Received};
use super::hop_by_hop::{self, Upgrade};
use super::interim::Desk;
use super::time_left::TIME_LEFT;
use super::via::{self, NodeId};

/// The field that carries an exchange's id to the next hop.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What this node knows of a request's way so far.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// This node in CDN-Loop.
    pub node: &'a NodeId,
    /// What is told about the client, and whom to believe.
    pub forwarded: &'a ForwardedSettings,
    /// The peer that sent the request; `None` on a unix socket.
    pub peer: Option<&'a SocketAddr>,
    /// The address that the peer reached; `None` on a unix socket, and where the peer has its answer already.
    pub reached: Option<&'a SocketAddr>,
    /// Whether it came encrypted.
    pub tls: bool,
    /// The exchange's id.
    pub request_id: RequestId,
    /// Whether the Upgrade field goes on.
    pub upgrade: Upgrade,
    /// Where interim responses go; `None` where nobody waits for them.
    pub desk: Option<&'a Desk>,
}

/// The id of an exchange: given by a peer that is believed, or made here. 16 hexadecimal digits when made.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// By the hop before.
    Given(HeaderValue),
    /// By this node.
    Made(u64),
}

/// Fields that a request is given on its way out, at most.
const ADDED_MAX: usize = 8;
/// Bytes of a request id that is taken over from a peer.
const REQUEST_ID_MAX: usize = 64;

impl Hop<'_> {
    /// The peer's address; `None` on a unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer.map(SocketAddr::ip)
    }
}

impl RequestId {
    /// The peer's id, where it is believed and sane; else `made`.
    pub fn choose(is_trusted: bool, fields: &HeaderMap, made: u64) -> Self {
        let given = if is_trusted { fields.get(X_REQUEST_ID) } else { None };
        match given {
            Some(id) if (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_id_byte) => {
                Self::Given(id.clone())
            }
            _ => Self::Made(made),
        }
    }

    /// The id as text, without allocating; `room` is used when it was made here.
    pub fn text<'a>(&'a self, room: &'a mut [u8; 16]) -> &'a str {
        match self {
            Self::Given(id) => id.to_str().unwrap_or_default(),
            Self::Made(id) => {
                for (place, byte) in room.iter_mut().enumerate() {
                    let nibble = (id >> (60 - 4 * place)) & 0xf;
                    *byte = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
                }
                std::str::from_utf8(room).unwrap_or_default()
            }
        }
    }

    fn to_value(&self) -> HeaderValue {
        match self {
            Self::Given(id) => id.clone(),
            Self::Made(_) => HeaderValue::from_str(self.text(&mut [0; 16])).expect("invariant: hexadecimal digits"),
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text(&mut [0; 16]))
    }
}

/// What ids are made of everywhere: nothing that a log, a page or a shell would read as anything else.
fn is_id_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:=+".contains(byte)
}

/// Makes a received request head, whose Host is the one it is for, into the one that goes on.
pub fn prepare(head: &mut request::Parts, hop: &Hop<'_>) {
    hop_by_hop::remove_from_request(&mut head.headers, hop.upgrade);
    // Once for all that is added below.
    head.headers.reserve(ADDED_MAX);
    let host = head.headers.get(HOST).cloned();
    let authority = host.as_ref().and_then(|host| host.to_str().ok());
    let received = Received {
        peer: hop.peer(),
        tls: hop.tls,
        authority,
    };
    forwarded::apply(hop.forwarded, &received, &mut head.headers);
    if !hop.forwarded.trusts(hop.peer()) {
        head.headers.remove(&TIME_LEFT);
    }
    via::append_via(&mut head.headers, head.version);
    via::append_cdn_loop(&mut head.headers, hop.node);
    head.headers.insert(X_REQUEST_ID, hop.request_id.to_value());
    head.version = Version::HTTP_11;
    if let Some(desk) = hop.desk {
        head.extensions.insert(desk.courier());
    }
}
