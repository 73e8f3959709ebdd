//! The machine: which cores are ours, and what it is, for the head of a result.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sys;

/// Who runs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The subject's core.
    pub(crate) subject: usize,
    /// Its second one, for the case of two workers.
    pub(crate) second: usize,
    /// The core of load and origin.
    pub(crate) load: usize,
}

impl Cores {
    /// The first three cores that this process may use; of two, the second is load's and the subject's second.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = Self::all()?;
        let subject = *allowed.first().context("no core is allowed")?;
        let second = allowed.get(1).copied().unwrap_or(subject);
        let load = allowed.get(2).copied().unwrap_or(second);
        Ok(Self { subject, second, load })
    }

    /// The cores of a subject with so many workers.
    pub(crate) fn of_workers(self, workers: usize) -> Vec<usize> {
        let mut cores = vec![self.subject];
        if workers > 1 && self.second != self.subject {
            cores.push(self.second);
        }
        cores
    }

    /// All cores that this process may use; after pinning that is one.
    pub(crate) fn all() -> Result<Vec<usize>> {
        let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
        allowed_cores(&status).context("no Cpus_allowed_list in /proc/self/status")
    }

    /// Load and subject take turns on one core.
    pub(crate) fn are_shared(self) -> bool {
        self.subject == self.load
    }
}

/// Gets this process ready to load: told are the machine and who runs where; it may open what it may, and stays on its core.
pub(crate) fn ready_to_load() -> Result<(Machine, Cores)> {
    // Once pinned there is one core to see.
    let (machine, cores) = (Machine::look(), Cores::choose()?);
    sys::raise_descriptor_limit().context("cannot raise RLIMIT_NOFILE")?;
    sys::pin(cores.load).context("cannot pin to a core")?;
    Ok((machine, cores))
}

/// What the machine is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
}

impl Machine {
    /// Reads it from `/proc`.
    fn look() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models: Vec<&str> = processors
            .lines()
            .filter(|line| line.starts_with("model name") || line.starts_with("CPU part"))
            .filter_map(|line| Some(line.split_once(':')?.1.trim()))
            .collect();
        Self {
            kernel: kernel.trim().to_owned(),
            processor: models
                .first()
                .map_or_else(|| "unknown".to_owned(), |&model| model.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Bytes that new processes can have without swapping; 0 where the kernel does not say.
pub(crate) fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Where temporary files cost no disk: tmpfs, or else the usual place.
pub(crate) fn scratch_root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if tempfile::tempfile_in(memory).is_ok() {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

/// A program in `PATH`, or where daemons lie.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(daemons)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Where a thread may run, from its `/proc/…/status`.
pub(crate) fn allowed_cores(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    parse_list(list.trim())
}

/// `0-2,8` → 0, 1, 2, 8.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cores.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_ranges_and_numbers() {
        assert_eq!(parse_list("0-2,8"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_list("3"), Some(vec![3]));
        assert_eq!(parse_list("a"), None);
    }

    #[test]
    fn the_chosen_cores_are_allowed_ones() {
        sys::pin(Cores::choose().unwrap().load).unwrap();
    }
}
