//! The kernel settings that decide over handshakes, read by name below a root.
//!
//! A setting that a kernel or a namespace does not have is unavailable with its reason, never 0. Each is one small file;
//! all of them cost about 0.1 ms, so they are read with every sample and drift shows within a second.

use super::reading::Reading;
use super::root::ProcRoot;
use super::sockstat::Conntrack;

macro_rules! settings {
    ($($id:ident: $kind:ty = $path:literal, $doc:literal;)*) => {
        /// The settings of one moment.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Sysctls {
            $(#[doc = $doc] pub $id: Reading<$kind>,)*
            /// The connection-tracking table; absent without the module.
            pub conntrack: Reading<Conntrack>,
        }

        impl Sysctls {
            /// Reads all of them.
            pub fn read(root: &ProcRoot) -> Self {
                Self {
                    $($id: root.sysctl($path).and_then(|text| <$kind as Setting>::read(&text)),)*
                    conntrack: conntrack(root),
                }
            }

            /// The path below `/proc/sys` of each setting, by its field's name.
            pub const PATHS: &'static [(&'static str, &'static str)] = &[$((stringify!($id), $path),)*];
        }
    };
}

settings! {
    tcp_tw_recycle: i64 = "net/ipv4/tcp_tw_recycle", "Quick end of TIME_WAIT that loses clients behind NAT; removed in 4.12.";
    tcp_tw_reuse: i64 = "net/ipv4/tcp_tw_reuse", "`connect()` may take a port in TIME_WAIT: 0 no, 1 yes, 2 (≥ 4.19) on loopback only.";
    tcp_timestamps: i64 = "net/ipv4/tcp_timestamps", "RFC 7323 timestamps: 0 off, 1 random offsets, 2 (≥ 4.10) raw clock.";
    tcp_syncookies: i64 = "net/ipv4/tcp_syncookies", "SYN cookies: 0 never, 1 when the SYN queue is full, 2 always.";
    tcp_max_syn_backlog: i64 = "net/ipv4/tcp_max_syn_backlog", "Room for half-open connections.";
    tcp_abort_on_overflow: i64 = "net/ipv4/tcp_abort_on_overflow", "A full accept queue answers the final ACK with RST.";
    tcp_max_tw_buckets: i64 = "net/ipv4/tcp_max_tw_buckets", "The most sockets in TIME_WAIT.";
    tcp_fin_timeout: i64 = "net/ipv4/tcp_fin_timeout", "Seconds in `FIN_WAIT_2` (not in TIME_WAIT).";
    tcp_migrate_req: i64 = "net/ipv4/tcp_migrate_req", "A closed `SO_REUSEPORT` listener's queue moves to another (≥ 5.14).";
    tcp_mem: [u64; 3] = "net/ipv4/tcp_mem", "Pages for all TCP buffers: low, pressure, limit.";
    ip_local_port_range: [u64; 2] = "net/ipv4/ip_local_port_range", "First and last port for outgoing connections.";
    ip_local_reserved_ports: ReservedPorts = "net/ipv4/ip_local_reserved_ports", "Ports taken out of that range.";
    rp_filter_all: i64 = "net/ipv4/conf/all/rp_filter", "Reverse path filter, for all interfaces.";
    rp_filter_default: i64 = "net/ipv4/conf/default/rp_filter", "Reverse path filter, for interfaces to come.";
    somaxconn: i64 = "net/core/somaxconn", "The most that `listen()` gets as backlog.";
    netdev_max_backlog: i64 = "net/core/netdev_max_backlog", "Packets that wait for a CPU.";
    file_max: u64 = "fs/file-max", "Open files of the whole machine.";
}

impl Sysctls {
    /// How many local ports there are towards one destination address and port.
    pub fn local_ports(&self) -> Option<u64> {
        let [first, last] = self.ip_local_port_range.get()?;
        let ports = (last + 1).checked_sub(first)?;
        let reserved = self
            .ip_local_reserved_ports
            .as_ref()
            .ok()
            .map_or(0, |reserved| reserved.within(first, last));
        Some(ports.saturating_sub(reserved))
    }
}

/// Ports of `ip_local_reserved_ports`, as inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedPorts(Vec<(u64, u64)>);

