//! A record as one line: Apache's combined format with tidegate's fields after it, or a JSON object.
//!
//! Nobody can add a line, or a field, by what it sends: in combined every byte that is not printable ASCII, and quotes and
//! backslashes, are escaped; JSON has its own rules (`telemetry::json`). Fields are called as in tidegate's own log.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use super::AccessRecord;
use crate::telemetry::{fields, json};

/// Appends `client - - [time] "request line" status bytes "referer" "user agent"`, then `name=value` for the rest.
pub(super) fn combined(out: &mut Vec<u8>, record: &AccessRecord<'_>, time: &str) {
    push_client(out, record.client);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"] \"");
    match &record.request {
        Some(request) => {
            push_escaped(out, request.method.as_bytes());
            out.push(b' ');
            push_escaped(out, request.target);
            out.push(b' ');
            out.extend_from_slice(version(request.version).as_bytes());
        }
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(record.status.as_str().as_bytes());
    out.push(b' ');
    push_number(out, record.body_bytes);
    out.push(b' ');
    push_quoted(out, record.referer.unwrap_or(b"-"));
    out.push(b' ');
    push_quoted(out, record.user_agent.unwrap_or(b"-"));
    push_our_fields(out, record);
    out.push(b'\n');
}

fn push_our_fields(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let text = |out: &mut Vec<u8>, name: &str, value: Option<&[u8]>| {
        if let Some(value) = value {
            push_name(out, name);
            push_quoted(out, value);
        }
    };
    text(out, fields::REQ_ID, Some(record.request_id.as_bytes()));
    text(out, fields::LISTENER, Some(record.listener.as_bytes()));
    push_named_number(out, fields::CONN_ID, record.conn_id);
    text(out, HOST, record.host);
    text(out, SITE, record.site.map(str::as_bytes));
    text(out, fields::CACHE_OUTCOME, record.cache_outcome);
    text(out, fields::ORIGIN, record.backend.map(str::as_bytes));
    text(out, fields::ORIGIN_ADDR, record.server.map(str::as_bytes));
    push_named_number(out, ATTEMPTS, record.attempts.into());
    text(out, fields::ERROR_KIND, record.error.map(str::as_bytes));
    text(out, END, Some(record.end.as_bytes()));
    text(out, CLOSE, record.close.map(str::as_bytes));
    push_named_number(out, BYTES_RECEIVED, record.bytes_received);
    push_named_number(out, BYTES_SENT, record.bytes_sent);
    for (name, took) in durations(record) {
        if let Some(took) = took {
            push_named_number(out, name, took);
        }
    }
}

/// Appends one JSON object.
pub(super) fn json(out: &mut Vec<u8>, record: &AccessRecord<'_>, time: &str) {
    let mut object = json::Object::new(out);
    object
        .field(TIME, time)
        .field(fields::REQ_ID, record.request_id)
        .field(fields::CLIENT_ADDR, Client(record.client))
        .field(fields::LISTENER, record.listener)
        .field(fields::CONN_ID, record.conn_id);
    if let Some(request) = &record.request {
        object
            .field(METHOD, request.method)
            .field(TARGET, request.target)
            .field(VERSION, version(request.version));
    }
    object
        .some(HOST, record.host)
        .field(STATUS, record.status.as_u16())
        .field(BODY_BYTES, record.body_bytes)
        .field(BYTES_RECEIVED, record.bytes_received)
        .field(BYTES_SENT, record.bytes_sent)
        .some(REFERER, record.referer)
        .some(USER_AGENT, record.user_agent)
        .some(SITE, record.site)
        .some(fields::CACHE_OUTCOME, record.cache_outcome)
        .some(fields::ORIGIN, record.backend)
        .some(fields::ORIGIN_ADDR, record.server)
        .field(ATTEMPTS, record.attempts)
        .some(fields::ERROR_KIND, record.error)
        .field(END, record.end)
        .some(CLOSE, record.close);
    for (name, took) in durations(record) {
        object.some(name, took);
    }
    drop(object);
    out.push(b'\n');
}

