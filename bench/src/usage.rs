//! What processes cost: CPU time and memory of a process and all it started (proc(5)).
//!
//! The sum is each process' CPU clock, in nanoseconds; its parts are `utime` and `stime` of `/proc/PID/stat`, in ticks
//! of mostly 10 ms. All of them hold all threads of a process, ended ones included.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::machine;
use crate::sys;

/// One process, told apart from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    start_ticks: u64,
}

impl ProcessId {
    pub(crate) fn is_still_there(self) -> bool {
        read_stat(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.state != 'Z')
    }
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    /// Exact.
    pub(crate) total: Duration,
    /// To a tick.
    pub(crate) user: Duration,
    /// To a tick.
    pub(crate) system: Duration,
}

impl CpuTime {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The process `root` and all its descendants, parents before children.
pub(crate) fn process_tree(root: i32) -> Vec<ProcessId> {
    tree(root).into_iter().map(|stat| stat.id()).collect()
}

/// CPU time of `root` and its descendants.
pub(crate) fn cpu_time(root: i32) -> Result<CpuTime> {
    let tree = tree(root);
    anyhow::ensure!(!tree.is_empty(), "process {root} is gone");
    let ticks = |count: u64| {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Duration::from_secs_f64(f64::from(count) / sys::ticks_per_second())
    };
    let clocks = tree.iter().map(|stat| sys::process_cpu_time(stat.pid));
    Ok(CpuTime {
        total: clocks.sum::<io::Result<Duration>>().context("a process is gone")?,
        user: ticks(tree.iter().map(|stat| stat.user_ticks).sum()),
        system: ticks(tree.iter().map(|stat| stat.system_ticks).sum()),
    })
}

/// How many threads of `root` and its descendants may run elsewhere than on `cpus`.
pub(crate) fn threads_outside(root: i32, cpus: &[usize]) -> Result<usize> {
    let mut strays = 0;
    for process in tree(root) {
        let path = format!("/proc/{}/task", process.pid);
        for thread in fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
            // A thread that has ended meanwhile is nowhere.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            let allowed = machine::allowed_cores(&status).unwrap_or_default();
            strays += usize::from(allowed.iter().any(|core| !cpus.contains(core)));
        }
    }
    Ok(strays)
}

/// Time that `cpu` was busy, with whatever.
pub(crate) fn core_busy(cpu: usize) -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = parse_core_busy(&text, cpu).with_context(|| format!("/proc/stat has no cpu{cpu}"))?;
    Ok(Duration::from_secs_f64(f64::from(ticks) / sys::ticks_per_second()))
}

/// Resident memory of `root` and its descendants, in bytes.
pub(crate) fn resident_bytes(root: i32) -> Result<u64> {
    let mut sum = 0;
    for process in tree(root) {
        // statm and status lag behind by up to 64 pages per core; smaps_rollup counts.
        let path = format!("/proc/{}/smaps_rollup", process.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        sum += parse_resident(&text).with_context(|| format!("{path} has no Rss"))?;
    }
    Ok(sum)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: i32,
    parent: i32,
    state: char,
    user_ticks: u64,
    system_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    fn id(self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }
}

fn tree(root: i32) -> Vec<Stat> {
    let Some(first) = read_stat(root) else {
        return Vec::new();
    };
    let all = all_processes();
    let mut members = vec![first];
    let mut known = HashSet::from([root]);
    loop {
        let found: Vec<Stat> = all
            .iter()
            .filter(|stat| known.contains(&stat.parent) && !known.contains(&stat.pid))
            .copied()
            .collect();
        if found.is_empty() {
            return members;
        }
        known.extend(found.iter().map(|stat| stat.pid));
        members.extend(found);
    }
}

fn all_processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(read_stat)
        .collect()
}

fn read_stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command's name may hold blanks and parentheses; the last one ends it.
    let (pid, rest) = text.split_once(' ')?;
    let (_, fields) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some(Stat {
        pid: pid.parse().ok()?,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        user_ticks: fields.get(11)?.parse().ok()?,
        system_ticks: fields.get(12)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// user, nice, system, irq, softirq and steal; not idle and iowait.
fn parse_core_busy(text: &str, cpu: usize) -> Option<u32> {
    let name = format!("cpu{cpu}");
    let line = text.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u32> = line
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6, 7]
        .into_iter()
        .map(|index| ticks.get(index).copied())
        .sum()
}

fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("Rss:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_may_look_like_fields() {
        let text = "42 (a) R 1 (b c) S 7 42 42 0 -1 4194560 1 0 0 0 150 75 9 9 20 0 4 0 5555 1 1";
        let expected = Stat {
            pid: 42,
            parent: 7,
            state: 'S',
            user_ticks: 150,
            system_ticks: 75,
            start_ticks: 5555,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (a) S 7"), None);
    }

    #[test]
    fn idle_and_iowait_are_not_busy() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\ncpu0 1 2 4 1000 1000 8 16 32 0 0\n";
        assert_eq!(parse_core_busy(text, 0), Some(63));
        assert_eq!(parse_core_busy(text, 2), None);
    }

    #[test]
    fn resident_memory_is_given_in_kibibytes() {
        assert_eq!(
            parse_resident("55-66 ---p 0 00:00 0 [rollup]\nRss:     1234 kB\nPss: 1 kB\n"),
            Some(1_263_616)
        );
        assert_eq!(parse_resident(""), None);
    }

    #[test]
    fn the_tree_of_this_process_holds_its_children() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let tree = process_tree(std::process::id().cast_signed());
        let pid = child.id().cast_signed();
        assert!(
            tree.iter()
                .any(|process| process.pid == pid && process.is_still_there())
        );
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(
            tree.iter()
                .all(|process| process.pid != pid || !process.is_still_there())
        );
    }
}
