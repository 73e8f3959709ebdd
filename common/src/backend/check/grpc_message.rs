//! The two messages of gRPC's health protocol (`grpc.health.v1.Health/Check`), by hand: each has one field.
//!
//! Pure. Frames as in gRPC over HTTP/2: a flag, a length, a message. Reading is strict where the encoding is broken, and
//! skips fields that later versions may have, as Protocol Buffers wants it.

/// What a server says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServingStatus {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
    /// A number that the protocol does not have yet.
    Other(u64),
}

impl ServingStatus {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
            Self::Other(_) => "a status that is not known",
        }
    }
}

/// A frame with a `HealthCheckRequest { string service = 1; }`; an empty name asks for the server as a whole.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(service.len() + 4);
    // Proto3 leaves out what is empty.
    if !service.is_empty() {
        message.push(1 << 3 | LENGTH_DELIMITED);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0]; // not compressed
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

/// The status in a frame with a `HealthCheckResponse { ServingStatus status = 1; }`; `None` where it is none.
pub(super) fn response(frame: &[u8]) -> Option<ServingStatus> {
    let (head, message) = frame.split_at_checked(FRAME_HEAD)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    // A compressed message was not asked for (no `grpc-accept-encoding`), and one message is all there is.
    if head[0] != 0 || length as usize != message.len() {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        let kind = u8::try_from(tag & 7).ok()?;
        match (tag >> 3, kind) {
            (0, _) => return None,
            (1, VARINT) => status = take_varint(&mut rest)?,
            (1, _) => return None,
            (_, VARINT) => drop(take_varint(&mut rest)?),
            (_, FIXED64) => rest = rest.get(8..)?,
            (_, LENGTH_DELIMITED) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, FIXED32) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(match status {
        0 => ServingStatus::Unknown,
        1 => ServingStatus::Serving,
        2 => ServingStatus::NotServing,
        3 => ServingStatus::ServiceUnknown,
        other => ServingStatus::Other(other),
    })
}

/// A flag and four bytes of length.
const FRAME_HEAD: usize = 5;

/// Wire types of Protocol Buffers.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Ten bytes at most, and no bit beyond the 64th.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for i in 0..10 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_service() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
        assert_eq!(long.len(), 5 + 3 + 300);
    }

    #[test]
    fn a_response_is_read_strictly() {
        let framed = |message: &[u8]| {
            let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            frame.extend_from_slice(message);
            response(&frame)
        };
        for (message, expected) in [
            (&[][..], Some(ServingStatus::Unknown)),
            (&[8, 0], Some(ServingStatus::Unknown)),
            (&[8, 1], Some(ServingStatus::Serving)),
            (&[8, 2], Some(ServingStatus::NotServing)),
            (&[8, 3], Some(ServingStatus::ServiceUnknown)),
            (&[8, 9], Some(ServingStatus::Other(9))),
            (&[8, 2, 8, 1], Some(ServingStatus::Serving)), // the last one counts
            (&[8, 0x81, 0], Some(ServingStatus::Serving)), // longer than it must be
            (
                &[0x10, 7, 8, 1, 0x1a, 2, 8, 2, 0x25, 0, 0, 0, 0],
                Some(ServingStatus::Serving),
            ), // fields to come
            (&[0x19, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1], Some(ServingStatus::Serving)),
            (&[8], None),
            (&[8, 0x80], None),
            (&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], None),
            (&[0x0a, 1, 1], None),    // the status is no text
            (&[0x1a, 3, 8, 2], None), // cut off
            (&[0x25, 0, 0], None),
            (&[0x13], None), // a group
            (&[0, 1], None), // no field has number 0
        ] {
            assert_eq!(framed(message), expected, "{message:?}");
        }
        assert_eq!(response(&[0, 0, 0, 0]), None, "no whole frame");
        assert_eq!(response(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(response(&[0, 0, 0, 0, 3, 8, 1]), None, "cut off");
        assert_eq!(response(&[0, 0, 0, 0, 2, 8, 1, 0]), None, "more than one message");
    }
}
