//! Settings judged before the start, and again while running: what loses clients, what will, what is merely worth knowing.
//!
//! Pure over [`Machine`] (what was read) and [`PreflightContext`] (what the configuration wants). Writes no setting, ever.
//! A `Refuse` finding stops the start with exit status 78; while running it makes health critical. There is no override.

pub mod finding; // one finding: severity, what was read, why, remedy
pub mod tw_recycle; // safe, unsafe, cannot tell
mod queues; // listen queues
mod ports; // ports and TIME_WAIT for own connects
mod limits; // files, memory, connection tracking
pub mod sysctl_file; // a whole sysctl.d file

use std::path::PathBuf;

use super::counters::{Counter, Counters};
use super::memory::Memory;
use super::reading::Reading;
use super::root::ProcRoot;
use super::sockets::options::{OpenFiles, open_files};
use super::sysctl::Sysctls;
use super::tables;
use super::version::KernelVersion;
use finding::{Finding, Severity};

/// What was read of the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Below which directory.
    pub root: ProcRoot,
    /// The kernel.
    pub kernel: Reading<KernelVersion>,
    /// The settings.
    pub settings: Sysctls,
    /// `PAWSPassive` since boot; absent on kernels without `tcp_tw_recycle`.
    pub paws_passive: Reading<u64>,
    /// Its memory.
    pub memory: Memory,
    /// This process's limits of open files.
    pub open_files: Reading<OpenFiles>,
}

impl Machine {
    /// Reads everything that the preflight needs, in about 0.5 ms.
    pub fn read(root: &ProcRoot) -> Self {
        Self {
            root: root.clone(),
            kernel: root.kernel(),
            settings: Sysctls::read(root),
            paws_passive: paws_passive(root),
            memory: Memory::read(root),
            open_files: open_files().into(),
        }
    }

    /// Whether the kernel is at least this one; `None` when its version is unknown.
    pub(super) fn kernel_at_least(&self, major: u32, minor: u32) -> Option<bool> {
        self.kernel
            .get()
            .map(|kernel| kernel >= KernelVersion::new(major, minor))
    }

    /// Where a sysctl is read, by its path below `/proc/sys`.
    pub(super) fn path(&self, sysctl: &str) -> PathBuf {
        self.root.sysctl_path(sysctl)
    }
}

fn paws_passive(root: &ProcRoot) -> Reading<u64> {
    root.table("net/netstat").and_then(|text| {
        let mut counters = Counters::default();
        if counters.take(&tables::paired(&text)) == 0 {
            return Reading::expect_form(None, "a table with a known column");
        }
        let column = counters.get(Counter::PawsPassive);
        column.map_or(Reading::Unavailable(super::reading::Why::Absent), Reading::Available)
    })
}

/// What the configuration wants of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreflightContext {
    /// The listeners.
    pub listeners: Vec<ListenerPlan>,
    /// Members of each listener's `SO_REUSEPORT` group: the workers.
    pub reuseport_shards: usize,
    /// Client connections at once.
    pub connections_max: u64,
    /// What is connected to.
    pub backends: Vec<BackendPlan>,
    /// Bytes for stored responses, when they are kept in this process.
    pub cache_memory: Option<u64>,
}

/// One listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPlan {
    /// Its name.
    pub name: String,
    /// Its TCP port.
    pub port: Option<u16>,
    /// The backlog asked for; `None` for "as much as there is".
    pub backlog_asked: Option<u32>,
}

/// One backend as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendPlan {
    /// Its name.
    pub name: String,
    /// How many servers.
    pub servers: u64,
    /// Connections to each of them at once.
    pub connections_max: u64,
}

impl PreflightContext {
    /// Whether this process connects to anything.
    pub(super) fn connects(&self) -> bool {
        self.backends.iter().any(|backend| backend.servers > 0)
    }

    /// The most connections towards one server: each takes a local port of its own.
    pub(super) fn most_per_server(&self) -> Option<&BackendPlan> {
        self.backends
            .iter()
            .filter(|backend| backend.servers > 0)
            .max_by_key(|backend| backend.connections_max)
    }

    /// Connections to servers at once.
    pub(super) fn backend_connections(&self) -> u64 {
        self.backends.iter().fold(0, |sum, backend| {
            sum.saturating_add(backend.servers.saturating_mul(backend.connections_max))
        })
    }

    /// File descriptors that are needed when every limit is reached.
    pub fn files_needed(&self) -> u64 {
        /// Runtimes, logs, netlink, admin connections, and what libraries open.
        const OTHERS: u64 = 256;
        let listeners =
            u64::try_from(self.listeners.len().saturating_mul(self.reuseport_shards.max(1))).unwrap_or(u64::MAX);
        self.connections_max
            .saturating_add(self.backend_connections())
            .saturating_add(listeners)
            .saturating_add(OTHERS)
    }
}

/// Judges the settings: refusals first, then warnings, then notes.
pub fn preflight(machine: &Machine, context: &PreflightContext) -> Vec<Finding> {
    let mut findings = Vec::new();
    tw_recycle::check(machine, &mut findings);
    queues::check(machine, context, &mut findings);
    ports::check(machine, context, &mut findings);
    limits::check(machine, context, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Whether the process must not start, and health is critical.
pub fn refuses(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Refuse)
}

/// What changed between two preflights of a running process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// Findings that were not there before, or are more severe now.
    pub appeared: Vec<Finding>,
    /// Findings that are no longer there.
    pub gone: Vec<Finding>,
}

/// Compares two preflights. Each entry is one log line.
pub fn drift(before: &[Finding], now: &[Finding]) -> Drift {
    let missing_in = |others: &[Finding], finding: &&Finding| {
        !others
            .iter()
            .any(|other| other.check == finding.check && other.severity == finding.severity)
    };
    Drift {
        appeared: now
            .iter()
            .filter(|finding| missing_in(before, finding))
            .cloned()
            .collect(),
        gone: before
            .iter()
            .filter(|finding| missing_in(now, finding))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests;
