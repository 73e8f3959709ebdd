//! The opening handshake of WebSocket, as far as an intermediary has a part in it (RFC 6455 §4.1, RFC 8441 §5).
//!
//! A client of HTTP/2 sends no key. Towards a server of HTTP/1.1 we are the client of that handshake then: the key is made
//! here, travels among the request's extensions, and the server's answer is held against it by `http1::client`.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderName};

use super::head::Head;

/// The protocol's name in Upgrade and `:protocol`.
pub const WEBSOCKET: &str = "websocket";
/// Fields of the handshake that HTTP/2 does without (RFC 8441 §5).
pub const HANDSHAKE_FIELDS: [HeaderName; 2] = [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_ACCEPT];

/// "The Sec-WebSocket-Accept header field indicates whether the server is willing to accept the connection. If present,
/// this header field must include a hash of the client's nonce […] along with a predefined GUID." (RFC 6455 §4.2.2)
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key that was made here, in a request's extensions.
#[derive(Clone)]
struct OurKey;

/// Gives the request a key of ours, in place of any that it has.
///
/// "The value of this header field MUST be a nonce consisting of a randomly selected 16-byte value that has been
/// base64-encoded" (RFC 6455 §4.1).
pub fn give_key(head: &mut Head) {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).expect("invariant: the library's generator has been seeded, or the process would not run");
    let key = HeaderValue::try_from(STANDARD.encode(nonce)).expect("invariant: base64");
    head.headers.insert(SEC_WEBSOCKET_KEY, key);
    head.extensions.insert(OurKey);
}

/// Whether a server's 101 answers the key, where that is ours to judge; a client that made its own key judges itself.
///
/// "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains a value other than
/// the base64-encoded SHA-1 […], the client MUST _Fail the WebSocket Connection_." (RFC 6455 §4.1)
pub fn is_accepted(request: &Head, response: &HeaderMap) -> bool {
    if request.extensions.get::<OurKey>().is_none() {
        return true;
    }
    let Some(key) = request.headers.get(SEC_WEBSOCKET_KEY) else {
        return false;
    };
    let mut answers = response.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    let expected = accept(key);
    answers
        .next()
        .is_some_and(|answer| answer.as_bytes() == expected.as_bytes())
        && answers.next().is_none()
}

/// What accepts a key.
pub fn accept(key: &HeaderValue) -> String {
    let text = [key.as_bytes(), GUID.as_bytes()].concat();
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head::default()
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_as_it_says() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_differ_and_take_the_place_of_the_clients() {
        let (mut one, mut other) = (head(), head());
        one.headers
            .insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("theirs"));
        give_key(&mut one);
        give_key(&mut other);
        assert_ne!(one.headers[SEC_WEBSOCKET_KEY], other.headers[SEC_WEBSOCKET_KEY]);
        assert_eq!(one.headers.get_all(SEC_WEBSOCKET_KEY).iter().count(), 1);
        assert_eq!(STANDARD.decode(&one.headers[SEC_WEBSOCKET_KEY]).unwrap().len(), 16);
    }

    #[test]
    fn what_answers_our_key_is_judged_and_what_answers_a_clients_is_not() {
        let mut ours = head();
        give_key(&mut ours);
        let right = accept(&ours.headers[SEC_WEBSOCKET_KEY]);
        for (answers, expected) in [
            (&[right.as_str()][..], true),
            (&["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="], false),
            (&[&right, &right], false),
            (&[], false),
        ] {
            let mut fields = HeaderMap::new();
            for answer in answers {
                fields.append(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(answer).unwrap());
            }
            assert_eq!(is_accepted(&ours, &fields), expected, "{answers:?}");
            assert!(is_accepted(&head(), &fields));
        }
    }
}
