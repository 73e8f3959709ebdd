//! Where the kernel's files are read: `/`, or a directory that holds a recorded or mounted `/proc`.
//!
//! A tree may be laid out as `DIR/proc/net/netstat` or `DIR/net/netstat`, its sysctls as `DIR/proc/sys/…` or `DIR/sys/…`.
//! Every read is bounded. Sockets are the running machine's, so whether a root shows that machine ([`ProcRoot::is_live`])
//! decides whether sockets may explain its counters.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reading::{Reading, Why};
use super::version::KernelVersion;

/// Bytes read of one table such as `/proc/net/netstat` (8 KiB on 6.18).
pub const TABLE_BYTES_MAX: usize = 256 * 1024;
/// Bytes read of one setting.
pub const SYSCTL_BYTES_MAX: usize = 4 * 1024;

/// The directory under which `/proc` and `/sys` are read.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    dir: PathBuf,
    live: bool,
}

impl Default for ProcRoot {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/"),
            live: true,
        }
    }
}

impl ProcRoot {
    /// Reads below `dir`, which is `/` on a machine that looks at itself.
    pub fn new(dir: &Path) -> Self {
        let mut root = Self {
            dir: dir.to_path_buf(),
            live: dir == Path::new("/"),
        };
        // A host's /proc mounted elsewhere (/host/proc) shows the same namespace; a recorded tree shows none.
        if !root.live
            && let Some(theirs) = root.namespace().ok()
        {
            let ours = fs::read_link("/proc/self/ns/net");
            root.live = ours.is_ok_and(|ours| ours.to_string_lossy() == theirs);
        }
        root
    }

    /// Whether this root shows the network namespace in which this process runs.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The directory itself, as it was given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text of a table below `/proc`, such as `net/netstat`.
    pub fn table(&self, name: &str) -> Reading<String> {
        self.table_up_to(name, TABLE_BYTES_MAX)
    }

    /// The text of a file below `/proc`, of at most `bytes_max` bytes.
    pub fn table_up_to(&self, name: &str, bytes_max: usize) -> Reading<String> {
        first_of([self.dir.join("proc").join(name), self.dir.join(name)], bytes_max)
    }

    /// The text of a sysctl by its path, such as `net/ipv4/tcp_tw_recycle`.
    pub fn sysctl(&self, name: &str) -> Reading<String> {
        first_of(self.sysctl_paths(name), SYSCTL_BYTES_MAX)
    }

    /// Where a sysctl is read: the file that exists, or where it would be.
    pub fn sysctl_path(&self, name: &str) -> PathBuf {
        let [usual, short] = self.sysctl_paths(name);
        if !usual.exists() && short.exists() {
            short
        } else {
            usual
        }
    }

    /// The text of a file below the root itself, such as `sys/fs/cgroup/memory.max`.
    pub fn file(&self, name: &str) -> Reading<String> {
        first_of([self.dir.join(name)], SYSCTL_BYTES_MAX)
    }

    /// The same of a file that may be as long as a table.
    pub fn long_file(&self, name: &str) -> Reading<String> {
        first_of([self.dir.join(name)], TABLE_BYTES_MAX)
    }

    /// How many descriptors this process has open: the size of its `fd` directory, which the kernel states since 6.2.
    pub fn descriptors(&self) -> Reading<u64> {
        if !self.live {
            return Reading::Unavailable(Why::Absent);
        }
        let directory = [self.dir.join("proc/self/fd"), self.dir.join("self/fd")];
        let size = directory
            .iter()
            .find_map(|path| fs::metadata(path).ok())
            .map(|stat| stat.len());
        size.filter(|size| *size > 0)
            .map_or(Reading::Unavailable(Why::Absent), Reading::Available)
    }

