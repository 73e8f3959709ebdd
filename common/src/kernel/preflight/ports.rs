//! Settings of the connecting side: local ports and TIME_WAIT.

use super::super::sockstat::ratio;
use super::finding::{Check, Finding, Remedy, Severity};
use super::{Machine, PreflightContext};

/// Few enough buckets that a proxy without keep-alive fills them in seconds.
const TW_BUCKETS_SMALL: i64 = 16_384;
const TW_BUCKETS_TINY: i64 = 4_096;
const FIN_TIMEOUT_DEFAULT: i64 = 60;

pub(super) fn check(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    let tight = port_range(machine, context, findings);
    if context.connects() {
        tw_reuse(machine, tight, findings);
    }
    tw_buckets(machine, findings);
    if let Some(seconds) = machine
        .settings
        .tcp_fin_timeout
        .get()
        .filter(|&seconds| seconds > FIN_TIMEOUT_DEFAULT)
    {
        findings.push(Finding {
            severity: Severity::Note,
            check: Check::FinTimeout,
            read: format!("net.ipv4.tcp_fin_timeout = {seconds}"),
            from: machine.path("net/ipv4/tcp_fin_timeout"),
            why: "connections closed by us whose peer never closes are kept for so long in FIN_WAIT_2. (It does not change \
                  TIME_WAIT, which lasts 60 s.)"
                .to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_fin_timeout", FIN_TIMEOUT_DEFAULT),
        });
    }
}

/// Each connection to one server takes a port of its own. Says whether they may run out.
fn port_range(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) -> bool {
    let (Some(ports), Some(backend)) = (machine.settings.local_ports(), context.most_per_server()) else {
        return false;
    };
    let share = ratio(backend.connections_max, ports);
    if share < 0.8 {
        return false;
    }
    let severity = if share >= 1.0 { Severity::Warn } else { Severity::Note };
    findings.push(Finding {
        severity,
        check: Check::PortRange,
        read: format!("{ports} local ports, {} connections allowed to each server of \"{}\"", backend.connections_max, backend.name),
        from: machine.path("net/ipv4/ip_local_port_range"),
        why: "each connection to one server takes a local port of its own, and keeps it for 60 s of TIME_WAIT when it is closed \
              from here; when none is left, connect() fails at once (EADDRNOTAVAIL)."
            .to_owned(),
        remedy: Remedy::sysctl("net.ipv4.ip_local_port_range", "1024 65535"),
    });
    true
}

fn tw_reuse(machine: &Machine, tight: bool, findings: &mut Vec<Finding>) {
    let Some(value @ (0 | 2)) = machine.settings.tcp_tw_reuse.get() else {
        return;
    };
    let knows_2 = machine.kernel_at_least(4, 19);
    let meaning = match (value, knows_2) {
        (0, Some(false)) => "0 (the default of this kernel) connect() never takes a local port that is in TIME_WAIT",
        (0, _) => {
            "0 connect() never takes a local port that is in TIME_WAIT (2, the default since 4.19, does so on loopback)"
        }
        _ => "2 (the default since 4.19) connect() takes a local port that is in TIME_WAIT on loopback only",
    };
    findings.push(Finding {
        severity: if tight { Severity::Warn } else { Severity::Note },
        check: Check::TwReuse,
        read: format!("net.ipv4.tcp_tw_reuse = {value}"),
        from: machine.path("net/ipv4/tcp_tw_reuse"),
        why: format!(
            "with {meaning}; with 1 it takes one everywhere, after a second, which timestamps make safe (that has nothing to do \
             with tcp_tw_recycle and rejects nobody). With enough keep-alive it does not matter."
        ),
        remedy: Remedy::sysctl("net.ipv4.tcp_tw_reuse", 1),
    });
}

fn tw_buckets(machine: &Machine, findings: &mut Vec<Finding>) {
    let Some(buckets) = machine
        .settings
        .tcp_max_tw_buckets
        .get()
        .filter(|&buckets| buckets < TW_BUCKETS_SMALL)
    else {
        return;
    };
    findings.push(Finding {
        severity: if buckets < TW_BUCKETS_TINY { Severity::Warn } else { Severity::Note },
        check: Check::MaxTwBuckets,
        read: format!("net.ipv4.tcp_max_tw_buckets = {buckets}"),
        from: machine.path("net/ipv4/tcp_max_tw_buckets"),
        why: format!(
            "at more than {} closed connections per second TIME_WAIT is full and sockets are closed without it: no handshake is \
             lost, but late segments may hit a new connection (TCPTimeWaitOverflow counts them).",
            buckets / 60
        ),
        remedy: Remedy::sysctl("net.ipv4.tcp_max_tw_buckets", 262_144),
    });
}
