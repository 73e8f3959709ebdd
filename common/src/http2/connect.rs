//! Extended CONNECT (RFC 8441): a stream's request for a tunnel ↔ the upgrade that HTTP/1.1 makes of it, and the stream as
//! an end of that tunnel.
//!
//! What comes of it here is an ordinary GET with Upgrade, so that every rule for upgrades holds; [`Notable::CONNECT`] says
//! that nothing but a tunnel, or a refusal, answers it. `exchange` calls.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};

use super::exchange::Shared;
use super::frame::Code;
use crate::http::body::BodyError;
use crate::http::head::Head;
use crate::http::response::Fields;
use crate::http::tunnel::Duplex;
use crate::http::{upgrade, websocket};
use crate::http1::parse::ParseError;

/// Makes an extended CONNECT for this protocol the GET that asks for an upgrade.
///
/// # Errors
/// It names no protocol, or announces content, which a tunnel has none of.
pub(super) fn translate(head: &mut Head, protocol: &[u8]) -> Result<(), ParseError> {
    if !upgrade::is_protocol(protocol) {
        return Err(ParseError::Malformed(":protocol"));
    }
    if head.headers.contains_key(CONTENT_LENGTH) {
        return Err(ParseError::Malformed("Content-Length of a tunnel"));
    }
    let asked = HeaderValue::from_bytes(protocol).map_err(|_| ParseError::Malformed(":protocol"))?;
    head.method = Method::GET;
    head.headers.insert(UPGRADE, asked);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    // "Implementations using this extended CONNECT to bootstrap WebSockets do not do the processing of the
    // Sec-WebSocket-Key and Sec-WebSocket-Accept header fields" (RFC 8441 §5). Servers of HTTP/1.1 do.
    if protocol.eq_ignore_ascii_case(websocket::WEBSOCKET.as_bytes()) {
        websocket::give_key(head);
    }
    Ok(())
}

/// What a server's 101 is in HTTP/2: "Any 2xx (Successful) response indicates that the sender […] will switch to tunnel mode
/// immediately after the response header section" (RFC 9110 §9.3.6). What HTTP/1.1 shook hands with is left out; `response`
/// leaves out what it said of its connection.
pub(super) fn switched(mut fields: Fields) -> Fields {
    fields.remove_all(&websocket::HANDSHAKE_FIELDS);
    fields
}

/// The client's end of a tunnel: one stream.
pub(super) struct ClientEnd {
    shared: Arc<Shared>,
    id: u32,
}

impl ClientEnd {
    pub(super) const fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self { shared, id }
    }
}

impl Duplex for ClientEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut session = self.shared.session.lock();
        // Who asks for more has passed the last piece on.
        session.release_held(self.id);
        loop {
            match ready!(session.poll_body(self.id, cx)) {
                None => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(_)) => return Poll::Ready(Err(gone())),
                Some(Ok(frame)) => {
                    // Trailers have no place in a tunnel.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(data));
                    }
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        let mut session = self.shared.session.lock();
        if session.poll_over(self.id, cx).is_ready() {
            return Poll::Ready(Err(gone()));
        }
        if !session.wants_content(self.id) {
            return Poll::Pending;
        }
        let piece = std::mem::take(data);
        let taken = piece.len();
        let sent = session.send_content(self.id, piece, false);
        Poll::Ready(sent.map(|()| taken).map_err(|_| gone()))
    }

    /// What the session has is sent by the task of the connection; here is heard whether the client has left meanwhile.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.shared.session.lock();
        if session.poll_over(self.id, cx).is_ready() && !session.has_sent_all(self.id) {
            return Poll::Ready(Err(gone()));
        }
        Poll::Ready(Ok(()))
    }

    // "Orderly TCP-level closures are represented as END_STREAM flags […]. RST exceptions are represented with the
    // RST_STREAM frame […] with the CANCEL error code" (RFC 8441 §5).
    fn end(&mut self) {
        let ended = self.shared.session.lock().send_content(self.id, Bytes::new(), true);
        if ended.is_err() {
            tracing::trace!("the end of a tunnel to a client that is gone");
        }
    }

    fn abort(&mut self) {
        self.shared
            .session
            .lock()
            .reset(self.id, Code::Cancel, BodyError::ClientGone);
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};

    use super::*;

    fn connect() -> Head {
        Head {
            method: Method::CONNECT,
            ..Head::default()
        }
    }

    #[test]
    fn a_connect_for_a_protocol_is_a_get_that_asks_for_it() {
        for (protocol, is_one) in [
            ("websocket", true),
            ("spdy/3.1", true),
            ("a, websocket", false),
            ("", false),
            ("websocket/", false),
        ] {
            let mut head = connect();
            let translated = translate(&mut head, protocol.as_bytes());
            if !is_one {
                assert_eq!(translated, Err(ParseError::Malformed(":protocol")), "{protocol:?}");
                assert_eq!((head.method, head.headers.len()), (Method::CONNECT, 0), "{protocol:?}");
                continue;
            }
            assert_eq!((translated, head.method), (Ok(()), Method::GET));
            let said = (&head.headers[UPGRADE], &head.headers[CONNECTION]);
            assert_eq!(
                (said.0.as_bytes(), said.1.as_bytes()),
                (protocol.as_bytes(), &b"upgrade"[..])
            );
            assert_eq!(head.headers.contains_key(SEC_WEBSOCKET_KEY), protocol == "websocket");
        }
        let mut long = connect();
        long.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        assert!(translate(&mut long, b"websocket").is_err(), "a tunnel has no content");
    }

    #[test]
    fn a_101_is_a_200_that_keeps_what_was_agreed_on() {
        let agreed = http::HeaderName::from_static("sec-websocket-protocol");
        let mut fields = HeaderMap::new();
        for name in [SEC_WEBSOCKET_ACCEPT, agreed.clone()] {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        let fields = switched(Fields::from(fields)).into_map();
        assert_eq!(fields.keys().collect::<Vec<_>>(), [&agreed]);
    }
}
