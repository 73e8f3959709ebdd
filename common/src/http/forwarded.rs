//! Who asked: `X-Forwarded-*` and `Forwarded` (RFC 7239), and whom to believe about it.
//!
//! Called by the front before a request goes on ([`apply`]), and for logs and limits ([`client_address`]). Pure. A peer on
//! a unix socket is a process of this machine: it is trusted when loopback addresses are.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::field_lines::{ConstantLine, FieldLines, LineStart, ValueText};
use super::list;
use super::time_left::TIME_LEFT;

/// What is told to the next hop about the client, and whom to believe.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardedSettings {
    /// Send `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// Send `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Peers whose own such fields are believed and appended to; from others they are removed.
    pub trusted: Vec<IpNetwork>,
}

/// An address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    /// The network's address, host bits zero.
    pub address: IpAddr,
    /// Leading bits that count.
    pub prefix: u8,
}

/// What we know ourselves about a request that came in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The peer's address; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// Whether its connection is encrypted.
    pub tls: bool,
    /// The authority that it asked for, such as `example.com:8080`; `None` where HTTP/1.0 named none.
    pub authority: Option<&'a str>,
}

/// Tells the next hop about the client: removes what an untrusted peer claims, appends what we know.
pub fn apply(settings: &ForwardedSettings, received: &Received<'_>, fields: &mut HeaderMap, added: &mut FieldLines) {
    if !settings.trusts(received.peer) {
        remove_claims(fields);
    }
    if settings.x_forwarded {
        if let Some(peer) = received.peer {
            if fields.contains_key(&X_FORWARDED_FOR) {
                list::append_member(fields, added, &X_FORWARDED_FOR, |text| write_address(text, peer));
            } else {
                added.push_own(&FOR, |text| write_address(text, peer));
            }
        }
        // A trusted proxy nearer to the client saw the client's own scheme and host; ours are those of its connection.
        if !fields.contains_key(&X_FORWARDED_PROTO) {
            added.push_constant(if received.tls { &HTTPS } else { &HTTP });
        }
        if let Some(authority) = received.authority
            && !fields.contains_key(&X_FORWARDED_HOST)
        {
            added.push_own(&HOST, |text| text.write_str(authority));
        }
    }
    if settings.forwarded {
        list::append_member(fields, added, &FORWARDED, |text| write_element(text, received));
    }
}

/// The address of the client: the peer's, or what trusted peers say about it in `X-Forwarded-For`.
///
/// From the right, the first address that is not a trusted proxy's: everything left of it is that client's own claim.
/// A member that is no address ends the walk. `None` when nothing is known (a unix socket without such a field).
pub fn client_address(settings: &ForwardedSettings, peer: Option<IpAddr>, fields: &HeaderMap) -> Option<IpAddr> {
    let mut nearest = peer.map(|address| address.to_canonical());
    if !settings.trusts(peer) {
        return nearest;
    }
    let lines = fields.get_all(&X_FORWARDED_FOR).iter().rev();
    let claims = lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    for claim in claims.filter(|claim| !claim.is_empty()).take(CLAIMS_MAX) {
        let Some(address) = parse_node(claim) else { break };
        nearest = Some(address);
        if !settings.trusts(nearest) {
            break;
        }
    }
    nearest
}

impl ForwardedSettings {
    /// Whether this peer is believed; `None` is a peer on a unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        let covers = |address: IpAddr| self.trusted.iter().any(|network| network.contains(address));
        match peer {
            Some(address) => covers(address),
            None => covers(Ipv4Addr::LOCALHOST.into()) || covers(Ipv6Addr::LOCALHOST.into()),
        }
    }
}

impl IpNetwork {
    /// Whether `address` lies in this block; an IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Writes an address, an IPv4-mapped one as IPv4. Those are written by hand: one for each request that goes on.
fn write_address(text: &mut ValueText<'_>, address: IpAddr) -> fmt::Result {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let (mut room, mut used) = ([0; 15], 0);
            let mut put = |byte: u8| {
                room[used] = byte;
                used += 1;
            };
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    put(b'.');
                }
                if octet >= 100 {
                    put(b'0' + octet / 100);
                }
                if octet >= 10 {
                    put(b'0' + octet / 10 % 10);
                }
                put(b'0' + octet % 10);
            }
            text.write_ascii(&room[..used]);
            Ok(())
        }
        IpAddr::V6(address) => write!(text, "{address}"),
    }
}

/// Removes every field by which a peer could pass for a proxy: `X-Forwarded-…`, `X-Real-IP`, `Forwarded`, and the time that
/// one proxy leaves the next.
fn remove_claims(fields: &mut HeaderMap) {
    let is_claim = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || name == "x-real-ip" || name == "forwarded" || name == TIME_LEFT
    };
    let claims: Vec<_> = fields.keys().filter(is_claim).cloned().collect();
    for name in &claims {
        fields.remove(name);
    }
}

