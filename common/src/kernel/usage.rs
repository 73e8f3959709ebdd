//! What this process has taken of memory and descriptors, against what it may take.
//!
//! Memory by `/proc/self/status`, `meminfo` and the cgroup's own account; descriptors as `root` counts them. Read by the
//! control thread; what follows from it is `serve::shedding`'s.

use super::memory::{groups, meminfo_bytes};
use super::root::ProcRoot;
use super::sockstat::ratio;
use crate::process::rlimit;

/// How much of something the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// What the system lets it take.
    Auto,
    /// So much.
    Fixed(u64),
    /// It is not watched.
    Unlimited,
}

/// How much of something is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What is taken.
    pub used: u64,
    /// What may be.
    pub budget: u64,
}

impl Level {
    /// The part of the budget that is taken; more than 1 beyond it.
    pub fn share(self) -> f64 {
        ratio(self.used, self.budget)
    }
}

/// Bytes of memory; `None` when that is not limited, or not known.
///
/// By itself: against the smallest limit of a cgroup, and against what the machine could still give; the tighter one.
pub fn memory(root: &ProcRoot, budget: Budget) -> Option<Level> {
    let resident = || meminfo_bytes(&root.table("self/status").ok()?, "VmRSS:");
    match budget {
        Budget::Unlimited => None,
        Budget::Fixed(budget) => resident().map(|used| Level { used, budget }),
        Budget::Auto => {
            let machine = || {
                let used = resident()?;
                let available = meminfo_bytes(&root.table("meminfo").ok()?, "MemAvailable:")?;
                let budget = used.saturating_add(available);
                Some(Level { used, budget })
            };
            let memberships = root.table("self/cgroup").ok().unwrap_or_default();
            let cgroups = groups(root, &memberships).into_iter().filter_map(|group| {
                Some(Level {
                    used: group.used(root)?,
                    budget: group.limit,
                })
            });
            cgroups
                .chain(machine())
                .max_by(|one, other| one.share().total_cmp(&other.share()))
        }
    }
}

/// Descriptors; `None` when they are not limited. Where the kernel does not count them, `own` is what we know of.
pub fn descriptors(root: &ProcRoot, budget: Budget, own: u64) -> Option<Level> {
    let limit = rlimit::read().ok().map(|limit| limit.soft);
    let budget = match budget {
        Budget::Unlimited => return None,
        Budget::Fixed(budget) => limit.map_or(budget, |limit| limit.min(budget)),
        Budget::Auto => limit?,
    };
    let used = root.descriptors().ok().unwrap_or(own);
    Some(Level { used, budget })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, ProcRoot) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = ProcRoot::new(dir.path());
        (dir, root)
    }

    const STATUS: (&str, &str) = ("proc/self/status", "Name:\ttidegate\nVmRSS:\t     100 kB\n");
    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 300 kB\n");
    const V2: [(&str, &str); 4] = [
        ("proc/self/cgroup", "0::/a\n"),
        ("sys/fs/cgroup/a/memory.max", "1000000\n"),
        ("sys/fs/cgroup/a/memory.current", "900000\n"),
        ("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 400000\n"),
    ];
    const V1: [(&str, &str); 4] = [
        ("proc/self/cgroup", "4:memory:/a\n"),
        ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n"),
        ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "900000\n"),
        (
            "sys/fs/cgroup/memory/a/memory.stat",
            "inactive_file 9\ntotal_inactive_file 400000\n",
        ),
    ];

    #[test]
    fn memory_is_measured_by_the_tighter_of_cgroup_and_machine() {
        let level = |used, budget| Some(Level { used, budget });
        let machine = level(100 << 10, 400 << 10);
        for (files, budget, expected) in [
            (vec![], Budget::Auto, None),
            (vec![STATUS], Budget::Auto, None),
            (vec![STATUS, MEMINFO], Budget::Auto, machine),
            (vec![STATUS, MEMINFO], Budget::Unlimited, None),
            (vec![STATUS, MEMINFO], Budget::Fixed(1 << 20), level(100 << 10, 1 << 20)),
            (vec![MEMINFO], Budget::Fixed(1 << 20), None),
            (
                [&[STATUS, MEMINFO][..], &V2].concat(),
                Budget::Auto,
                level(500_000, 1_000_000),
            ),
            (
                [&[STATUS, MEMINFO][..], &V1].concat(),
                Budget::Auto,
                level(500_000, 1_000_000),
            ),
            // Without knowing what of it are files, nothing can be said.
            ([&[STATUS, MEMINFO][..], &V2[..3]].concat(), Budget::Auto, machine),
        ] {
            let (_dir, root) = tree(&files);
            assert_eq!(memory(&root, budget), expected, "{files:?} {budget:?}");
        }
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let root = ProcRoot::default();
        assert!(memory(&root, Budget::Auto).is_some_and(|level| level.used > 0 && level.share() < 1.0));
        let level = descriptors(&root, Budget::Auto, 7).unwrap();
        assert!(level.used > 0 && level.used < level.budget, "{level:?}");
        assert_eq!(descriptors(&root, Budget::Unlimited, 7), None);
        assert_eq!(
            descriptors(&root, Budget::Fixed(5), 7).map(|level| level.budget),
            Some(5)
        );
        let (_dir, recorded) = tree(&[]);
        assert_eq!(descriptors(&recorded, Budget::Auto, 7).map(|level| level.used), Some(7));
    }
}
