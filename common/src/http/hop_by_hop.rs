//! Fields that end at this hop (RFC 9110 §7.6.1), removed before a message goes on, in either direction.
//!
//! Called by whoever forwards a message, once it has acted on these fields itself. Which of them the next hop gets from
//! *us* is decided here too: `TE: trailers`, and `Upgrade` where a tunnel is wanted. Trailer sections pass through
//! [`remove_from_trailers`] when they are read. Framing (`Content-Length`, chunked) is `http1`'s.

use http::StatusCode;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};

use super::list;

/// Whether the `Upgrade` that the sender asked for goes on to the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// No: the message goes on in the protocol it came in.
    Remove,
    /// Yes: the connections become a tunnel if both sides agree.
    Keep,
}

/// What the sender of a message says about its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// It closes after this message.
    pub close: bool,
    /// It wants to go on (only said by HTTP/1.0).
    pub keep_alive: bool,
    /// `Upgrade` is meant for us.
    pub upgrade: bool,
}

/// The options in all `Connection` lines; members that are not tokens are ignored.
pub fn connection_options(fields: &HeaderMap) -> ConnectionOptions {
    options_in(fields.get_all(&CONNECTION).into_iter().map(HeaderValue::as_bytes))
}

/// The options in these `Connection` lines.
pub fn options_in<'a>(lines: impl Iterator<Item = &'a [u8]>) -> ConnectionOptions {
    let mut options = ConnectionOptions::default();
    for line in lines {
        // Nearly every browser and HTTP/1.1 server says just this.
        if line.eq_ignore_ascii_case(b"keep-alive") {
            options.keep_alive = true;
            continue;
        }
        for option in list::members(line) {
            // "Connection options are case-insensitive." (RFC 9110 §7.6.1)
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
    options
}

/// Whether all that is said is `keep-alive`.
fn is_keep_alive(fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all(&CONNECTION).into_iter();
    let first = lines.next();
    lines.next().is_none() && first.is_some_and(|line| line.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// Removes what ends here from a request. `TE: trailers` stays, as our own word to the next hop, because trailers pass.
pub fn remove_from_request(fields: &mut HeaderMap, upgrade: Upgrade) {
    let found = HopByHop::in_fields(fields);
    if found.is_empty() {
        return;
    }
    if found.is_connection() && is_keep_alive(fields) {
        fields.remove(CONNECTION);
        return;
    }
    // "The presence of the keyword "trailers" in the TE header field of a request indicates that the client is willing to
    // accept trailer fields, on behalf of itself and any downstream clients." (RFC 9110 §6.5.1) We pass them on.
    let trailers = list::members_of(fields, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    let tunnel = remove(fields, found, upgrade);
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        // "A sender of TE MUST also send a "TE" connection option" (RFC 9110 §10.1.4)
        let options = if tunnel { "upgrade, te" } else { "te" };
        fields.insert(CONNECTION, HeaderValue::from_static(options));
    }
}

/// Whether a field of this name, in lower case, ends at this hop whatever else is said.
pub(super) fn ends_here(name: &str) -> bool {
    HopByHop::index(name).is_some()
}

/// Removes what ends here from a response.
///
/// Upgrade stays where it says what was changed to, or what has to be: "A server that sends a 426 (Upgrade Required)
/// response MUST send an Upgrade header field" (RFC 9110 §7.8).
pub fn remove_from_response(status: StatusCode, fields: &mut HeaderMap) {
    let upgrade = match status {
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED => Upgrade::Keep,
        _ => Upgrade::Remove,
    };
    let found = HopByHop::in_fields(fields);
    if !found.is_empty() {
        remove(fields, found, upgrade);
    }
}

/// Takes names out of `Connection`, so that these fields are not removed as fields of this hop: what an operator puts into
/// requests must not be the client's to strip.
pub fn withdraw_options<'a>(fields: &mut HeaderMap, names: impl Iterator<Item = &'a HeaderName>) {
    if !fields.contains_key(CONNECTION) {
        return;
    }
    let names: Vec<_> = names.collect();
    let is_named = |option: &[u8]| {
        names
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    if !list::members_of(fields, &CONNECTION).any(is_named) {
        return;
    }
    let kept: Vec<_> = list::members_of(fields, &CONNECTION)
        .filter(|option| !is_named(option))
        .collect();
    match HeaderValue::from_bytes(&kept.join(&b", "[..])) {
        Ok(options) if !kept.is_empty() => drop(fields.insert(CONNECTION, options)),
        _ => drop(fields.remove(CONNECTION)),
    }
}

/// Removes from a trailer section what ends here, and what would change framing or routing if somebody merged it. Called by
/// whoever reads one, by whatever protocol it comes: a body's trailers are without.
///
/// "Many fields cannot be processed outside the header section because their evaluation is necessary prior to receiving
/// the content, such as those that describe message framing, routing, authentication, request modifiers, response
/// controls, or content format." (RFC 9110 §6.5.1)
pub fn remove_from_trailers(trailers: &mut HeaderMap) {
    let refused = |name: &&HeaderName| {
        let name = name.as_str();
        HopByHop::index(name).is_some() || NEVER_TRAILERS.contains(&name) || name.starts_with("x-forwarded-")
    };
    let refused: Vec<_> = trailers.keys().filter(refused).cloned().collect();
    for name in &refused {
        trailers.remove(name);
    }
}

/// Removes the fields in `found` and those that `Connection` names; true when `Upgrade` was kept.
fn remove(fields: &mut HeaderMap, found: HopByHop, upgrade: Upgrade) -> bool {
    let kept = match upgrade {
        // "A sender of Upgrade MUST also send an "Upgrade" connection option" (RFC 9110 §7.8): without, it is not for us.
        Upgrade::Keep if connection_options(fields).upgrade => fields.get(UPGRADE).cloned(),
        Upgrade::Keep | Upgrade::Remove => None,
    };
    for name in named_by_connection(fields) {
        fields.remove(name);
    }
    for (index, name) in HOP_BY_HOP.iter().enumerate() {
        if found.contains(index) {
            fields.remove(name);
        }
    }
    let Some(protocols) = kept else { return false };
    fields.insert(UPGRADE, protocols);
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    true
}

/// The fields that `Connection` names and that it may name. No allocation for `close`, `keep-alive` and the like.
///
/// "Intermediaries MUST parse a received Connection header field before a message is forwarded and, for each
/// connection-option in this field, remove any header or trailer field(s) from the message with the same name as the
/// connection-option" (RFC 9110 §7.6.1).
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    if is_keep_alive(fields) {
        return Vec::new();
    }
    list::members_of(fields, &CONNECTION)
        .filter(|option| !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| HopByHop::index(name.as_str()).is_none() && !is_protected(name.as_str()))
        .collect()
}

/// Fields that `Connection` must not name, and that stay when it does.
///
/// "A sender MUST NOT send a connection option corresponding to a field that is intended for all recipients of the
/// content." (RFC 9110 §7.6.1) Obeying one that breaks this would let a client strip what somebody before us, or after
/// us, relies on.
fn is_protected(name: &str) -> bool {
    match name {
        // Framing and routing: without them the next hop sees another message, or another site's.
        "host" | "content-length" => true,
        // Who asks, and what was told about it on the way. CDN-Loop belongs to the "header fields that are not to be
        // removed under any circumstances" (RFC 8586 §2).
        "authorization" | "cookie" | "set-cookie" | "www-authenticate" | "origin" | "via" | "forwarded"
        | "x-real-ip" | "cdn-loop" => true,
        // What caches decide by: without them a private response looks public, or one variant like all.
        "cache-control" | "age" | "date" | "expires" | "pragma" | "vary" | "etag" | "last-modified" | "range"
        | "surrogate-control" | "surrogate-key" | "cache-tag" | "cache-status" | "proxy-status" => true,
        _ => {
            name.starts_with("content-")
                || name.starts_with("if-")
                || name.starts_with("x-forwarded-")
                || name.ends_with("-cache-control") // RFC 9213 §2.1
        }
    }
}

/// Which of [`HOP_BY_HOP`] a message has, one bit each.
#[derive(Clone, Copy)]
struct HopByHop(u16);

impl HopByHop {
    /// One walk over the names, which costs less than a lookup for each of the ten.
    fn in_fields(fields: &HeaderMap) -> Self {
        let found = fields.keys().filter_map(|name| Self::index(name.as_str()));
        Self(found.fold(0, |bits, index| bits | 1 << index))
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is `Connection` and no other.
    const fn is_connection(self) -> bool {
        self.0 == 1
    }

    fn contains(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    /// Where `name` stands in [`HOP_BY_HOP`]. Literals, because comparing lengths is all that most names need then.
    fn index(name: &str) -> Option<usize> {
        match name {
            "connection" => Some(0),
            "te" => Some(1),
            "upgrade" => Some(2),
            "transfer-encoding" => Some(3),
            "proxy-authenticate" => Some(4),
            "proxy-authorization" => Some(5),
            "keep-alive" => Some(6),
            "proxy-connection" => Some(7),
            "proxy-authentication-info" => Some(8),
            "http2-settings" => Some(9),
            _ => None,
        }
    }
}

/// "…intermediaries SHOULD remove or replace fields that are known to require removal before forwarding, whether or not
/// they appear as a connection-option… This includes but is not limited to: Proxy-Connection, Keep-Alive, TE,
/// Transfer-Encoding, Upgrade" (RFC 9110 §7.6.1).
///
/// - `Transfer-Encoding`: the coding was taken off when the message was read; who sends it on frames it anew.
/// - `Proxy-Authenticate`, `Proxy-Authentication-Info`, `Proxy-Authorization`: "applies only to the next outbound client
///   on the response chain" (§11.7.1). We are a gateway, which neither asks for such credentials nor relays them, and a
///   cache must not store them (RFC 9111 §3.1).
/// - `HTTP2-Settings`: of the h2c upgrade, which RFC 9113 §3.1 removed and we do not do.
///
/// `Trailer` is not among them since RFC 9110: trailers pass, and so does what announces them.
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    TE,
    UPGRADE,
    TRANSFER_ENCODING,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
];

/// Besides what ends here: fields that decide about a message before its content is read (RFC 9110 §6.5.1), and those by
/// which hops tell each other about clients.
const NEVER_TRAILERS: [&str; 29] = [
    // Framing, routing, content format.
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "trailer",
    "via",
    "cdn-loop",
    "forwarded",
    "x-real-ip",
    // Authentication.
    "authorization",
    "cookie",
    "set-cookie",
    "www-authenticate",
    // Request modifiers.
    "expect",
    "max-forwards",
    "pragma",
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    // Response controls.
    "age",
    "cache-control",
    "expires",
    "location",
    "retry-after",
    "vary",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            map.append(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value.trim()).unwrap(),
            );
        }
        map
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = map
            .iter()
            .map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes())))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_ends_at_this_hop_is_removed_from_requests_and_the_rest_stays() {
        #[rustfmt::skip]
        let rows: &[(&[&str], Upgrade, &[&str])] = &[
            (&["host: a", "accept: */*"], Upgrade::Remove, &["accept: */*", "host: a"]),
            (&["connection: keep-alive", "host: a"], Upgrade::Remove, &["host: a"]),
            (&["connection: close, X-One,x-two", "x-one: 1", "x-two: 2", "x-three: 3"], Upgrade::Remove, &["x-three: 3"]),
            (&["connection: x-one", "connection:", "connection:  , \t,X-Two ,", "x-one: 1", "x-two: 2"], Upgrade::Remove, &[]),
            (&["connection: x one, x-\u{e9}, \"x-one\", x-one;a=1", "x-one: 1"], Upgrade::Remove, &["x-one: 1"]),
            (&["x-one: 1", "x-one: 2", "connection: x-one"], Upgrade::Remove, &[]),
            // On the fixed list, named or not.
            (&["keep-alive: timeout=5", "proxy-connection: close", "proxy-authorization: Basic x", "proxy-authenticate: Basic",
               "proxy-authentication-info: x", "transfer-encoding: chunked", "upgrade: h2c", "http2-settings: AAA"], Upgrade::Remove, &[]),
            (&["trailer: x-sum"], Upgrade::Remove, &["trailer: x-sum"]),
            // Never stripped, whoever names them.
            (&["connection: Host, Content-Length, Authorization, Cookie, X-Forwarded-For, Forwarded, Via, CDN-Loop",
               "host: a", "content-length: 1", "authorization: x", "cookie: c", "x-forwarded-for: 1", "forwarded: f", "via: v", "cdn-loop: l"],
             Upgrade::Remove,
             &["authorization: x", "cdn-loop: l", "content-length: 1", "cookie: c", "forwarded: f", "host: a", "via: v", "x-forwarded-for: 1"]),
            // Named by Connection, but removed because of the fixed list.
            (&["connection: transfer-encoding", "transfer-encoding: chunked"], Upgrade::Remove, &[]),
            // TE is replaced by our own.
            (&["te: trailers, gzip;q=0.5", "connection: TE"], Upgrade::Remove, &["connection: te", "te: trailers"]),
            (&["te: gzip", "te: Trailers"], Upgrade::Remove, &["connection: te", "te: trailers"]),
            (&["te: gzip", "connection: te"], Upgrade::Remove, &[]),
            // Upgrades.
            (&["connection: keep-alive, Upgrade", "upgrade: websocket"], Upgrade::Keep, &["connection: upgrade", "upgrade: websocket"]),
            (&["connection: upgrade, te", "upgrade: websocket", "te: trailers"], Upgrade::Keep, &["connection: upgrade, te", "te: trailers", "upgrade: websocket"]),
            (&["connection: upgrade", "upgrade: websocket"], Upgrade::Remove, &[]),
            (&["upgrade: websocket"], Upgrade::Keep, &[]),
            (&["connection: upgrade"], Upgrade::Keep, &[]),
        ];
        for (given, upgrade, expected) in rows {
            let mut map = fields(given);
            remove_from_request(&mut map, *upgrade);
            assert_eq!(lines(&map), *expected, "{given:?}");
        }
    }

    #[test]
    fn responses_keep_what_caches_and_clients_decide_by() {
        let kept = [
            "age: 1",
            "cache-control: private",
            "cdn-cache-control: no-store",
            "content-encoding: gzip",
            "date: x",
            "etag: \"a\"",
            "set-cookie: s",
            "vary: *",
        ];
        let names: Vec<_> = kept.iter().map(|line| line.split_once(':').unwrap().0).collect();
        let named = format!("connection: x-gone, {}", names.join(", "));
        let mut given = kept.to_vec();
        given.extend([named.as_str(), "x-gone: 1", "te: trailers"]);
        let mut map = fields(&given);
        remove_from_response(StatusCode::OK, &mut map);
        assert_eq!(lines(&map), kept);
        let mut switching = fields(&["connection: upgrade", "upgrade: websocket"]);
        remove_from_response(StatusCode::SWITCHING_PROTOCOLS, &mut switching);
        assert_eq!(lines(&switching), ["connection: upgrade", "upgrade: websocket"]);
    }

    #[test]
    fn trailers_cannot_carry_framing_or_routing() {
        let mut map = fields(&[
            "x-sum: 1",
            "grpc-status: 0",
            "content-length: 5",
            "transfer-encoding: chunked",
            "host: b",
            "connection: close",
            "x-forwarded-for: 192.0.2.1",
            "proxy-authorization: x",
            "range: bytes=0-1",
            "age: 1",
        ]);
        remove_from_trailers(&mut map);
        assert_eq!(lines(&map), ["grpc-status: 0", "x-sum: 1"]);
    }

    #[test]
    fn connection_options_are_read_from_every_line_in_any_case() {
        let check = |given: &[&str], close, keep_alive, upgrade| {
            let expected = ConnectionOptions {
                close,
                keep_alive,
                upgrade,
            };
            assert_eq!(connection_options(&fields(given)), expected, "{given:?}");
        };
        check(&[], false, false, false);
        check(&["connection: Close"], true, false, false);
        check(&["connection: keep-alive, UPGRADE"], false, true, true);
        check(
            &["connection: ,,", "connection:\t", "connection: x,close"],
            true,
            false,
            false,
        );
        check(&["connection: closed, keep-alive=1, \"close\""], false, false, false);
    }

    #[test]
    fn the_bits_of_hop_by_hop_names_are_their_places_in_the_list() {
        for (index, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(HopByHop::index(name.as_str()), Some(index), "{name}");
        }
    }
}
