//! Transparent huge pages, which this process does without: prctl(2), `PR_SET_THP_DISABLE` (Linux 3.15).
//!
//! A huge page is 2 MiB and given back as a whole: connections and streams leave blocks in many of them, so that what a
//! crowd had taken stayed for good.

use nix::sys::prctl;

/// Has the kernel give pages of ordinary size from here on; to be called before much memory is taken.
///
/// A kernel that does not know of it goes on as before: nothing depends on it but how much is resident. That early there is
/// no log to tell it.
pub fn do_without() {
    prctl::set_thp_disable(true).unwrap_or_default();
}
