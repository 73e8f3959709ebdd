//! Where to listen, where servers are, address blocks, files.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use common::backend::settings::{ServerAddress, ServerSettings};
use common::http::forwarded::IpNetwork;
use common::net::address_block::{self, BlockError};
use common::net::address_list::ListItem;
use common::net::settings::{Backlog, ListenAddress};
use common::telemetry::access_log::AccessLogTarget;
use toml::Spanned;
use toml::de::DeValue;

use super::scalar::{Count, Text};
use crate::defaults;
use crate::problem::Wrong;
use crate::schema::{Codec, Spot};

/// A place to listen; the mode of a unix socket is its default.
pub(crate) const ADDRESS: Text<ListenAddress> = Text {
    kind: "address such as \"0.0.0.0:80\", \"[::]:80\" or \"unix:/path\"",
    parse: parse_listen_address,
    print: print_listen_address,
};

/// A server to connect to, with an ordinary weight; `https://` says that TLS is spoken to it.
pub(crate) const SERVER: Text<ServerSettings> = Text {
    kind: "server such as \"10.0.0.7:8080\", \"name:80\", \"https://name\", \"srv:_http._tcp.name\" or \"unix:/path\"",
    parse: parse_server,
    print: print_server,
};

/// A part of a whole.
pub(crate) const SHARE: Text<f64> = Text {
    kind: "percentage such as \"0.1%\"",
    parse: |text| {
        let percent = text
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok());
        match percent {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
            _ => Err(Wrong::from(format!(
                "expected a percentage from \"0%\" to \"100%\"; found {text:?}"
            ))),
        }
    },
    // Six digits: 0.1 % is 0.001, which is no binary fraction.
    print: |share| format!("{}%", (share * 1e8).round() / 1e6),
};

/// An admin listener to ask; `https://` says that it speaks TLS.
pub(crate) const ADMIN_SERVER: Text<ServerSettings> = Text {
    kind: "admin listener such as \"10.0.0.7:9900\", \"https://name:9900\" or \"unix:/path\"",
    parse: |text| {
        let server = parse_server(text)?;
        if matches!(server.address, ServerAddress::Service(_)) {
            return Err(Wrong::from(format!(
                "{text:?}: admin listeners are not looked up by service; write a host and a port"
            )));
        }
        Ok(server)
    },
    print: print_server,
};

/// An address block.
pub(crate) const NETWORK: Text<IpNetwork> = Text {
    kind: "address block such as \"10.0.0.0/8\"",
    parse: parse_network,
    print: address_block::print,
};

/// An address block, or a file of them.
pub(crate) const LIST_ITEM: Text<ListItem> = Text {
    kind: "address block such as \"10.0.0.0/8\", or \"file:/path\" with one per line",
    parse: parse_list_item,
    print: |item| match item {
        ListItem::Block(block) => address_block::print(block),
        ListItem::File(path) => format!("file:{}", path.display()),
    },
};

/// An IP address.
pub(crate) const IP: Text<IpAddr> = Text {
    kind: "IP address such as \"10.0.0.1\"",
    parse: |text| {
        text.parse()
            .map_err(|_| Wrong::from(format!("{text:?} is not an IP address, such as \"10.0.0.1\"")))
    },
    print: ToString::to_string,
};

/// A name server.
pub(crate) const NAME_SERVER: Text<SocketAddr> = Text {
    kind: "name server such as \"10.0.0.53\" or \"127.0.0.1:8600\"",
    parse: |text| {
        let with_port = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        let alone = || Some(SocketAddr::new(text.parse().ok()?, DNS_PORT));
        with_port.or_else(alone).ok_or_else(|| {
            Wrong::from(format!(
                "{text:?} is not a name server's address, such as \"10.0.0.53\" or \"[fd00::53]:53\""
            ))
        })
    },
    print: ToString::to_string,
};

const DNS_PORT: u16 = 53;

/// Permission bits of a file.
pub(crate) const MODE: Text<u32> = Text {
    kind: "permission bits such as \"0660\"",
    parse: parse_mode,
    print: |mode| format!("{mode:04o}"),
};

/// Where the access log goes.
pub(crate) const LOG_TARGET: Text<AccessLogTarget> = Text {
    kind: "\"stdout\" or an absolute file path",
    parse: parse_log_target,
    print: |target| match target {
        AccessLogTarget::Stdout => "stdout".to_owned(),
        AccessLogTarget::File(path) => path.display().to_string(),
    },
};

/// A file.
pub(crate) const FILE: Text<PathBuf> = Text {
    kind: "absolute file path",
    parse: |text| {
        let path = PathBuf::from(text);
        if path.is_absolute() && !text.contains('\0') {
            Ok(path)
        } else {
            Err(Wrong::from(format!("expected an absolute file path; found {text:?}")))
        }
    },
    print: |path| path.display().to_string(),
};

