//! Signals, limits and the death of children: system calls that std has no words for.
//!
//! The only file of the tests with unsafe code.

#![expect(unsafe_code, reason = "system calls without a safe wrapper in std")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

pub use libc::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1};

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

/// Runs `body` in a network namespace of its own, with loopback up: its counters and sockets are nobody else's. Threads and
/// processes that it starts are in there too.
///
/// # Panics
/// When the kernel refuses (only root may), or when `body` panics.
pub fn in_own_network(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: unshare() takes a number; the network namespace is the calling thread's alone, which ends soon.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "unshare(CLONE_NEWNET): {}", io::Error::last_os_error());
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success(), "ip link set lo up");
            body();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// One thread of another process, stopped while the others go on; it goes on when this is dropped.
///
/// Only the thread that stopped it may let it go on (ptrace(2)), so this does not move between threads.
#[derive(Debug)]
pub struct StoppedThread {
    id: libc::pid_t,
    stays_here: std::marker::PhantomData<*const ()>,
}

impl StoppedThread {
    /// Stops the thread called `name` of the process `pid`.
    ///
    /// # Panics
    /// When there is none, or the kernel refuses.
    #[track_caller]
    pub fn stop(pid: u32, name: &str) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
            .unwrap()
            .map(Result::unwrap);
        let is_called = |entry: &std::fs::DirEntry| {
            std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|found| found.trim_end() == name)
        };
        let found = threads
            .into_iter()
            .find(is_called)
            .unwrap_or_else(|| panic!("no thread {name}"));
        let id = found.file_name().to_string_lossy().parse().unwrap();
        let thread = Self {
            id,
            stays_here: std::marker::PhantomData,
        };
        trace(libc::PTRACE_SEIZE, id);
        trace(libc::PTRACE_INTERRUPT, id);
        let mut status = 0;
        // SAFETY: `status` is a valid int that outlives the call, which only writes it.
        let waited = unsafe { libc::waitpid(id, &raw mut status, libc::__WALL) };
        assert_eq!(waited, id, "waitpid({id}): {}", io::Error::last_os_error());
        thread
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        trace(libc::PTRACE_DETACH, self.id);
    }
}

#[track_caller]
fn trace(request: libc::c_uint, id: libc::pid_t) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests take a thread's number and two zeros, and touch no memory of ours.
    let result = unsafe { libc::ptrace(request, id, none, none) };
    assert_eq!(result, 0, "ptrace({request}, {id}): {}", io::Error::last_os_error());
}
