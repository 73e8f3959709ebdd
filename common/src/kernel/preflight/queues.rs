//! Settings of the listening side: accept queue, SYN queue, and what happens when they are full.

use super::finding::{Check, Finding, Remedy, Severity};
use super::{Machine, PreflightContext};

/// An accept queue below this is filled by an ordinary burst; 128 was the default until 5.3, 4096 is since.
const SOMAXCONN_SMALL: i64 = 1024;
/// `tcp_max_syn_backlog` below this is small where it decides anything.
const SYN_BACKLOG_SMALL: i64 = 1024;
/// Until 5.0 the queue's length was a 16-bit number.
const SOMAXCONN_MAX_BEFORE_5_0: i64 = 65_535;

pub(super) fn check(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    backlog(machine, context, findings);
    syn_queue(machine, findings);
    if machine
        .settings
        .tcp_abort_on_overflow
        .get()
        .is_some_and(|value| value != 0)
    {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::AbortOnOverflow,
            read: format!(
                "net.ipv4.tcp_abort_on_overflow = {}",
                machine.settings.tcp_abort_on_overflow
            ),
            from: machine.path("net/ipv4/tcp_abort_on_overflow"),
            why: "when the accept queue is full, clients get a reset instead of another try a second later.".to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_abort_on_overflow", 0),
        });
    }
    if context.reuseport_shards > 1 && machine.settings.tcp_migrate_req.get() == Some(0) {
        findings.push(Finding {
            severity: Severity::Note,
            check: Check::MigrateReq,
            read: "net.ipv4.tcp_migrate_req = 0".to_owned(),
            from: machine.path("net/ipv4/tcp_migrate_req"),
            why: "connections that wait in the queue of a closing SO_REUSEPORT listener are reset; with 1 (since 5.14) they move \
                  to another member of the group."
                .to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_migrate_req", 1),
        });
    }
    rp_filter(machine, findings);
}

fn backlog(machine: &Machine, context: &PreflightContext, findings: &mut Vec<Finding>) {
    let Some(somaxconn) = machine.settings.somaxconn.get() else {
        return;
    };
    let cut = context
        .listeners
        .iter()
        .filter_map(|listener| Some((listener, i64::from(listener.backlog_asked?))));
    let cut: Vec<_> = cut.filter(|(_, asked)| *asked > somaxconn).collect();
    for (listener, asked) in &cut {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::Backlog,
            read: format!("{}: asked {asked}, the kernel gives {somaxconn}", listener.name),
            from: machine.path("net/core/somaxconn"),
            why: "the accept queue of a listener is min(backlog, net.core.somaxconn) at the time of listen(); the kernel cuts it \
                  silently, and raising the setting later does nothing until listen() is called again."
                .to_owned(),
            remedy: match wanted_somaxconn(machine, context) {
                Some(wanted) if wanted >= *asked => Remedy::sysctl("net.core.somaxconn", wanted),
                _ => Remedy::Advice(format!("ask for {SOMAXCONN_MAX_BEFORE_5_0} at most: kernels before 5.0 count to no more")),
            },
        });
    }
    if somaxconn < SOMAXCONN_SMALL && cut.is_empty() {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::Somaxconn,
            read: format!("net.core.somaxconn = {somaxconn}"),
            from: machine.path("net/core/somaxconn"),
            why: format!(
                "no accept queue can be longer than {somaxconn} connections: a burst, or a pause of a few milliseconds at many \
                 connections per second, fills it, and further handshakes are dropped."
            ),
            remedy: Remedy::sysctl("net.core.somaxconn", wanted_somaxconn(machine, context).unwrap_or(4096)),
        });
    }
}

/// What somaxconn should be: what was asked for, never less than it is or than 4096.
pub(super) fn wanted_somaxconn(machine: &Machine, context: &PreflightContext) -> Option<i64> {
    let asked = context
        .listeners
        .iter()
        .filter_map(|listener| listener.backlog_asked)
        .max()
        .unwrap_or(0);
    let wanted = machine.settings.somaxconn.get()?.max(i64::from(asked)).max(4096);
    let wide = machine.kernel_at_least(5, 0) == Some(true);
    Some(if wide {
        wanted
    } else {
        wanted.min(SOMAXCONN_MAX_BEFORE_5_0)
    })
}

fn syn_queue(machine: &Machine, findings: &mut Vec<Finding>) {
    let settings = &machine.settings;
    let cookies = settings.tcp_syncookies.get();
    match cookies {
        Some(0) => findings.push(Finding {
            severity: Severity::Warn,
            check: Check::Syncookies,
            read: "net.ipv4.tcp_syncookies = 0".to_owned(),
            from: machine.path("net/ipv4/tcp_syncookies"),
            why: "when the SYN queue is full, new clients are dropped; with 1 they are answered by cookie and none is lost."
                .to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_syncookies", 1),
        }),
        Some(2) => findings.push(Finding {
            severity: Severity::Note,
            check: Check::Syncookies,
            read: "net.ipv4.tcp_syncookies = 2".to_owned(),
            from: machine.path("net/ipv4/tcp_syncookies"),
            why: "every SYN is answered by cookie, a setting for tests: TCP Fast Open and some options are lost.".to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_syncookies", 1),
        }),
        _ => {}
    }
    // Before 4.3 it bounds the SYN queue; later it only matters with cookies off (its last quarter is for known peers).
    let decides = cookies == Some(0)
        || machine
            .kernel
            .get()
            .is_some_and(super::super::version::KernelVersion::syn_queue_is_its_own);
    if let Some(backlog) = settings.tcp_max_syn_backlog.get()
        && decides
        && backlog < SYN_BACKLOG_SMALL
    {
        findings.push(Finding {
            severity: Severity::Warn,
            check: Check::MaxSynBacklog,
            read: format!("net.ipv4.tcp_max_syn_backlog = {backlog}, net.ipv4.tcp_syncookies = {}", settings.tcp_syncookies),
            from: machine.path("net/ipv4/tcp_max_syn_backlog"),
            why: "there is little room for half-open connections: clients with a long round trip fill it, and with SYN cookies \
                  off new clients are dropped when three quarters are taken, by a rule that no counter names."
                .to_owned(),
            remedy: Remedy::sysctl("net.ipv4.tcp_max_syn_backlog", 4096),
        });
    }
}

fn rp_filter(machine: &Machine, findings: &mut Vec<Finding>) {
    // The larger of "all" and the interface's own counts; "default" is what new interfaces get.
    let settings = &machine.settings;
    let readings = [
        (
            "net.ipv4.conf.all.rp_filter",
            "net/ipv4/conf/all/rp_filter",
            &settings.rp_filter_all,
        ),
        (
            "net.ipv4.conf.default.rp_filter",
            "net/ipv4/conf/default/rp_filter",
            &settings.rp_filter_default,
        ),
    ];
    let Some((key, path, _)) = readings.into_iter().find(|(_, _, value)| value.get() == Some(1)) else {
        return;
    };
    findings.push(Finding {
        severity: Severity::Note,
        check: Check::RpFilter,
        read: format!("{key} = 1"),
        from: machine.path(path),
        why: "SYNs that come in by another interface than the way back are dropped before TCP; where routes are asymmetric, \
              clients of whole networks are lost (IPReversePathFilter counts them)."
            .to_owned(),
        remedy: Remedy::sysctl(key, 2),
    });
}
