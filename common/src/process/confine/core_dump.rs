//! Where the kernel would put a core dump (core(5)), so that being confined does not mean to die without a trace.

use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};

use crate::kernel::root::ProcRoot;

/// Where core dumps of this process go; `None` where there are none, or another program gets them.
pub fn directory(root: &ProcRoot) -> Option<PathBuf> {
    let (soft, _) = getrlimit(Resource::RLIMIT_CORE).ok()?;
    let pattern = root.sysctl("kernel/core_pattern").ok()?;
    (soft > 0).then(|| of_pattern(&pattern)).flatten()
}

/// Lets the kernel make core dumps of a process that has become another user; it would not by itself.
///
/// Done only where the limit allows core dumps: whoever may read them may attach a debugger, too.
pub fn allow() {
    if let Err(errno) = prctl::set_dumpable(true) {
        tracing::debug!(%errno, "no core dumps");
    }
}

fn of_pattern(pattern: &str) -> Option<PathBuf> {
    let pattern = pattern.trim_end();
    if pattern.starts_with('|') {
        return None;
    }
    match Path::new(pattern).parent() {
        Some(parent) if parent.is_absolute() => Some(parent.to_owned()),
        _ => std::env::current_dir().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_dump_goes_where_its_pattern_says() {
        let here = std::env::current_dir().ok();
        for (pattern, expected) in [
            ("|/usr/lib/systemd/systemd-coredump %P\n", None),
            ("/var/crash/core.%p\n", Some(PathBuf::from("/var/crash"))),
            ("core\n", here.clone()),
            ("", here),
        ] {
            assert_eq!(of_pattern(pattern), expected, "{pattern:?}");
        }
    }
}
