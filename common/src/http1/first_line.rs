//! First lines that the tokenizer or `Uri` would take otherwise than the RFCs do. Pure; called by `parse.rs`.

use bytes::BytesMut;
use http::Uri;

/// Where the version stands in the first line of a head.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Of a response.
    LineStart,
    /// Of a request.
    LineEnd,
}

/// A head of HTTP/1.2 to 1.9 as one of HTTP/1.1; `None` where it is of another version, or of none.
///
/// "A recipient that receives a message with a major version number that it implements and a minor version number higher
/// than what it implements SHOULD process the message as if it was in the highest minor version within that major version to
/// which the recipient is conformant." (RFC 9110 §2.5)
pub(super) fn of_later_minor(head: &[u8], place: Place) -> Option<BytesMut> {
    const LENGTH: usize = "HTTP/1.2".len();
    let line = memchr::memchr(b'\r', head)?;
    let at = match place {
        Place::LineStart => 0,
        Place::LineEnd => line.checked_sub(LENGTH).filter(|at| *at > 0 && head[at - 1] == b' ')?,
    };
    let end = at + LENGTH;
    let is_one_digit = matches!(head.get(end), Some(b' ' | b'\r'));
    let is_later = matches!(
        head.get(at..end)?,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9']
    );
    (is_later && is_one_digit).then(|| {
        let mut head = BytesMut::from(head);
        head[end - 1] = b'1';
        head
    })
}

/// "If a proxy receives an OPTIONS request with an absolute-form of request-target in which the URI has an empty path and no
/// query component, then the last proxy on the request chain MUST send a request-target of "*"" (RFC 9112 §3.2.4): as such a
/// target. `Uri` would make "/" of it.
pub(super) fn server_wide(target: &str) -> Option<Uri> {
    let (scheme, authority) = target.split_once("://")?;
    if authority.contains(['/', '?', '#']) {
        return None;
    }
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("*");
    uri.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_minor_version_is_read_as_1_1_and_what_only_looks_like_one_is_not() {
        let read = |line: &str, place| {
            let head = of_later_minor(format!("{line}\r\na: b\r\n\r\n").as_bytes(), place)?;
            let line = head[..].split(|byte| *byte == b'\r').next().unwrap_or_default();
            Some(String::from_utf8(line.to_vec()).unwrap())
        };
        for minor in 2..=9 {
            let request = read(&format!("GET / HTTP/1.{minor}"), Place::LineEnd);
            assert_eq!(request.as_deref(), Some("GET / HTTP/1.1"));
            let response = read(&format!("HTTP/1.{minor} 200 OK"), Place::LineStart);
            assert_eq!(response.as_deref(), Some("HTTP/1.1 200 OK"));
        }
        for line in [
            "GET / HTTP/1.20",
            "GET / HTTP/1.2 ",
            "GET /HTTP/1.2",
            "HTTP/1.2",
            "GET / XHTTP/1.2",
            "GET / HTTP/1.0",
        ] {
            assert_eq!(read(line, Place::LineEnd), None, "{line}");
        }
        for line in [
            "HTTP/1.20 200 OK",
            "HTTP/1.2200 OK",
            " HTTP/1.2 200 OK",
            "HTTP/1.a 200 OK",
            "HTTP/1.",
        ] {
            assert_eq!(read(line, Place::LineStart), None, "{line}");
        }
    }

    #[test]
    fn options_without_a_path_is_about_the_whole_server() {
        for (target, expected) in [
            ("http://a.example", Some("*")),
            ("https://a.example:81", Some("*")),
            ("http://a.example/", None),
            ("http://a.example?b", None),
            ("http://", None),
            ("/http://a.example", None),
            ("*", None),
        ] {
            let uri = server_wide(target);
            assert_eq!(uri.as_ref().map(Uri::path), expected, "{target}");
        }
    }
}
