//! A record as one line: Apache's combined format with tidegate's fields after it, or a JSON object.
//!
//! Nobody can add a line, or a field, by what it sends: in combined every byte that is not printable ASCII, and quotes and
//! backslashes, are escaped; JSON has its own rules (`telemetry::json`). Fields are called as in tidegate's own log.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use super::AccessRecord;
use crate::telemetry::json;

/// Appends `client - - [time] "request line" status bytes "referer" "user agent"`, then `name=value` for the rest.
///
/// What stands between two values is one piece of constant bytes, which a compiler copies without a call.
pub(super) fn combined(out: &mut Vec<u8>, record: &AccessRecord<'_>, time: &str) {
    push_client(out, record.client);
    put(out, b" - - [");
    put(out, time.as_bytes());
    put(out, b"] \"");
    match &record.request {
        Some(request) => {
            put(out, request.method.as_bytes());
            put(out, b" ");
            push_escaped(out, request.target);
            put(out, b" ");
            put(out, version(request.version).as_bytes());
        }
        None => put(out, b"-"),
    }
    number(out, b"\" ", record.status.as_u16().into());
    number(out, b" ", record.body_bytes);
    quoted(out, b" \"", record.referer.unwrap_or(b"-"));
    quoted(out, b" \"", record.user_agent.unwrap_or(b"-"));
    word(out, b" req.id=\"", record.request_id);
    quoted(out, b" listener=\"", record.listener.as_bytes());
    number(out, b" conn.id=", record.conn_id);
    if_any(out, b" host=\"", record.host, quoted);
    if_any(out, b" site=\"", record.site.map(str::as_bytes), quoted);
    if_any(out, b" cache.outcome=\"", record.cache_outcome, quoted);
    if_any(out, b" origin=\"", record.backend.map(str::as_bytes), quoted);
    if_any(out, b" origin.addr=\"", record.server.map(str::as_bytes), quoted);
    number(out, b" attempts=", record.attempts.into());
    if_any(out, b" error.kind=\"", record.error, word);
    word(out, b" end=\"", record.end);
    if_any(out, b" close=\"", record.close, word);
    number(out, b" bytes_received=", record.bytes_received);
    number(out, b" bytes_sent=", record.bytes_sent);
    let took = &record.took;
    if_any(out, b" accept_wait_us=", took.accept_wait, micros);
    if_any(out, b" lookup_us=", took.lookup, micros);
    if_any(out, b" queue_us=", took.queue, micros);
    if_any(out, b" connect_us=", took.connect, micros);
    if_any(out, b" tls_us=", took.tls, micros);
    if_any(out, b" first_byte_us=", took.first_byte, micros);
    if_any(out, b" body_us=", took.body, micros);
    micros(out, b" total_us=", took.total);
    put(out, b"\n");
}

/// Appends one JSON object.
pub(super) fn json(out: &mut Vec<u8>, record: &AccessRecord<'_>, time: &str) {
    put(out, b"{\"time\":\"");
    put(out, time.as_bytes());
    word(out, b"\",\"req.id\":\"", record.request_id);
    put(out, b",\"client.addr\":\"");
    push_client(out, record.client);
    text(out, b"\",\"listener\":\"", record.listener.as_bytes());
    number(out, b",\"conn.id\":", record.conn_id);
    if let Some(request) = &record.request {
        word(out, b",\"method\":\"", request.method);
        text(out, b",\"target\":\"", request.target);
        word(out, b",\"version\":\"", version(request.version));
    }
    if_any(out, b",\"host\":\"", record.host, text);
    number(out, b",\"status\":", record.status.as_u16().into());
    number(out, b",\"body_bytes\":", record.body_bytes);
    number(out, b",\"bytes_received\":", record.bytes_received);
    number(out, b",\"bytes_sent\":", record.bytes_sent);
    if_any(out, b",\"referer\":\"", record.referer, text);
    if_any(out, b",\"user_agent\":\"", record.user_agent, text);
    if_any(out, b",\"site\":\"", record.site.map(str::as_bytes), text);
    if_any(out, b",\"cache.outcome\":\"", record.cache_outcome, text);
    if_any(out, b",\"origin\":\"", record.backend.map(str::as_bytes), text);
    if_any(out, b",\"origin.addr\":\"", record.server.map(str::as_bytes), text);
    number(out, b",\"attempts\":", record.attempts.into());
    if_any(out, b",\"error.kind\":\"", record.error, word);
    word(out, b",\"end\":\"", record.end);
    if_any(out, b",\"close\":\"", record.close, word);
    let took = &record.took;
    if_any(out, b",\"accept_wait_us\":", took.accept_wait, micros);
    if_any(out, b",\"lookup_us\":", took.lookup, micros);
    if_any(out, b",\"queue_us\":", took.queue, micros);
    if_any(out, b",\"connect_us\":", took.connect, micros);
    if_any(out, b",\"tls_us\":", took.tls, micros);
    if_any(out, b",\"first_byte_us\":", took.first_byte, micros);
    if_any(out, b",\"body_us\":", took.body, micros);
    micros(out, b",\"total_us\":", took.total);
    put(out, b"}\n");
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// The client's address, which needs no escaping; `unix:` where it has none.
fn push_client(out: &mut Vec<u8>, client: Option<IpAddr>) {
    match client {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            number(out, b"", a.into());
            number(out, b".", b.into());
            number(out, b".", c.into());
            number(out, b".", d.into());
        }
        Some(IpAddr::V6(address)) => {
            let written = write!(out, "{address}");
            debug_assert!(written.is_ok(), "writing to a Vec");
        }
        None => put(out, b"unix:"),
    }
}