/// A directory that is there already.
pub(crate) const DIRECTORY: Text<PathBuf> = Text {
    kind: "absolute path of a directory",
    parse: |text| match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err(Wrong::from(format!("{text:?} does not begin with \"/\""))),
    },
    print: |path| path.display().to_string(),
};

/// What `listen()` is given: `"auto"` or a number.
pub(crate) struct BacklogCodec;

impl Codec<Backlog> for BacklogCodec {
    fn kind(&self) -> String {
        format!("\"auto\" or {}", Codec::<u32>::kind(&BACKLOG))
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Backlog> {
        match value.get_ref() {
            DeValue::String(text) if text == "auto" => Some(Backlog::Auto),
            DeValue::Integer(_) => BACKLOG.read(value, spot).map(Backlog::Fixed),
            DeValue::String(text) => spot.refuse(format!("expected \"auto\" or a number; found {text:?}")),
            other => spot.refuse_type(other, "\"auto\" or a number"),
        }
    }

    fn write(&self, value: &Backlog) -> Option<String> {
        Some(match value {
            Backlog::Auto => "\"auto\"".to_owned(),
            Backlog::Fixed(connections) => connections.to_string(),
        })
    }
}

/// `listen()` takes an `int`.
const BACKLOG: Count = Count {
    min: 1,
    max: i32::MAX as u64,
};

fn parse_listen_address(text: &str) -> Result<ListenAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = socket_path(path)?;
        return Ok(ListenAddress::Unix {
            path,
            mode: defaults::SOCKET_MODE,
        });
    }
    if let Ok(address) = text.parse() {
        return Ok(ListenAddress::Tcp(address));
    }
    let wrong = Wrong::from(format!(
        "{text:?} is not an address to listen on, such as \"0.0.0.0:80\""
    ));
    Err(match text.strip_prefix('*').unwrap_or(text).strip_prefix(':') {
        Some(port) if port.parse::<u16>().is_ok() => wrong.hint(format!(
            "\"0.0.0.0:{port}\" is every IPv4 address, \"[::]:{port}\" every IPv6 one"
        )),
        _ if text.parse::<u16>().is_ok() => wrong.hint(format!("did you mean \"0.0.0.0:{text}\"?")),
        _ if text.parse::<IpAddr>().is_ok() => wrong.hint("the port is missing"),
        _ if text.starts_with('/') => wrong.hint(format!("did you mean \"unix:{text}\"?")),
        _ if text.contains("://") => wrong.hint("without a scheme"),
        _ => match split_port(text) {
            Some((host, _)) if is_host_name(host) => wrong.hint("names are not resolved here; write the IP address"),
            _ => wrong,
        },
    })
}

fn print_listen_address(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

fn parse_server(text: &str) -> Result<ServerSettings, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(|path| ServerAddress::Unix(path).into());
    }
    let is_tls = text.starts_with("https://");
    let with_scheme = [("https://", 443), ("http://", 80)]
        .into_iter()
        .find_map(|(scheme, port)| Some((text.strip_prefix(scheme)?, port)));
    let (authority, default_port) = match with_scheme {
        Some((rest, port)) => (rest.strip_suffix('/').unwrap_or(rest), Some(port)),
        None => (text, None),
    };
    if let Some(service) = authority.strip_prefix("srv:") {
        return parse_service(text, service).map(|address| ServerSettings {
            is_tls,
            ..address.into()
        });
    }
    if let Some((before, _)) = authority.split_once('/') {
        let wrong = Wrong::from(format!("{text:?} has a path; a server is a host and a port"));
        return Err(if is_host_name(before) || before.contains(':') {
            let scheme = if is_tls { "https://" } else { "" };
            wrong.hint(format!("did you mean \"{scheme}{before}\"?"))
        } else {
            wrong
        });
    }
    let with_port = default_port.map(|port| format!("{authority}:{port}"));
    let candidates = [Some(authority), with_port.as_deref()];
    let server = candidates.into_iter().flatten().find_map(host_and_port);
    let settings = |address: ServerAddress| ServerSettings {
        is_tls,
        ..address.into()
    };
    server.map(settings).ok_or_else(|| not_a_server(text, authority))
}

/// What SRV records are asked for; they tell the ports.
fn parse_service(text: &str, service: &str) -> Result<ServerAddress, Wrong> {
    if is_host_name(service) {
        return Ok(ServerAddress::Service(service.to_ascii_lowercase()));
    }
    let wrong = Wrong::from(format!(
        "{text:?} is not a service, such as \"srv:_http._tcp.example.com\""
    ));
    Err(match split_port(service) {
        Some((name, _)) if is_host_name(name) => wrong.hint("SRV records tell the ports"),
        _ => wrong,
    })
}

