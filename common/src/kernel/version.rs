//! The kernel's version, and the few facts about handshakes that follow from it.

use std::fmt;

/// A kernel version, as far as it orders kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// As in **6**.18.44.
    pub major: u32,
    /// As in 6.**18**.44.
    pub minor: u32,
    /// As in 6.18.**44**; 0 when it is not given.
    pub patch: u32,
}

impl KernelVersion {
    /// A version by its first two numbers, to compare with.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// Reads `osrelease` ("3.10.0-514.el7.x86_64") or `/proc/version` ("Linux version 3.10.0-514… (…)").
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("Linux version ").unwrap_or(text);
        let mut numbers = text.splitn(3, '.');
        let major = numbers.next()?.parse().ok()?;
        let minor = leading_number(numbers.next()?)?;
        let patch = numbers.next().and_then(leading_number).unwrap_or(0);
        Some(Self { major, minor, patch })
    }

    /// Whether `net.ipv4.tcp_tw_recycle` can exist: it was removed in 4.12 (4396e46187ca); every el7 kernel has it.
    pub fn has_tw_recycle(self) -> bool {
        self < Self::new(4, 12)
    }

    /// Whether a SYN cookie that is sent is also counted in ListenDrops although nothing is lost.
    ///
    /// Seen on 3.10 (el7) and read in 4.4.178; 4.9 does not. The border is taken at 4.7 (HANDSHAKE §1, §8).
    pub fn counts_cookies_as_drops(self) -> bool {
        self < Self::new(4, 7)
    }

    /// Whether `sk_drops` of a listener rises at all (`tcp_listendrop()`, since 4.7); before, the field is there and stays 0.
    pub fn counts_drops_of_listeners(self) -> bool {
        self >= Self::new(4, 7)
    }

    /// Whether the SYN queue's limit depends on `tcp_max_syn_backlog` with SYN cookies on too (before 4.3).
    pub fn syn_queue_is_its_own(self) -> bool {
        self < Self::new(4, 3)
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_distributions_are_read() {
        for (text, expected) in [
            ("3.10.0-514.el7.x86_64\n", Some((3, 10, 0))),
            ("6.18.44-fc-v669\n", Some((6, 18, 44))),
            ("Linux version 4.9.0 (root@vm) (gcc version 11.3.0)", Some((4, 9, 0))),
            ("4.4.0-210-generic", Some((4, 4, 0))),
            ("6.12", Some((6, 12, 0))),
            ("5.15-rc3", Some((5, 15, 0))),
            ("", None),
            ("six", None),
            ("6", None),
            ("99999999999.1", None),
        ] {
            let version = KernelVersion::parse(text).map(|v| (v.major, v.minor, v.patch));
            assert_eq!(version, expected, "{text:?}");
        }
    }

    #[test]
    fn the_borders_lie_where_the_sources_say() {
        let at = |text| KernelVersion::parse(text).expect("a version");
        assert!(at("4.11.12").has_tw_recycle());
        assert!(!at("4.12.0").has_tw_recycle());
        assert!(at("3.10.0-1160.el7.x86_64").has_tw_recycle());
        assert!(at("4.4.178").counts_cookies_as_drops());
        assert!(!at("4.9.0").counts_cookies_as_drops());
    }
}
