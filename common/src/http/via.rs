//! `Via` (RFC 9110 §7.6.3), and loop detection by `CDN-Loop` (RFC 8586).
//!
//! Each process is a node with an id of its own, so that front → cache server → origin is no loop, and the same process
//! twice is one. A limit on hops is the second guard, for loops through nodes that change their id or strip `CDN-Loop`.

use std::fmt::Write as _;

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};

use super::field_lines::{ConstantLine, FieldLines};
use super::list;

/// The name that tidegate goes by in `Via`, `Cache-Status` and `Proxy-Status`.
pub const PSEUDONYM: &str = "tidegate";

/// More members than this in `CDN-Loop`, or in `Via`, count as a loop.
pub const HOPS_MAX: usize = 20;

/// This process's `cdn-id`, `tidegate-<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    // INVARIANT: a token (RFC 9110 §5.6.2), so that it needs no quoting.
    cdn_id: String,
    /// CDN-Loop as it begins here.
    first: FieldLines,
}

impl NodeId {
    /// The node that calls itself `id`; `None` when that is not a token of at most 64 bytes.
    ///
    /// The caller makes it, unique per process.
    pub fn new(id: &str) -> Option<Self> {
        if id.len() > 64 || !list::is_token(id.as_bytes()) {
            return None;
        }
        let cdn_id = format!("{PSEUDONYM}-{id}");
        let mut first = FieldLines::default();
        first.push_display(&CDN_LOOP, &cdn_id);
        first.shrink_to_fit();
        Some(Self { cdn_id, first })
    }

    /// The `cdn-id` as it stands in `CDN-Loop`.
    pub fn as_str(&self) -> &str {
        &self.cdn_id
    }
}

/// Whether a request has passed through `node` before, or through more nodes than anybody has in a row.
pub fn has_passed(fields: &HeaderMap, node: &NodeId) -> bool {
    let mut hops = 0;
    for info in list::members_of(fields, &CDN_LOOP) {
        // RFC 8586 §2: `cdn-info = cdn-id *( OWS ";" OWS parameter )`
        let cdn_id = info.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        hops += 1;
        if hops > HOPS_MAX || cdn_id.eq_ignore_ascii_case(node.as_str().as_bytes()) {
            return true;
        }
    }
    via_hops(fields) > HOPS_MAX
}

/// Adds this node to a request that goes on.
///
/// RFC 8586 §2: "Conforming Content Delivery Networks SHOULD add a cdn-info to this header field in all requests they
/// generate or forward (creating the header field if necessary)."
pub fn append_cdn_loop(fields: &mut HeaderMap, added: &mut FieldLines, node: &NodeId) {
    list::append_member(fields, added, &CDN_LOOP, |text| text.write_str(node.as_str()));
}

/// Adds this node to a request that was received in this version and has passed no other: it has neither field yet.
pub fn begin(added: &mut FieldLines, received: Version, node: &NodeId) {
    added.push_constant(via_line(received));
    added.extend(&node.first);
}

/// Adds us to the `Via` of a message that goes on.
///
/// "An HTTP-to-HTTP gateway MUST send an appropriate Via header field in each inbound request message and MAY send a Via
/// header field in forwarded response messages." (RFC 9110 §7.6.3)
pub fn append_via(fields: &mut HeaderMap, added: &mut FieldLines, received: Version) {
    list::append_member(fields, added, &VIA, |text| text.write_str(via_member(received)));
}

/// `Via` for a message that was received in this version and has none yet.
const fn via_line(received: Version) -> &'static ConstantLine {
    match received {
        Version::HTTP_09 => const { &ConstantLine::new("via", "via: 0.9 tidegate\r\n") },
        Version::HTTP_10 => const { &ConstantLine::new("via", "via: 1.0 tidegate\r\n") },
        Version::HTTP_2 => const { &ConstantLine::new("via", "via: 2 tidegate\r\n") },
        Version::HTTP_3 => const { &ConstantLine::new("via", "via: 3 tidegate\r\n") },
        _ => const { &ConstantLine::new("via", "via: 1.1 tidegate\r\n") },
    }
}

/// Our member of `Via` for a message that was received in this version.
///
/// "For brevity, the protocol-name is omitted when the received protocol is HTTP." (RFC 9110 §7.6.3)
pub const fn via_member(received: Version) -> &'static str {
    match received {
        Version::HTTP_09 => "0.9 tidegate",
        Version::HTTP_10 => "1.0 tidegate",
        Version::HTTP_2 => "2 tidegate",
        Version::HTTP_3 => "3 tidegate",
        _ => "1.1 tidegate",
    }
}