/// A literal address or a name, with a port that is not 0.
fn host_and_port(text: &str) -> Option<ServerAddress> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(ServerAddress::Socket(address));
    }
    let (host, port) = split_port(text)?;
    let is_name = is_host_name(host) && !looks_like_ipv4(host);
    (is_name && port != 0).then(|| ServerAddress::Name {
        host: host.to_ascii_lowercase(),
        port,
    })
}

fn not_a_server(text: &str, authority: &str) -> Wrong {
    let wrong = Wrong::from(format!(
        "{text:?} is not a server, such as \"10.0.0.7:8080\" or \"name:80\""
    ));
    match authority.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => wrong.hint(format!("the port is missing: \"[{ip}]:80\"")),
        Ok(IpAddr::V4(ip)) => wrong.hint(format!("the port is missing: \"{ip}:80\"")),
        Err(_) if is_host_name(authority) => wrong.hint(format!("the port is missing: \"{authority}:80\"")),
        Err(_) if text.starts_with('/') => wrong.hint(format!("did you mean \"unix:{text}\"?")),
        Err(_) => wrong,
    }
}

fn print_server(server: &ServerSettings) -> String {
    let scheme = if server.is_tls { "https://" } else { "" };
    format!("{scheme}{}", server.address)
}

fn socket_path(path: &str) -> Result<PathBuf, Wrong> {
    if !path.starts_with('/') {
        return Err(Wrong::from(
            "the path of a unix socket must begin with \"/\", such as \"unix:/run/tidegate.sock\"",
        ));
    }
    if path.len() > SOCKET_PATH_MAX {
        let message = format!(
            "the path of a unix socket may have at most {SOCKET_PATH_MAX} bytes, this one has {}",
            path.len()
        );
        return Err(Wrong::from(message));
    }
    Ok(PathBuf::from(path))
}

/// `sockaddr_un.sun_path` has 108 bytes with its NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_digits = port.bytes().all(|b| b.is_ascii_digit());
    if is_digits {
        Some((host, port.parse().ok()?))
    } else {
        None
    }
}

/// A DNS name as it is asked for (RFC 1123 §2.1), with underscores as they are used inside clusters.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

/// `10.0.0.300` is a mistyped address, not a name.
fn looks_like_ipv4(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn parse_network(text: &str) -> Result<IpNetwork, Wrong> {
    address_block::parse(text).map_err(|error| {
        let wrong = Wrong::from(error.to_string());
        match error {
            BlockError::HostBits { meant, .. } => wrong.hint(format!("did you mean {meant:?}?")),
            BlockError::NotABlock(_) | BlockError::PrefixTooLong { .. } => wrong,
        }
    })
}

fn parse_list_item(text: &str) -> Result<ListItem, Wrong> {
    match text.strip_prefix("file:") {
        None => parse_network(text).map(ListItem::Block),
        Some(path) if path.starts_with('/') && !path.ends_with('/') => Ok(ListItem::File(PathBuf::from(path))),
        Some(path) => Err(Wrong::from(format!(
            "the path of a file must begin with \"/\"; found {path:?}"
        ))),
    }
}

fn parse_mode(text: &str) -> Result<u32, Wrong> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err(Wrong::from(format!(
            "{text:?} is not permission bits in octal, such as \"0660\""
        ))),
    }
}

fn parse_log_target(text: &str) -> Result<AccessLogTarget, Wrong> {
    match text {
        "stdout" => Ok(AccessLogTarget::Stdout),
        path if path.starts_with('/') && !path.ends_with('/') => Ok(AccessLogTarget::File(PathBuf::from(path))),
        other => Err(Wrong::from(format!(
            "{other:?} is neither \"stdout\" nor a file path that begins with \"/\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_in_several_ways() {
        for (text, printed) in [
            ("10.9.0.7:8080", "10.9.0.7:8080"),
            ("[fd00::7]:80", "[fd00::7]:80"),
            ("Origin.Example.com:80", "origin.example.com:80"),
            ("cache_1.default.svc:6081", "cache_1.default.svc:6081"),
            ("http://10.9.0.7:8080", "10.9.0.7:8080"),
            ("http://10.9.0.7:8080/", "10.9.0.7:8080"),
            ("http://origin", "origin:80"),
            ("http://[::1]", "[::1]:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(
                parse_server(text).map(|s| print_server(&s)).ok().as_deref(),
                Some(printed),
                "{text}"
            );
        }
        for text in [
            "",
            "10.0.0.7",
            "10.0.0.300:80",
            "a:0",
            "a:65536",
            "a b:80",
            "::1:x",
            "unix:x",
            "http://",
            "a:+8",
        ] {
            assert!(parse_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn address_blocks_have_no_bits_behind_their_prefix() {
        for (text, block) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("fd00::/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("10.0.0.1/8", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/", None),
            ("x/8", None),
        ] {
            let printed = parse_network(text).ok().map(|network| (NETWORK.print)(&network));
            assert_eq!(printed.as_deref(), block, "{text}");
        }
    }
}
