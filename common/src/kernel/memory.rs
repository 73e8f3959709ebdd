//! How much memory this process may use: the machine's, or what its cgroup grants.
//!
//! cgroup v2 (`memory.max`, the smallest on the way up) and v1 (`memory.limit_in_bytes`). Used by the preflight, and
//! by `usage`.

use std::path::{Component, Path, PathBuf};

use super::reading::{Reading, Why};
use super::root::ProcRoot;

/// The memory there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the machine (`MemTotal`).
    pub total: Reading<u64>,
    /// Bytes that could be had now without swapping (`MemAvailable`, ≥ 3.14).
    pub available: Reading<u64>,
    /// The smallest limit in bytes that a cgroup sets; absent when none does.
    pub cgroup: Reading<u64>,
}

impl Memory {
    /// Reads it.
    pub fn read(root: &ProcRoot) -> Self {
        let meminfo = root.table("meminfo");
        let field = |name: &'static str| {
            let text = meminfo.as_ref().map(String::as_str);
            text.and_then(|text| Reading::expect_form(meminfo_bytes(text, name), "a table with this line"))
        };
        Self {
            total: field("MemTotal:"),
            available: field("MemAvailable:"),
            cgroup: root.table("self/cgroup").and_then(|text| cgroup_limit(root, &text)),
        }
    }

    /// What the process may use at most: the cgroup's limit or the machine's memory, whichever is smaller.
    pub fn limit(&self) -> Option<u64> {
        match (self.total.get(), self.cgroup.get()) {
            (Some(total), Some(cgroup)) => Some(total.min(cgroup)),
            (total, cgroup) => total.or(cgroup),
        }
    }
}

/// The bytes of a line such as `MemTotal:  1000 kB`.
pub(super) fn meminfo_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// One cgroup that limits memory.
pub(super) struct Group {
    /// Its directory, below the root.
    directory: PathBuf,
    /// Its limit in bytes.
    pub(super) limit: u64,
    is_v2: bool,
}

/// This process's cgroup and those above it, as far as they limit memory.
pub(super) fn groups(root: &ProcRoot, memberships: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in memberships.lines() {
        // "hierarchy:controllers:path"; v2 has hierarchy 0 and no controllers.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            "memory" => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for directory in Path::new(path)
            .ancestors()
            .filter(|path| !path.components().any(|c| c == Component::ParentDir))
        {
            let directory = Path::new(mount).join(directory.strip_prefix("/").unwrap_or(directory));
            // v1 writes "no limit" as the largest number of pages.
            let limit = number(root, &directory, file).filter(|&bytes| bytes < 1 << 60);
            groups.extend(limit.map(|limit| Group {
                directory,
                limit,
                is_v2: controllers.is_empty(),
            }));
        }
    }
    groups
}

impl Group {
    /// Bytes that count against the limit and are not given back under pressure: all but files that nobody uses.
    pub(super) fn used(&self, root: &ProcRoot) -> Option<u64> {
        let (file, unused) = if self.is_v2 {
            ("memory.current", "inactive_file ")
        } else {
            ("memory.usage_in_bytes", "total_inactive_file ")
        };
        let current = number(root, &self.directory, file)?;
        let stat = root
            .long_file(&self.directory.join("memory.stat").to_string_lossy())
            .ok()?;
        let unused = stat
            .lines()
            .find_map(|line| line.strip_prefix(unused)?.parse::<u64>().ok())?;
        Some(current.saturating_sub(unused))
    }
}

fn number(root: &ProcRoot, directory: &Path, file: &str) -> Option<u64> {
    let text = root.file(&directory.join(file).to_string_lossy()).ok()?;
    text.trim().parse().ok()
}

/// The smallest limit from this process's cgroup up to the root.
fn cgroup_limit(root: &ProcRoot, memberships: &str) -> Reading<u64> {
    let smallest = groups(root, memberships).into_iter().map(|group| group.limit).min();
    smallest.map_or(Reading::Unavailable(Why::Absent), Reading::Available)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        Memory::read(&ProcRoot::new(dir.path())).limit()
    }

    #[test]
    fn the_smallest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:     1000 kB\nMemAvailable:  500 kB\n");
        assert_eq!(limit(&[meminfo]), Some(1_024_000));
        assert_eq!(
            limit(&[
                meminfo,
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "4096\n"),
            ]),
            Some(4096)
        );
        assert_eq!(
            limit(&[
                meminfo,
                ("proc/self/cgroup", "9:cpu:/x\n4:memory:/x\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8192\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ]),
            Some(8192)
        );
    }

    #[test]
    fn garbage_is_no_limit() {
        assert_eq!(
            limit(&[
                ("proc/meminfo", "MemTotal: many kB\n"),
                ("proc/self/cgroup", "::\n0::/../..\nx")
            ]),
            None
        );
    }
}
