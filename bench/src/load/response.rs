//! The head of a response: is it the one that was expected?
//!
//! It checks status, framing and length, in one pass and without allocating. It is no general HTTP parser.

use std::io;

use memchr::{memchr, memmem};

/// Bytes of a head beyond which it counts as broken.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// What can be wrong with an exchange; `as usize` is its place in a table of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection was not accepted.
    Connect,
    /// Reading or writing failed (a reset, mostly).
    Io,
    /// The connection ended before the response was whole.
    Truncated,
    /// The status was another one.
    Status,
    /// There was no Content-Length, or not this protocol.
    Framing,
    /// The body had not the length it should have.
    Length,
    /// Nothing came for seconds.
    Stalled,
    /// The TLS handshake failed, or a record was broken.
    Tls,
}

/// How many kinds of faults there are.
pub(crate) const FAULT_COUNT: usize = 8;

impl Fault {
    /// All of them, in the order of the table of counts.
    pub(crate) const ALL: [Self; FAULT_COUNT] = [
        Self::Connect,
        Self::Io,
        Self::Truncated,
        Self::Status,
        Self::Framing,
        Self::Length,
        Self::Stalled,
        Self::Tls,
    ];

    /// Its word in results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Io => "io",
            Self::Truncated => "truncated",
            Self::Status => "status",
            Self::Framing => "framing",
            Self::Length => "length",
            Self::Stalled => "stalled",
            Self::Tls => "tls",
        }
    }

    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => Self::Connect,
            _ => Self::Io,
        }
    }
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head itself, the empty line included.
    pub(super) bytes: usize,
    /// Bytes of the body that follows.
    pub(super) length: u64,
    /// The server will close the connection.
    pub(super) close: bool,
}

/// Reads the head at the start of `input`, which has to have this status; `None` when it is not whole yet.
pub(super) fn parse_head(input: &[u8], status: &str) -> Result<Option<Head>, Fault> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        let too_long = input.len() > HEAD_BYTES_MAX;
        return if too_long { Err(Fault::Framing) } else { Ok(None) };
    };
    let head = &input[..end + 2];
    if !head.starts_with(b"HTTP/1.1 ") {
        return Err(Fault::Framing);
    }
    if !head[9..].starts_with(status.as_bytes()) {
        return Err(Fault::Status);
    }
    // "A 304 response is terminated by the end of the header section" (RFC 9110 §15.4.5), whatever its Content-Length.
    let (length, close) = fields(head);
    let length = match status {
        "304" => 0,
        _ => length.ok_or(Fault::Framing)?,
    };
    Ok(Some(Head {
        bytes: end + 4,
        length,
        close,
    }))
}

/// Bytes of head and body together, once the head is whole and right.
pub(crate) fn whole_length(input: &[u8]) -> Option<usize> {
    let head = parse_head(input, "200").ok()??;
    Some(head.bytes + usize::try_from(head.length).ok()?)
}

/// Content-Length, and whether there is `Connection: close`.
fn fields(head: &[u8]) -> (Option<u64>, bool) {
    const LENGTH: &[u8] = b"content-length:";
    const CLOSE: &[u8] = b"connection: close";
    let starts_with =
        |line: &[u8], name: &[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
    let (mut length, mut close) = (None, false);
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        if starts_with(line, LENGTH) {
            let value = str::from_utf8(&line[LENGTH.len()..]).unwrap_or_default();
            length = value.trim().parse().ok();
        }
        close |= starts_with(line, CLOSE);
        rest = &rest[end + 1..];
    }
    (length, close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_status_with_a_length_is_right() {
        for (status, input, expected) in [
            (
                "200",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                Ok(Some((38, 5))),
            ),
            (
                "200",
                "HTTP/1.1 200 OK\r\nA: b\r\ncontent-length:5 \r\n\r\n",
                Ok(Some((44, 5))),
            ),
            ("200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ok(None)),
            (
                "200",
                "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n",
                Err(Fault::Status),
            ),
            (
                "200",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(Fault::Framing),
            ),
            (
                "200",
                "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                Err(Fault::Framing),
            ),
            ("200", "SSH-2.0\r\n\r\n", Err(Fault::Framing)),
            (
                "206",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Err(Fault::Status),
            ),
            (
                "206",
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\n",
                Ok(Some((51, 5))),
            ),
            ("304", "HTTP/1.1 304 Not Modified\r\n\r\n", Ok(Some((29, 0)))),
            (
                "304",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                Ok(Some((48, 0))),
            ),
        ] {
            let found = parse_head(input.as_bytes(), status).map(|head| head.map(|head| (head.bytes, head.length)));
            assert_eq!(found, expected, "{input}");
        }
        assert_eq!(parse_head(&vec![b'a'; HEAD_BYTES_MAX + 1], "200"), Err(Fault::Framing));
        for (field, close) in [
            ("Connection: close", true),
            ("connection: keep-alive", false),
            ("A: close", false),
        ] {
            let head = format!("HTTP/1.1 304 Not Modified\r\n{field}\r\n\r\n");
            let found = parse_head(head.as_bytes(), "304").unwrap().unwrap();
            assert_eq!(found.close, close, "{field}");
        }
    }

    #[test]
    fn each_fault_stands_at_its_place_in_the_table() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index, "{}", fault.word());
        }
    }
}
