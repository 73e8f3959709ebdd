//! Extended CONNECT (RFC 8441): a stream's request for a tunnel ↔ the upgrade that HTTP/1.1 makes of it, and the stream as
//! an end of that tunnel.
//!
//! What comes of it here is an ordinary GET with Upgrade, so that every rule for upgrades holds; [`Notable::CONNECT`] says
//! that nothing but a tunnel, or a refusal, answers it. `exchange` calls.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode};

use super::response::CONNECTION_SPECIFIC;
use crate::http::response::Fields;
use crate::http::tunnel::Duplex;
use crate::http::{upgrade, websocket};
use crate::http1::parse::ParseError;

/// Makes an extended CONNECT the GET that asks for an upgrade; whether it was one.
///
/// # Errors
/// It names no protocol, or announces content, which a tunnel has none of.
pub(super) fn translate(head: &mut Parts) -> Result<bool, ParseError> {
    if head.method != Method::CONNECT {
        return Ok(false);
    }
    let Some(protocol) = head.extensions.remove::<Protocol>() else {
        return Ok(false);
    };
    if !upgrade::is_protocol(protocol.as_str().as_bytes()) {
        return Err(ParseError::Malformed(":protocol"));
    }
    if head.headers.contains_key(CONTENT_LENGTH) {
        return Err(ParseError::Malformed("Content-Length of a tunnel"));
    }
    let asked = HeaderValue::from_str(protocol.as_str()).map_err(|_| ParseError::Malformed(":protocol"))?;
    head.method = Method::GET;
    head.headers.insert(UPGRADE, asked);
    head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    // "Implementations using this extended CONNECT to bootstrap WebSockets do not do the processing of the
    // Sec-WebSocket-Key and Sec-WebSocket-Accept header fields" (RFC 8441 §5). Servers of HTTP/1.1 do.
    if protocol.as_str().eq_ignore_ascii_case(websocket::WEBSOCKET) {
        websocket::give_key(head);
    }
    Ok(true)
}

/// What a server's 101 is in HTTP/2: "Any 2xx (Successful) response indicates that the sender […] will switch to tunnel mode
/// immediately after the response header section" (RFC 9110 §9.3.6). The fields that HTTP/1.1 said so with are left out.
pub(super) fn switched(fields: Fields) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::OK;
    let mut fields = fields.into_map();
    for name in CONNECTION_SPECIFIC.iter().chain(&websocket::HANDSHAKE_FIELDS) {
        fields.remove(name);
    }
    *head.headers_mut() = fields;
    head
}

/// The client's end of a tunnel: one stream.
pub(super) struct ClientEnd {
    to_client: SendStream<Bytes>,
    from_client: RecvStream,
    /// Bytes handed over whose place in the window is not free yet.
    unreleased: usize,
}

impl ClientEnd {
    pub(super) const fn new(to_client: SendStream<Bytes>, from_client: RecvStream) -> Self {
        Self {
            to_client,
            from_client,
            unreleased: 0,
        }
    }
}

impl Duplex for ClientEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        // Who asks for more has passed the last piece on.
        let passed = std::mem::take(&mut self.unreleased);
        let released = self.from_client.flow_control().release_capacity(passed);
        released.map_err(|_| gone())?;
        loop {
            match ready!(self.from_client.poll_data(cx)) {
                None => return Poll::Ready(Ok(Bytes::new())),
                Some(Err(_)) => return Poll::Ready(Err(gone())),
                // Nothing, which would be taken for the end.
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased = data.len();
                    return Poll::Ready(Ok(data));
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<usize>> {
        self.to_client.reserve_capacity(data.len());
        while self.to_client.capacity() == 0 {
            match ready!(self.to_client.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(gone())),
            }
        }
        let taken = self.to_client.capacity().min(data.len());
        let piece = data.split_to(taken);
        self.to_client.send_data(piece, false).map_err(|_| gone())?;
        Poll::Ready(Ok(taken))
    }

    /// What h2 has is sent by the task of the connection; here is heard whether the client has left meanwhile.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.to_client.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(gone())),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    // "Orderly TCP-level closures are represented as END_STREAM flags […]. RST exceptions are represented with the
    // RST_STREAM frame […] with the CANCEL error code" (RFC 8441 §5).
    fn end(&mut self) {
        if let Err(error) = self.to_client.send_data(Bytes::new(), true) {
            tracing::trace!(%error, "the end of a tunnel to a client that is gone");
        }
    }

    fn abort(&mut self) {
        self.to_client.send_reset(Reason::CANCEL);
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

    fn head(method: Method, protocol: Option<&'static str>) -> Parts {
        let mut head = http::Request::new(()).into_parts().0;
        head.method = method;
        if let Some(protocol) = protocol {
            head.extensions.insert(Protocol::from_static(protocol));
        }
        head
    }

    #[test]
    fn a_connect_for_a_protocol_is_a_get_that_asks_for_it() {
        for (method, protocol, expected) in [
            (Method::CONNECT, Some("websocket"), Ok(true)),
            (Method::CONNECT, Some("spdy/3.1"), Ok(true)),
            (Method::CONNECT, None, Ok(false)),
            (Method::GET, None, Ok(false)),
            (
                Method::CONNECT,
                Some("a, websocket"),
                Err(ParseError::Malformed(":protocol")),
            ),
            (Method::CONNECT, Some(""), Err(ParseError::Malformed(":protocol"))),
            (
                Method::CONNECT,
                Some("websocket/"),
                Err(ParseError::Malformed(":protocol")),
            ),
        ] {
            let mut head = head(method.clone(), protocol);
            assert_eq!(translate(&mut head), expected, "{protocol:?}");
            if expected != Ok(true) {
                assert_eq!((head.method, head.headers.len()), (method, 0), "{protocol:?}");
                continue;
            }
            assert_eq!(head.method, Method::GET);
            let said = (&head.headers[UPGRADE], &head.headers[CONNECTION]);
            assert_eq!((said.0.to_str().ok(), said.1.as_bytes()), (protocol, &b"upgrade"[..]));
            let is_websocket = protocol == Some("websocket");
            assert_eq!(head.headers.contains_key(SEC_WEBSOCKET_KEY), is_websocket);
        }
        let mut long = head(Method::CONNECT, Some("websocket"));
        long.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        assert!(translate(&mut long).is_err(), "a tunnel has no content");
    }

    #[test]
    fn a_101_is_a_200_that_keeps_what_was_agreed_on() {
        let agreed = http::HeaderName::from_static("sec-websocket-protocol");
        let mut fields = HeaderMap::new();
        for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT, agreed.clone()] {
            fields.insert(name, HeaderValue::from_static("x"));
        }
        let head = switched(Fields::from(fields));
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers().keys().collect::<Vec<_>>(), [&agreed]);
    }
}
