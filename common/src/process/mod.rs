//! What the process has from the system: descriptors, user and group, CPUs. Used at the start only.

pub mod rlimit; // file descriptors
pub mod user; // who it becomes after binding
pub mod confine; // what it gives up
pub mod huge_pages; // memory in small pieces
pub mod affinity; // which CPUs it may use
pub mod netns; // another process's network namespace

#[cfg(test)]
pub(crate) mod own_process; // tests that change their process
