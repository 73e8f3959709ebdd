//! Signals, limits and the death of children: system calls that std has no words for.
//!
//! The only file of the tests with unsafe code.

#![expect(unsafe_code, reason = "three system calls without a safe wrapper in std")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

pub use libc::{SIGINT, SIGKILL, SIGTERM, SIGUSR1};

/// Sends `signal` to the process `pid`.
///
/// # Panics
/// When the kernel refuses: no such process, or not ours.
#[track_caller]
pub fn signal(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: kill() takes two numbers and touches no memory of ours.
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "kill({pid}, {signal}): {}", io::Error::last_os_error());
}

/// Has the kernel kill the child when the thread that starts it ends, so that an aborted test run leaves nothing behind.
pub fn die_with_parent(command: &mut Command) {
    let hook = || {
        // SAFETY: prctl(PR_SET_PDEATHSIG) takes a number, touches no memory, and is async-signal-safe.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the hook makes one async-signal-safe system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Raises the soft limit of open files to `wanted` (as root the hard limit too). Returns the soft limit that now holds.
pub fn raise_open_files(wanted: u64) -> u64 {
    let now = open_files();
    if now.rlim_cur >= wanted {
        return now.rlim_cur;
    }
    let hard = now.rlim_max.max(wanted);
    for limit in [
        libc::rlimit {
            rlim_cur: wanted,
            rlim_max: hard,
        },
        libc::rlimit {
            rlim_cur: now.rlim_max.min(wanted),
            rlim_max: now.rlim_max,
        },
    ] {
        // SAFETY: `limit` is a valid rlimit that outlives the call, which only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
            break;
        }
    }
    open_files().rlim_cur
}

fn open_files() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that outlives the call, which only writes it.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0, "getrlimit: {}", io::Error::last_os_error());
    limit
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    // SAFETY: geteuid() takes nothing, touches nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
