//! Another process's network namespace, for who wants to look at its counters and sockets (setns(2)).

use std::fs::File;
use std::io;

use nix::sched::{CloneFlags, setns};

/// Moves the calling thread into the network namespace of the process `pid`.
///
/// # Errors
/// There is no such process, or it may not be entered (`CAP_SYS_ADMIN`).
pub fn enter(pid: u32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}