#[inline(always)]
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// Appends a value behind `open`, which holds its name, or nothing.
#[inline(always)]
fn if_any<T>(
    out: &mut Vec<u8>,
    open: &'static [u8],
    value: Option<T>,
    push: impl FnOnce(&mut Vec<u8>, &'static [u8], T),
) {
    if let Some(value) = value {
        push(out, open, value);
    }
}

/// A token, or a word of ours, which no format has to escape; `open` ends with a quote.
#[inline(always)]
fn word(out: &mut Vec<u8>, open: &'static [u8], value: &str) {
    debug_assert!(
        json::plain_prefix(value.as_bytes()) == value.len(),
        "a word that needs escaping"
    );
    put(out, open);
    put(out, value.as_bytes());
    put(out, b"\"");
}

/// What others wrote, as combined has it; `open` ends with a quote.
#[inline(always)]
fn quoted(out: &mut Vec<u8>, open: &'static [u8], value: &[u8]) {
    put(out, open);
    push_escaped(out, value);
    put(out, b"\"");
}

/// What others wrote, as JSON has it; `open` ends with a quote.
#[inline(always)]
fn text(out: &mut Vec<u8>, open: &'static [u8], value: &[u8]) {
    put(out, open);
    json::push_text(out, value);
    put(out, b"\"");
}

#[inline(always)]
fn micros(out: &mut Vec<u8>, open: &'static [u8], took: Duration) {
    let whole = took.as_secs().saturating_mul(1_000_000);
    number(out, open, whole.saturating_add(took.subsec_micros().into()));
}

#[inline(always)]
fn number(out: &mut Vec<u8>, open: &'static [u8], number: u64) {
    put(out, open);
    push_number(out, number);
}

/// Most numbers of a line have four digits at most: four are copied at once, and no zeros before the first are among them.
#[inline]
fn push_number(out: &mut Vec<u8>, number: u64) {
    let Some(small) = usize::try_from(number).ok().filter(|small| *small < 10_000) else {
        return put(out, itoa::Buffer::new().format(number).as_bytes());
    };
    let ([a, b], [c, d]) = (TWO_DIGITS[small / 100], TWO_DIGITS[small % 100]);
    let zeros = usize::from(small < 10) + usize::from(small < 100) + usize::from(small < 1000);
    let end = out.len() + 4 - zeros;
    put(out, &(u32::from_be_bytes([a, b, c, d]) << (8 * zeros)).to_be_bytes());
    out.truncate(end);
}

/// Appends printable ASCII as it is, `"` and `\` after a backslash, and every other byte as `\xHH`.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let plain = json::plain_prefix(text);
    put(out, &text[..plain]);
    if plain < text.len() {
        escape(out, &text[plain..]);
    }
}

#[cold]
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'"' | b'\\' => put(out, &[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let hex = |nibble: u8| HEX[usize::from(nibble)];
                put(out, &[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// `00` to `99`.
static TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [[b'0'; 2]; 100];
    let (mut tens, mut ones, mut at) = (b'0', b'0', 0);
    while at < 100 {
        table[at] = [tens, ones];
        at += 1;
        ones += 1;
        if ones > b'9' {
            (tens, ones) = (tens + 1, b'0');
        }
    }
    table
};

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::{RequestLine, Took};
    use super::*;
    use crate::telemetry::fields;

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
    fn fields_are_called_as_in_our_own_log() {
        let (combined, json) = lines(&full());
        for name in [
            fields::REQ_ID,
            fields::LISTENER,
            fields::CONN_ID,
            fields::CACHE_OUTCOME,
            fields::ORIGIN,
            fields::ORIGIN_ADDR,
            fields::ERROR_KIND,
        ] {
            assert!(combined.contains(&format!(" {name}=")), "{name} in {combined}");
            assert!(json.contains(&format!(",\"{name}\":")), "{name} in {json}");
        }
    }

    #[test]
    fn numbers_are_written_as_std_writes_them() {
        for number in (0..=10_100)
            .chain((0..20).map(|power| 10_u64.pow(power) - 1))
            .chain([u64::MAX])
        {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
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