    /// The kernel's version, from `osrelease` or, where `/proc/sys` is masked, from `/proc/version`.
    pub fn kernel(&self) -> Reading<KernelVersion> {
        let parse = |text: String| Reading::expect_form(KernelVersion::parse(&text), "a kernel version");
        match self.sysctl("kernel/osrelease").and_then(parse) {
            Reading::Unavailable(Why::Absent | Why::Denied) => self.table("version").and_then(parse),
            other => other,
        }
    }

    /// Time since the machine booted.
    pub fn uptime(&self) -> Reading<Duration> {
        self.table_up_to("uptime", SYSCTL_BYTES_MAX).and_then(|text| {
            let seconds = text
                .split_ascii_whitespace()
                .next()
                .and_then(|word| word.parse::<f64>().ok());
            let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            Reading::expect_form(uptime, "a number of seconds")
        })
    }

    /// The network namespace that `/proc/net` shows, such as `net:[4026531833]`.
    pub fn namespace(&self) -> Reading<String> {
        let link = fs::read_link(self.dir.join("proc/self/ns/net"));
        let link = link.or_else(|_| fs::read_link(self.dir.join("self/ns/net")));
        Reading::from(link.map(|name| name.to_string_lossy().into_owned()))
    }

    fn sysctl_paths(&self, name: &str) -> [PathBuf; 2] {
        [self.dir.join("proc/sys").join(name), self.dir.join("sys").join(name)]
    }
}

/// The first of `paths` that exists.
fn first_of<const N: usize>(paths: [PathBuf; N], bytes_max: usize) -> Reading<String> {
    let mut outcome = Reading::Unavailable(Why::Absent);
    for path in paths {
        outcome = read_bounded(&path, bytes_max);
        if outcome.why() != Some(Why::Absent) {
            break;
        }
    }
    outcome
}

fn read_bounded(path: &Path, bytes_max: usize) -> Reading<String> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read: io::Result<usize> = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Err(error) => Reading::Unavailable(Why::from(&error)),
        Ok(count) if count > bytes_max => Reading::Unavailable(Why::TooLong),
        // What is not text is garbage, and no parser will find a name in it.
        Ok(_) => Reading::Available(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_of_a_recorded_tree_are_read() {
        for (sysctl, table) in [("proc/sys/net/ipv4", "proc/net"), ("sys/net/ipv4", "net")] {
            let dir = tempfile::tempdir().expect("a directory");
            fs::create_dir_all(dir.path().join(sysctl)).expect("created");
            fs::create_dir_all(dir.path().join(table)).expect("created");
            fs::write(dir.path().join(sysctl).join("tcp_syncookies"), "1\n").expect("written");
            fs::write(dir.path().join(table).join("sockstat"), "TCP: inuse 1\n").expect("written");
            let root = ProcRoot::new(dir.path());
            assert!(!root.is_live());
            assert_eq!(
                root.sysctl("net/ipv4/tcp_syncookies"),
                Reading::Available("1\n".to_owned())
            );
            assert!(root.sysctl_path("net/ipv4/tcp_syncookies").exists());
            assert_eq!(
                root.table("net/sockstat"),
                Reading::Available("TCP: inuse 1\n".to_owned())
            );
            assert_eq!(root.sysctl("net/ipv4/tcp_tw_recycle").why(), Some(Why::Absent));
        }
    }

    #[test]
    fn a_table_that_is_too_long_is_unavailable_and_a_directory_is_no_table() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("proc/net/snmp")).expect("created");
        fs::write(dir.path().join("proc/net/netstat"), vec![b'x'; TABLE_BYTES_MAX + 1]).expect("written");
        let root = ProcRoot::new(dir.path());
        assert_eq!(root.table("net/netstat").why(), Some(Why::TooLong));
        assert_eq!(root.table("net/snmp").why(), Some(Why::Failed(libc::EISDIR)));
    }

    #[test]
    fn the_running_machine_is_read_by_default() {
        let root = ProcRoot::default();
        assert!(root.is_live());
        assert!(root.kernel().ok().is_some());
        assert!(root.uptime().ok().is_some());
    }
}