/// Writes one element of `Forwarded`: who asked us, for which host, over which scheme.
///
/// "Also, note that an IPv6 address is always enclosed in square brackets." (RFC 7239 §6.1) Brackets and colons are in no
/// token, so it is quoted (§4). "The "unknown" identifier is used when the identity of the preceding entity is not known,
/// but the proxy server still wants to signal that a forwarding of the request was made." (§6.2)
fn write_element(text: &mut ValueText<'_>, received: &Received<'_>) -> fmt::Result {
    match received.peer.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => write!(text, "for={address}")?,
        Some(IpAddr::V6(address)) => write!(text, "for=\"[{address}]\"")?,
        None => text.write_str("for=unknown")?,
    }
    if let Some(authority) = received.authority {
        text.write_str(";host=")?;
        write_token_or_quoted(text, authority)?;
    }
    text.write_str(";proto=")?;
    text.write_str(scheme(received.tls))
}

/// RFC 7239 §4: `value = token / quoted-string`.
fn write_token_or_quoted(text: &mut impl fmt::Write, value: &str) -> fmt::Result {
    if list::is_token(value.as_bytes()) {
        return text.write_str(value);
    }
    text.write_char('"')?;
    for char in value.chars() {
        if matches!(char, '"' | '\\') {
            text.write_char('\\')?;
        }
        text.write_char(char)?;
    }
    text.write_char('"')
}

/// An address as proxies write it: bare, or with a port, IPv6 then in brackets.
fn parse_node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|node| node.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

const fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Members of `X-Forwarded-For` that are looked at; no client is behind more trusted proxies.
const CLAIMS_MAX: usize = 64;

