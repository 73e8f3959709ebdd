//! What every request that goes on is given on its way out of this node, towards an origin or a cache server.
//!
//! Only requests that are forwarded pass here; an answer from store does not. One place, so that both legs agree.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{HOST, HeaderName, MAX_FORWARDS, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};

use super::field_lines::{FieldLines, LineStart};
use super::forwarded::{self, ForwardedSettings, Received};
use super::head::{Head, RequestFields};
use super::hop_by_hop::{self, Upgrade};
use super::interim::{Courier, Desk};
use super::known::Known;
use super::request::Notable;
use super::time_left;
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

/// A request's head as it goes on.
#[derive(Clone, Debug)]
pub struct OutgoingHead {
    /// Its method and target, and the fields that the client sent and that go on.
    pub parts: Box<Head>,
    /// The fields of this node. None of them is in `parts` too: what the hop before said stands in the same line.
    pub added: FieldLines,
    /// How much longer the answer is waited for, where that is told to the next hop.
    pub time_left: Option<Duration>,
    /// Whether it asks for another protocol on its connection.
    pub asks_upgrade: bool,
    /// Where interim responses to it go; `None` where nobody waits for them.
    pub courier: Option<Courier>,
}

impl OutgoingHead {
    /// All fields but those of the client, as they are sent.
    pub fn own_fields(&self) -> Cow<'_, FieldLines> {
        let mut lines = Cow::Borrowed(&self.added);
        if let Some(left) = self.time_left {
            time_left::push(lines.to_mut(), left);
        }
        lines
    }
}

impl From<Head> for OutgoingHead {
    /// A request of this node's own.
    fn from(parts: Head) -> Self {
        Self {
            asks_upgrade: parts.headers.contains_key(UPGRADE),
            parts: Box::new(parts),
            added: FieldLines::default(),
            time_left: None,
            courier: None,
        }
    }
}

/// The id of an exchange: given by a peer that is believed, or made here. 16 hexadecimal digits when made.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// By the hop before.
    Given(HeaderValue),
    /// By this node.
    Made(u64),
}

/// The line that carries it.
const ID: LineStart = LineStart::new("x-request-id: ");
/// Room made for the lines that a request is given on its way out.
const ADDED_ROOM: usize = 320;
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
    pub fn choose(is_trusted: bool, fields: &RequestFields, made: u64) -> Self {
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
        std::str::from_utf8(self.ascii(room)).unwrap_or_default()
    }

    fn ascii<'a>(&'a self, room: &'a mut [u8; 16]) -> &'a [u8] {
        match self {
            Self::Given(id) => id.as_bytes(),
            Self::Made(id) => {
                let (pairs, _) = room.as_chunks_mut();
                for (pair, byte) in pairs.iter_mut().zip(id.to_be_bytes()) {
                    *pair = [byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]);
                }
                room
            }
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

/// How often an OPTIONS may go on; `None` where it does not say, or says no number.
pub fn max_forwards(fields: &HeaderMap) -> Option<u64> {
    let digits = fields.get(MAX_FORWARDS)?.to_str().ok()?;
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// "If the received Max-Forwards value is greater than zero, the intermediary MUST generate an updated Max-Forwards field in
/// the forwarded message with a field value that is the lesser of a) the received value decremented by one (1) or b) the
/// recipient's maximum supported value for Max-Forwards." (RFC 9110 §7.6.2)
fn count_down(fields: &mut HeaderMap) {
    if let Some(left) = max_forwards(fields) {
        fields.insert(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Makes a received request head, whose Host is the one it is for, into the one that goes on.
pub fn prepare(mut parts: Box<Head>, hop: &Hop<'_>) -> OutgoingHead {
    let fields = &mut parts.headers;
    if parts.method == Method::OPTIONS {
        count_down(fields);
    }
    let mut added = FieldLines::with_capacity(ADDED_ROOM);
    // Most requests have none of the fields that are looked for below.
    let present = fields.notable();
    if present.any(Notable::HOP_BY_HOP) && !fields.take_plain_connection() {
        hop_by_hop::remove_from_request(fields, hop.upgrade);
    }
    let mut time_left = None;
    if present.any(Notable::CLAIMS) {
        let host = fields.get(HOST).cloned();
        let host = host.as_ref().map(HeaderValue::as_bytes);
        forwarded::apply(hop.forwarded, &received(hop, host), fields, &mut added);
        time_left = time_left::take(fields);
        fields.remove(&X_REQUEST_ID);
    } else {
        let received = received(hop, fields.first(Known::HOST));
        forwarded::apply(hop.forwarded, &received, &mut HeaderMap::new(), &mut added);
    }
    added.push_own(&ID, |text| {
        text.write_ascii(hop.request_id.ascii(&mut [0; 16]));
        Ok(())
    });
    if present.any(Notable::HOPS) {
        via::append_via(fields, &mut added, parts.version);
        via::append_cdn_loop(fields, &mut added, hop.node);
    } else {
        via::begin(&mut added, parts.version, hop.node);
    }
    parts.version = Version::HTTP_11;
    OutgoingHead {
        parts,
        added,
        time_left,
        asks_upgrade: hop.upgrade == Upgrade::Keep,
        courier: hop.desk.map(Desk::courier),
    }
}

/// What we know ourselves of a request for this host.
fn received<'a>(hop: &Hop<'_>, host: Option<&'a [u8]>) -> Received<'a> {
    Received {
        peer: hop.peer(),
        tls: hop.tls,
        authority: host.and_then(|host| std::str::from_utf8(host).ok()),
    }
}