impl ReservedPorts {
    /// How many of them lie between `first` and `last`, both included.
    pub fn within(&self, first: u64, last: u64) -> u64 {
        let ranges = self.0.iter().map(|&(from, to)| (from.max(first), to.min(last)));
        ranges.map(|(from, to)| (to + 1).saturating_sub(from)).sum()
    }
}

/// A value as a sysctl file writes it.
trait Setting: Sized {
    fn read(text: &str) -> Reading<Self>;
}

impl Setting for i64 {
    fn read(text: &str) -> Reading<Self> {
        Reading::expect_form(text.trim().parse().ok(), "one number")
    }
}

impl Setting for u64 {
    fn read(text: &str) -> Reading<Self> {
        Reading::expect_form(text.trim().parse().ok(), "one number")
    }
}

impl<const N: usize> Setting for [u64; N] {
    fn read(text: &str) -> Reading<Self> {
        let numbers: Option<Vec<u64>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        Reading::expect_form(numbers.and_then(|numbers| numbers.try_into().ok()), "a row of numbers")
    }
}

impl Setting for ReservedPorts {
    fn read(text: &str) -> Reading<Self> {
        let port = |word: &str| word.parse().ok().filter(|&port| port <= u64::from(u16::MAX));
        let range = |word: &str| match word.split_once('-') {
            Some((from, to)) => Some((port(from)?, port(to)?)),
            None => port(word).map(|port| (port, port)),
        };
        let words = text.trim().split(',').filter(|word| !word.is_empty());
        Reading::expect_form(words.map(range).collect::<Option<_>>().map(Self), "ports and ranges")
    }
}

fn conntrack(root: &ProcRoot) -> Reading<Conntrack> {
    let number = |name: &str| root.sysctl(name).and_then(|text| <u64 as Setting>::read(&text));
    let max = number("net/netfilter/nf_conntrack_max");
    max.and_then(|max| number("net/netfilter/nf_conntrack_count").map(|count| Conntrack { count, max }))
}

#[cfg(test)]
mod tests {
    use super::super::reading::Why;
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Sysctls) {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = dir.path().join("proc/sys").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        let sysctls = Sysctls::read(&ProcRoot::new(dir.path()));
        (dir, sysctls)
    }

    #[test]
    fn a_setting_is_a_value_or_says_why_not() {
        let (_dir, sysctls) = tree(&[
            ("net/ipv4/tcp_syncookies", "1\n"),
            ("net/ipv4/tcp_mem", "287898\t383867\t575796\n"),
            ("net/ipv4/tcp_tw_reuse", "yes\n"),
            ("net/ipv4/tcp_max_tw_buckets", ""),
            ("net/netfilter/nf_conntrack_max", "5796\n"),
            ("net/netfilter/nf_conntrack_count", "739\n"),
        ]);
        assert_eq!(sysctls.tcp_syncookies, Reading::Available(1));
        assert_eq!(sysctls.tcp_mem, Reading::Available([287_898, 383_867, 575_796]));
        assert_eq!(sysctls.tcp_tw_recycle, Reading::Unavailable(Why::Absent));
        assert_eq!(sysctls.tcp_tw_reuse, Reading::Unavailable(Why::Malformed("one number")));
        assert_eq!(
            sysctls.tcp_max_tw_buckets,
            Reading::Unavailable(Why::Malformed("one number"))
        );
        assert_eq!(
            sysctls.conntrack,
            Reading::Available(Conntrack { count: 739, max: 5796 })
        );
    }

    #[test]
    fn reserved_ports_are_not_for_connections() {
        for (range, reserved, expected) in [
            ("32768\t60999\n", "\n", Some(28_232)),
            ("32768 60999", "8080,40000-40009,65000\n", Some(28_222)),
            ("32768 60999", "garbage", Some(28_232)),
            ("60999 32768", "", None),
            ("32768", "", None),
        ] {
            let files = [
                ("net/ipv4/ip_local_port_range", range),
                ("net/ipv4/ip_local_reserved_ports", reserved),
            ];
            assert_eq!(tree(&files).1.local_ports(), expected, "{range:?} {reserved:?}");
        }
    }
}