/// What is told of a request that claims nothing.
const FOR: LineStart = LineStart::new("x-forwarded-for: ");
const HOST: LineStart = LineStart::new("x-forwarded-host: ");
const HTTP: ConstantLine = ConstantLine::new("x-forwarded-proto", "x-forwarded-proto: http\r\n");
const HTTPS: ConstantLine = ConstantLine::new("x-forwarded-proto", "x-forwarded-proto: https\r\n");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(x_forwarded: bool, forwarded: bool, trusted: &[&str]) -> ForwardedSettings {
        let network = |text: &&str| {
            let (address, prefix) = text.split_once('/').unwrap();
            IpNetwork {
                address: address.parse().unwrap(),
                prefix: prefix.parse().unwrap(),
            }
        };
        ForwardedSettings {
            x_forwarded,
            forwarded,
            trusted: trusted.iter().map(network).collect(),
        }
    }

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            map.append(
                HeaderName::try_from(name).unwrap(),
                http::HeaderValue::try_from(value).unwrap(),
            );
        }
        map
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = map
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    fn apply_all(settings: &ForwardedSettings, received: &Received<'_>, map: &mut HeaderMap) {
        let mut added = FieldLines::default();
        apply(settings, received, map, &mut added);
        added.append_to(map);
    }

    const CLAIMS: &[&str] = &[
        "forwarded: for=1.1.1.1",
        "x-forwarded-for: 1.1.1.1",
        "x-forwarded-for: 2.2.2.2",
        "x-forwarded-host: their.example",
        "x-forwarded-port: 8443",
        "x-forwarded-proto: https",
        "x-real-ip: 1.1.1.1",
    ];

    #[test]
    fn an_untrusted_peer_claims_nothing_and_a_trusted_one_is_appended_to() {
        let trusting = ["10.0.0.0/8"];
        type Row<'a> = (bool, bool, &'a str, &'a [&'a str], &'a [&'a str]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            (true, false, "192.0.2.1", CLAIMS, &["x-forwarded-for: 192.0.2.1", "x-forwarded-host: a.example:81", "x-forwarded-proto: http"]),
            (true, false, "::ffff:192.0.2.1", &[], &["x-forwarded-for: 192.0.2.1", "x-forwarded-host: a.example:81", "x-forwarded-proto: http"]),
            (true, false, "2001:db8::1", &[], &["x-forwarded-for: 2001:db8::1", "x-forwarded-host: a.example:81", "x-forwarded-proto: http"]),
            (false, false, "192.0.2.1", CLAIMS, &[]),
            (false, true, "192.0.2.1", CLAIMS, &[r#"forwarded: for=192.0.2.1;host="a.example:81";proto=http"#]),
            (false, true, "2001:db8::1", &[], &[r#"forwarded: for="[2001:db8::1]";host="a.example:81";proto=http"#]),
            (true, true, "10.1.2.3", CLAIMS, &[
                r#"forwarded: for=1.1.1.1, for=10.1.2.3;host="a.example:81";proto=http"#,
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.1.2.3", "x-forwarded-host: their.example",
                "x-forwarded-port: 8443", "x-forwarded-proto: https", "x-real-ip: 1.1.1.1",
            ]),
            (true, false, "::ffff:10.1.2.3", &["x-forwarded-for: 1.1.1.1"], &["x-forwarded-for: 1.1.1.1, 10.1.2.3", "x-forwarded-host: a.example:81", "x-forwarded-proto: http"]),
        ];
        for (x, f, peer, given, expected) in rows {
            let mut map = fields(given);
            let received = Received {
                peer: Some(peer.parse().unwrap()),
                tls: false,
                authority: Some("a.example:81"),
            };
            apply_all(&settings(*x, *f, &trusting), &received, &mut map);
            assert_eq!(lines(&map), *expected, "{peer} {given:?}");
        }
    }

    #[test]
    fn a_peer_on_a_unix_socket_is_unknown_and_trusted_as_loopback_is() {
        for (trusted, expected) in [
            (&["127.0.0.0/8"][..], "for=1.1.1.1, for=unknown;host=a;proto=https"),
            (&["::1/128"], "for=1.1.1.1, for=unknown;host=a;proto=https"),
            (&["10.0.0.0/8"], "for=unknown;host=a;proto=https"),
        ] {
            let mut map = fields(&["forwarded: for=1.1.1.1"]);
            let received = Received {
                peer: None,
                tls: true,
                authority: Some("a"),
            };
            apply_all(&settings(true, true, trusted), &received, &mut map);
            assert_eq!(map["forwarded"], expected);
            assert!(!map.contains_key("x-forwarded-for"));
        }
    }

    #[test]
    fn quoting_leaves_no_way_out_of_a_value() {
        let mut element = String::new();
        write_token_or_quoted(&mut element, r#"a";for=b\"#).unwrap();
        assert_eq!(element, r#""a\";for=b\\""#);
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_not_a_trusted_proxy() {
        let settings = settings(true, false, &["10.0.0.0/8", "2001:db8:a::/48", "127.0.0.1/32"]);
        let long = format!("x-forwarded-for: 9.9.9.9{}", ", 10.0.0.1".repeat(64));
        #[rustfmt::skip]
        let rows: &[(Option<&str>, &[&str], Option<&str>)] = &[
            (Some("192.0.2.1"), &[], Some("192.0.2.1")),
            (Some("192.0.2.1"), &["x-forwarded-for: 1.1.1.1"], Some("192.0.2.1")),
            (Some("10.0.0.1"), &[], Some("10.0.0.1")),
            (Some("10.0.0.1"), &["x-forwarded-for: 1.1.1.1"], Some("1.1.1.1")),
            (Some("::ffff:10.0.0.1"), &["x-forwarded-for: ::ffff:1.1.1.1"], Some("1.1.1.1")),
            (Some("10.0.0.1"), &["x-forwarded-for: 6.6.6.6, 1.1.1.1 ,10.0.0.9"], Some("1.1.1.1")),
            (Some("10.0.0.1"), &["x-forwarded-for: 6.6.6.6", "x-forwarded-for: 1.1.1.1", "x-forwarded-for: , 10.0.0.9,"], Some("1.1.1.1")),
            (Some("10.0.0.1"), &["x-forwarded-for: 10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            (Some("10.0.0.1"), &["x-forwarded-for: 1.1.1.1, unknown"], Some("10.0.0.1")),
            (Some("10.0.0.1"), &["x-forwarded-for: 1.1.1.1, \"x\", 10.0.0.2"], Some("10.0.0.2")),
            (Some("10.0.0.1"), &["x-forwarded-for: 1.1.1.1:4711"], Some("1.1.1.1")),
            (Some("2001:db8:a::1"), &["x-forwarded-for: [2001:db8:b::1]:4711"], Some("2001:db8:b::1")),
            (Some("2001:db8:a::1"), &["x-forwarded-for: [2001:db8:b::1]"], Some("2001:db8:b::1")),
            (Some("10.0.0.1"), &[&long], Some("10.0.0.1")),
            (None, &["x-forwarded-for: 1.1.1.1"], Some("1.1.1.1")),
            (None, &[], None),
        ];
        for (peer, given, expected) in rows {
            let peer = peer.map(|text| text.parse().unwrap());
            let expected: Option<IpAddr> = expected.map(|text| text.parse().unwrap());
            assert_eq!(
                client_address(&settings, peer, &fields(given)),
                expected,
                "{peer:?} {given:?}"
            );
        }
    }

    #[test]
    fn a_network_contains_what_shares_its_prefix() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.1/32", "::ffff:192.0.2.1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
        ] {
            let settings = settings(false, false, &[network]);
            assert_eq!(
                settings.trusts(Some(address.parse().unwrap())),
                expected,
                "{network} {address}"
            );
        }
    }
}
