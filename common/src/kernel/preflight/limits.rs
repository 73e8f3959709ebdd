//! Room for what the configuration allows: file descriptors, memory, connection tracking.

use super::super::sockstat::ratio;
use super::finding::{Check, Finding, Remedy, Severity};
use super::{Machine, PreflightContext};

/// The cache may take this part of the memory; the rest is for connections, buffers and the kernel.
const CACHE_SHARE_MAX: f64 = 0.8;
const PAGE_BYTES: u64 = 4096;

pub(super) fn check(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    open_files(machine, context, findings);
    memory(machine, context, findings);
    conntrack(machine, context, findings);
}

fn open_files(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    let needed = context.files_needed();
    if let Some(limit) = machine.open_files.get().filter(|limit| limit.soft < needed) {
        // The process can raise the soft limit itself, up to the hard one.
        let severity = if limit.hard < needed {
            Severity::Warn
        } else {
            Severity::Note
        };
        findings.push(Finding {
            severity,
            check: Check::OpenFiles,
            read: format!("RLIMIT_NOFILE {} (at most {}), needed {needed}", limit.soft, limit.hard),
            from: "getrlimit(RLIMIT_NOFILE)".into(),
            why: "each connection takes a file descriptor; when none is left, accept() fails (EMFILE), the accept queue fills and \
                  handshakes are dropped."
                .to_owned(),
            remedy: Remedy::Advice(format!(
                "LimitNOFILE={needed} in the systemd unit (or ulimit -n {needed}), or lower connections_max"
            )),
        });
    }
    if let Some(most) = machine.settings.file_max.get().filter(|&most| most < needed) {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::FileMax,
            read: format!("fs.file-max = {most}, needed {needed}"),
            from: machine.path("fs/file-max"),
            why: "the whole machine may not open so many files: accept() fails with ENFILE.".to_owned(),
            remedy: Remedy::sysctl("fs.file-max", needed.saturating_mul(2)),
        });
    }
}

fn memory(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    let (Some(cache), Some(limit)) = (context.cache_memory, machine.memory.limit()) else {
        return;
    };
    let source = if machine.memory.cgroup.get() == Some(limit) {
        "the cgroup grants"
    } else {
        "the machine has"
    };
    let share = ratio(cache, limit);
    if share > CACHE_SHARE_MAX {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::CacheMemory,
            read: format!("the cache may take {} MiB, {source} {} MiB", cache >> 20, limit >> 20),
            from: machine.root.dir().join("proc/meminfo"),
            why: "connections, buffers and the kernel's sockets need memory too; when it runs out, the process is killed or SYNs are \
                  dropped for want of memory."
                .to_owned(),
            remedy: Remedy::Advice(format!("give the cache {} MiB at most, or the process more memory", (limit / 10 * 7) >> 20)),
        });
        return;
    }
    let tcp = machine
        .settings
        .tcp_mem
        .get()
        .map_or(0, |[_, _, most]| most.saturating_mul(PAGE_BYTES));
    if cache.saturating_add(tcp) > limit {
        findings.push(Finding {
            severity: Severity::Note,
            check: Check::TcpMem,
            read: format!(
                "net.ipv4.tcp_mem allows {} MiB of socket buffers, the cache {} MiB, {source} {} MiB",
                tcp >> 20,
                cache >> 20,
                limit >> 20
            ),
            from: machine.path("net/ipv4/tcp_mem"),
            why: "if slow clients fill all socket buffers and the cache is full, the memory does not suffice for both."
                .to_owned(),
            remedy: Remedy::Advice("lower the cache's memory or connections_max".to_owned()),
        });
    }
}

fn conntrack(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    let Some(table) = machine.settings.conntrack.get() else {
        return;
    };
    let needed = context.connections_max.saturating_add(context.backend_connections());
    let fill = table.fill();
    if fill < 0.8 && table.max >= needed {
        return;
    }
    let severity = if fill >= 0.8 || table.max < context.connections_max {
        Severity::Warn
    } else {
        Severity::Note
    };
    findings.push(Finding {
        severity,
        check: Check::Conntrack,
        read: format!("nf_conntrack: {} of {} entries taken, {needed} connections allowed", table.count, table.max),
        from: machine.path("net/netfilter/nf_conntrack_max"),
        why: "each connection takes an entry, and keeps it for two minutes after its end; when the table is full, SYNs are dropped \
              before TCP sees them, and no TCP counter shows it."
            .to_owned(),
        remedy: Remedy::sysctl("net.netfilter.nf_conntrack_max", needed.saturating_mul(2).max(table.max.saturating_mul(2))),
    });
}