/// The parts of an exchange, in microseconds.
fn durations(record: &AccessRecord<'_>) -> [(&'static str, Option<u64>); 8] {
    let micros = |took: Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let took = &record.took;
    [
        ("accept_wait_us", took.accept_wait.map(micros)),
        ("lookup_us", took.lookup.map(micros)),
        ("queue_us", took.queue.map(micros)),
        ("connect_us", took.connect.map(micros)),
        ("tls_us", took.tls.map(micros)),
        ("first_byte_us", took.first_byte.map(micros)),
        ("body_us", took.body.map(micros)),
        ("total_us", Some(micros(took.total))),
    ]
}

const TIME: &str = "time";
const METHOD: &str = "method";
const TARGET: &str = "target";
const VERSION: &str = "version";
const HOST: &str = "host";
const STATUS: &str = "status";
const BODY_BYTES: &str = "body_bytes";
const BYTES_RECEIVED: &str = "bytes_received";
const BYTES_SENT: &str = "bytes_sent";
const REFERER: &str = "referer";
const USER_AGENT: &str = "user_agent";
const SITE: &str = "site";
const ATTEMPTS: &str = "attempts";
const END: &str = "end";
const CLOSE: &str = "close";

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// The client's address as JSON; no address needs escaping.
struct Client(Option<IpAddr>);

impl json::Value for Client {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        push_client(out, self.0);
        out.push(b'"');
    }
}

/// The client's address; `unix:` where it has none.
fn push_client(out: &mut Vec<u8>, client: Option<IpAddr>) {
    match client {
        Some(IpAddr::V4(address)) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_number(out, octet.into());
            }
        }
        Some(IpAddr::V6(address)) => {
            let written = write!(out, "{address}");
            debug_assert!(written.is_ok(), "writing to a Vec");
        }
        None => out.extend_from_slice(b"unix:"),
    }
}

#[inline]
fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
}

#[inline]
fn push_named_number(out: &mut Vec<u8>, name: &str, number: u64) {
    push_name(out, name);
    push_number(out, number);
}

