//! Which CPUs the process may use, and tying a thread to one of them (`sched_setaffinity(2)`).

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The CPUs that the calling thread may run on, ascending; never empty.
///
/// # Errors
/// The system's; on a machine with more than 1024 CPUs it is EINVAL.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(CALLING_THREAD)?;
    Ok((0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu) == Ok(true))
        .collect())
}

/// Ties the calling thread to one CPU.
///
/// # Errors
/// The system's, when it has no such CPU or the thread may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(CALLING_THREAD, &set)?)
}

const CALLING_THREAD: Pid = Pid::from_raw(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_its_cpu_only() {
        let allowed = allowed_cpus().unwrap();
        let cpu = *allowed.last().unwrap();
        std::thread::spawn(move || {
            pin(cpu).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [cpu]);
        })
        .join()
        .unwrap();
        assert_eq!(allowed_cpus().unwrap(), allowed, "other threads are not touched");
        assert!(pin(CpuSet::count()).is_err());
    }
}