/// At least the number of members of `Via`: commas in comments count too, which only a hostile sender would have 20 of.
fn via_hops(fields: &HeaderMap) -> usize {
    let commas = |line: &HeaderValue| memchr::memchr_iter(b',', line.as_bytes()).count();
    fields.get_all(VIA).iter().map(|line| 1 + commas(line)).sum()
}

static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_recognises_itself_and_only_itself() {
        let node = NodeId::new("7f3a").unwrap();
        let many = |count| vec!["cdn"; count].join(", ");
        #[rustfmt::skip]
        let rows = [
            (vec![], false),
            (vec!["cdn-loop: tidegate-7f3a"], true),
            (vec!["cdn-loop: Tidegate-7F3A"], true),
            (vec!["cdn-loop: foo; a=\"x, y\", tidegate-7f3a ; v=1"], true),
            (vec!["cdn-loop: foo", "cdn-loop: bar, tidegate-7f3a"], true),
            (vec!["cdn-loop: foo; a=\", tidegate-7f3a, bar; b=\"v\""], true),
            (vec!["cdn-loop: tidegate-7f3b, tidegate, tidegate-7f3aa"], false),
            (vec!["cdn-loop: foo; a=\"b, tidegate-7f3a\""], false),
            (vec!["cdn-loop: foo; tidegate-7f3a=1"], false),
            (vec!["via: 1.1 tidegate, 1.1 tidegate"], false),
        ];
        for (given, expected) in rows {
            assert_eq!(has_passed(&fields(&given), &node), expected, "{given:?}");
        }
        for name in ["cdn-loop", "via"] {
            assert!(
                !has_passed(&fields(&[&format!("{name}: {}", many(20))]), &node),
                "{name}"
            );
            assert!(
                has_passed(&fields(&[&format!("{name}: {}", many(21))]), &node),
                "{name}"
            );
            let (half, other) = (format!("{name}: {}", many(11)), format!("{name}: {}", many(10)));
            assert!(has_passed(&fields(&[&half, &other]), &node), "{name} in two lines");
        }
    }

    #[test]
    fn front_and_cache_server_in_a_row_are_no_loop_but_the_same_node_twice_is() {
        let (front, cache) = (NodeId::new("front").unwrap(), NodeId::new("cache").unwrap());
        let mut request = HeaderMap::new();
        for node in [&front, &cache] {
            assert!(!has_passed(&request, node));
            let mut added = FieldLines::default();
            append_cdn_loop(&mut request, &mut added, node);
            append_via(&mut request, &mut added, Version::HTTP_11);
            added.append_to(&mut request);
        }
        assert_eq!(request["cdn-loop"], "tidegate-front, tidegate-cache");
        assert_eq!(request["via"], "1.1 tidegate, 1.1 tidegate");
        assert!(has_passed(&request, &front) && has_passed(&request, &cache));
    }

    #[test]
    fn a_request_that_passed_nobody_else_gets_the_same_lines_as_one_that_did() {
        let node = NodeId::new("7f3a").unwrap();
        for version in [
            Version::HTTP_09,
            Version::HTTP_10,
            Version::HTTP_11,
            Version::HTTP_2,
            Version::HTTP_3,
        ] {
            let (mut appended, mut begun) = (FieldLines::default(), FieldLines::default());
            append_via(&mut HeaderMap::new(), &mut appended, version);
            append_cdn_loop(&mut HeaderMap::new(), &mut appended, &node);
            begin(&mut begun, version, &node);
            assert_eq!(begun, appended);
        }
    }

    #[test]
    fn via_names_the_version_that_was_received() {
        for (version, expected) in [
            (Version::HTTP_10, "1.0 tidegate"),
            (Version::HTTP_11, "1.1 tidegate"),
            (Version::HTTP_2, "2 tidegate"),
        ] {
            let mut message = fields(&["via: 1.0 fred (a, b)", "via: 1.1 p.example"]);
            let mut added = FieldLines::default();
            append_via(&mut message, &mut added, version);
            added.append_to(&mut message);
            assert_eq!(message["via"], format!("1.0 fred (a, b), 1.1 p.example, {expected}"));
            assert_eq!(message.get_all("via").iter().count(), 1);
            assert!(expected.ends_with(PSEUDONYM));
        }
    }

    #[test]
    fn a_node_id_is_a_token() {
        for bad in ["", "a b", "a,b", "a;b", "a\r\nb", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(NodeId::new(bad), None, "{bad:?}");
        }
    }

    fn fields(lines: &[&str]) -> HeaderMap {
        let pairs = lines.iter().map(|line| line.split_once(": ").unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        map
    }
}
