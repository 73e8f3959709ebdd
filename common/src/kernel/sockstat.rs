//! Small tables of `/proc/net`: sockets and their memory, packets lost before TCP.
//!
//! Pure parsers. `sockstat` gives totals without walking any socket; `softnet_stat` is per CPU and belongs to the whole
//! machine, not to the network namespace.

/// TCP sockets of the namespace (`/proc/net/sockstat`, net/ipv4/proc.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockstat {
    /// IPv4 TCP sockets in use, TIME_WAIT and `SYN_RECV` not counted.
    pub inuse: u64,
    /// Closed by the program, not yet finished by TCP.
    pub orphan: u64,
    /// In TIME_WAIT, both families.
    pub time_wait: u64,
    /// Allocated, both families; of the whole machine.
    pub alloc: u64,
    /// Pages of memory that TCP's buffers hold; of the whole machine.
    pub mem_pages: u64,
}

/// Reads `sockstat`; `None` without a whole line for TCP.
pub fn parse_sockstat(text: &str) -> Option<Sockstat> {
    let line = text.split_inclusive('\n').find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.strip_suffix('\n')?.split_ascii_whitespace();
    let mut stat = Sockstat::default();
    let mut named = 0;
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let field = match name {
            "inuse" => &mut stat.inuse,
            "orphan" => &mut stat.orphan,
            "tw" => &mut stat.time_wait,
            "alloc" => &mut stat.alloc,
            "mem" => &mut stat.mem_pages,
            _ => continue,
        };
        *field = value.parse().ok()?;
        named += 1;
    }
    (named == 5).then_some(stat)
}

/// Packets at the CPUs' input queues (`/proc/net/softnet_stat`, net/core/net-procfs.c), summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Softnet {
    /// Lost because a CPU's queue (`net.core.netdev_max_backlog`) was full; each CPU's number wraps at 2^32.
    pub dropped: u64,
    /// Times a CPU had to stop with work left over.
    pub squeezed: u64,
    /// CPUs.
    pub cpus: usize,
}

/// Reads `softnet_stat`; `None` when a line is not what it should be.
pub fn parse_softnet(text: &str) -> Option<Softnet> {
    let mut sum = Softnet::default();
    for line in text.split_inclusive('\n') {
        let mut columns = line.strip_suffix('\n')?.split_ascii_whitespace();
        let mut next = || u32::from_str_radix(columns.next()?, 16).ok();
        let (_processed, dropped, squeezed) = (next()?, next()?, next()?);
        sum.dropped += u64::from(dropped);
        sum.squeezed += u64::from(squeezed);
        sum.cpus += 1;
    }
    (sum.cpus > 0).then_some(sum)
}

/// Entries of the connection-tracking table against its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries in this namespace (`nf_conntrack_count`).
    pub count: u64,
    /// The most there may be (`nf_conntrack_max`).
    pub max: u64,
}

impl Conntrack {
    /// The part of the table that is taken, 1.0 when it is full.
    pub fn fill(self) -> f64 {
        if self.max == 0 {
            0.0
        } else {
            ratio(self.count, self.max)
        }
    }
}

/// `part` of `whole` as a fraction; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share to two digits, not an account")]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockstat_is_read_by_name_and_refused_when_cut() {
        let text = "sockets: used 15\nTCP: inuse 1 orphan 2 tw 739 alloc 4 mem 5\nUDP: inuse 0 mem 0\n";
        let stat = parse_sockstat(text).expect("a whole table");
        assert_eq!(
            (stat.inuse, stat.orphan, stat.time_wait, stat.alloc, stat.mem_pages),
            (1, 2, 739, 4, 5)
        );
        for cut in [
            "TCP: inuse 1 orphan 2 tw 7",
            "TCP: inuse 1 orphan 2\n",
            "TCP: inuse x orphan 0 tw 0 alloc 0 mem 0\n",
            "",
        ] {
            assert_eq!(parse_sockstat(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn softnet_sums_over_cpus_and_takes_any_number_of_columns() {
        let text = "00000e77 00000001 0000000c 00000000\n00000e77 00000002 000000ff 0 0 0 0\n";
        assert_eq!(
            parse_softnet(text),
            Some(Softnet {
                dropped: 3,
                squeezed: 267,
                cpus: 2
            })
        );
        for garbage in ["", "hello\n", "00000e77 00000001\n", "00000e77 00000001 0000000c"] {
            assert_eq!(parse_softnet(garbage), None, "{garbage:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in "\\PC*", tcp in "TCP6?:( [a-z]{0,6} [0-9]{0,30}){0,6}\n?") {
            for text in [text.as_str(), tcp.as_str()] {
                proptest::prop_assert!(parse_sockstat(text).is_none_or(|_| text.contains("inuse")));
                proptest::prop_assert!(parse_softnet(text).is_none_or(|sum| sum.cpus > 0));
            }
        }
    }
}