#[inline]
fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[inline]
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends printable ASCII as it is, `"` and `\` after a backslash, and every other byte as `\xHH`.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let (plain, after) = rest.split_at(json::plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else {
            return;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            _ => {
                let hex = |nibble: u8| HEX[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]);
            }
        }
        rest = after;
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::{RequestLine, Took};
    use super::*;

    fn full() -> AccessRecord<'static> {
        AccessRecord {
            request_id: "7f3a-12",
            client: Some("192.0.2.10".parse().unwrap()),
            listener: "0.0.0.0:80",
            conn_id: 7,
            request: Some(RequestLine {
                method: "GET",
                target: b"/a?b=c",
                version: Version::HTTP_11,
            }),
            host: Some(b"www.example.com"),
            status: StatusCode::BAD_GATEWAY,
            body_bytes: 512,
            bytes_received: 120,
            bytes_sent: 700,
            referer: Some(b"http://a.example/"),
            user_agent: Some(b"curl/8"),
            site: Some("www"),
            cache_outcome: Some(b"tidegate; fwd=uri-miss"),
            backend: Some("idc1"),
            server: Some("10.9.0.7:8080"),
            attempts: 2,
            error: Some("connection_refused"),
            took: Took {
                accept_wait: Some(Duration::from_micros(1)),
                lookup: Some(Duration::from_micros(2)),
                queue: Some(Duration::from_nanos(3999)),
                connect: Some(Duration::from_millis(4)),
                tls: Some(Duration::from_millis(3)),
                first_byte: Some(Duration::from_secs(5)),
                body: Some(Duration::from_micros(500)),
                total: Duration::from_secs(6),
            },
            close: Some("requested"),
            end: "whole",
            ..AccessRecord::default()
        }
    }

    fn lines(record: &AccessRecord<'_>) -> (String, String) {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        combined(&mut one, record, "T");
        json(&mut other, record, "T");
        (String::from_utf8(one).unwrap(), String::from_utf8(other).unwrap())
    }

    #[test]
    fn a_full_record_has_every_field() {
        let (combined, json) = lines(&full());
        assert_eq!(
            combined.trim_end_matches('\n'),
            concat!(
                r#"192.0.2.10 - - [T] "GET /a?b=c HTTP/1.1" 502 512 "http://a.example/" "curl/8""#,
                r#" req.id="7f3a-12" listener="0.0.0.0:80" conn.id=7 host="www.example.com" site="www""#,
                r#" cache.outcome="tidegate; fwd=uri-miss" origin="idc1" origin.addr="10.9.0.7:8080" attempts=2"#,
                r#" error.kind="connection_refused" end="whole" close="requested" bytes_received=120 bytes_sent=700"#,
                r#" accept_wait_us=1 lookup_us=2 queue_us=3 connect_us=4000 tls_us=3000 first_byte_us=5000000 body_us=500 total_us=6000000"#,
            )
        );
        assert_eq!(
            json.trim_end_matches('\n'),
            concat!(
                r#"{"time":"T","req.id":"7f3a-12","client.addr":"192.0.2.10","listener":"0.0.0.0:80","conn.id":7,"#,
                r#""method":"GET","target":"/a?b=c","version":"HTTP/1.1","host":"www.example.com","status":502,"#,
                r#""body_bytes":512,"bytes_received":120,"bytes_sent":700,"referer":"http://a.example/","#,
                r#""user_agent":"curl/8","site":"www","cache.outcome":"tidegate; fwd=uri-miss","origin":"idc1","#,
                r#""origin.addr":"10.9.0.7:8080","attempts":2,"error.kind":"connection_refused","end":"whole","#,
                r#""close":"requested","accept_wait_us":1,"lookup_us":2,"queue_us":3,"connect_us":4000,"tls_us":3000,"#,
                r#""first_byte_us":5000000,"body_us":500,"total_us":6000000}"#,
            )
        );
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let record = AccessRecord {
            end: "client_gone",
            ..AccessRecord::default()
        };
        let (combined, json) = lines(&record);
        assert_eq!(
            combined.trim_end_matches('\n'),
            concat!(
                r#"unix: - - [T] "-" 200 0 "-" "-" req.id="" listener="" conn.id=0 attempts=0"#,
                r#" end="client_gone" bytes_received=0 bytes_sent=0 total_us=0"#,
            )
        );
        assert_eq!(
            json.trim_end_matches('\n'),
            concat!(
                r#"{"time":"T","req.id":"","client.addr":"unix:","listener":"","conn.id":0,"status":200,"#,
                r#""body_bytes":0,"bytes_received":0,"bytes_sent":0,"attempts":0,"end":"client_gone","total_us":0}"#,
            )
        );
    }

    #[test]
    fn nothing_that_a_client_sends_can_add_a_line_or_a_field() {
        let hostile = b"a\" b=\"c\\\r\n\t\0\x1b[0m\x7f\xff\xc3\xa9";
        let record = AccessRecord {
            request: Some(RequestLine {
                method: "GET",
                target: hostile,
                version: Version::HTTP_2,
            }),
            host: Some(hostile),
            referer: Some(hostile),
            user_agent: Some(hostile),
            cache_outcome: Some(hostile),
            ..full()
        };
        let (combined, json) = lines(&record);
        let escaped = r#"a\" b=\"c\\\x0D\x0A\x09\x00\x1B[0m\x7F\xFF\xC3\xA9"#;
        for field in [
            r#""GET %s HTTP/2""#,
            r#" host="%s""#,
            r#" 512 "%s" "%s" "#,
            r#" cache.outcome="%s""#,
        ] {
            let field = field.replace("%s", escaped);
            assert!(combined.contains(&field), "{field} in {combined}");
        }
        assert!(
            combined
                .trim_end_matches('\n')
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~')),
            "{combined}"
        );
        let escaped = r#""a\" b=\"c\\\r\n\t\u0000\u001b[0m\u007f%é""#.replace('%', "\u{fffd}");
        for name in ["target", "host", "referer", "user_agent", "cache.outcome"] {
            assert!(json.contains(&format!(r#""{name}":{escaped},"#)), "{name} in {json}");
        }
        assert!(!json.trim_end_matches('\n').chars().any(char::is_control), "{json}");
    }

    #[test]
    fn clients_are_written_as_std_writes_them() {
        for address in [
            "0.0.0.0",
            "255.255.255.255",
            "10.0.100.9",
            "::",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            let mut out = Vec::new();
            push_client(&mut out, Some(address.parse().unwrap()));
            assert_eq!(String::from_utf8(out).unwrap(), address);
        }
    }
}
