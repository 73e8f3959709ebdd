//! A whole, commented sysctl.d file for this machine and configuration (`tidegate doctor --sysctl`).
//!
//! Text only: tidegate never changes a setting itself. What is right already is written too, so that it stays.

use std::fmt::Write as _;

use super::super::reading::Reading;
use super::queues::wanted_somaxconn;
use super::{Machine, PreflightContext};

/// One setting of the file.
struct Line {
    key: &'static str,
    now: String,
    /// `None`: this kernel does not have it, or it is right for this configuration.
    wanted: Option<String>,
    why: &'static str,
}

/// The file's text.
pub fn sysctl_file(machine: &Machine, context: &PreflightContext) -> String {
    let mut text = String::from(
        "# Kernel settings for tidegate on this machine, written by `tidegate doctor --sysctl`.\n\
         # Put it into /etc/sysctl.d/60-tidegate.conf and load it with: sysctl --system\n\
         # net.core.somaxconn counts from the next listen(): restart what listens.\n",
    );
    // Writing to a String cannot fail.
    let mut line = |line: std::fmt::Arguments<'_>| text.write_fmt(line).unwrap_or_default();
    line(format_args!("# Kernel {}.\n", machine.kernel));
    for setting in listening(machine, context)
        .into_iter()
        .chain(connecting(machine, context))
        .chain(room(machine, context))
    {
        line(format_args!("\n# {}\n", setting.why));
        match setting.wanted {
            Some(wanted) if wanted == setting.now => line(format_args!("# Already so.\n{} = {wanted}\n", setting.key)),
            Some(wanted) => line(format_args!("# Now: {}.\n{} = {wanted}\n", setting.now, setting.key)),
            None => line(format_args!("# Not set here: {} is {}.\n", setting.key, setting.now)),
        }
    }
    text
}

fn listening(machine: &Machine, context: &PreflightContext) -> Vec<Line> {
    let settings = &machine.settings;
    let somaxconn = wanted_somaxconn(machine, context);
    vec![
        fixed(
            "net.ipv4.tcp_tw_recycle",
            &settings.tcp_tw_recycle,
            0,
            "Rejects clients behind NAT without a trace; removed in 4.12.",
        ),
        fixed(
            "net.ipv4.tcp_timestamps",
            &settings.tcp_timestamps,
            1,
            "Needed by tcp_tw_reuse and for good SYN cookies. Never switch it off on a running machine with tcp_tw_recycle.",
        ),
        fixed(
            "net.ipv4.tcp_syncookies",
            &settings.tcp_syncookies,
            1,
            "A full SYN queue answers by cookie instead of dropping.",
        ),
        fixed(
            "net.ipv4.tcp_abort_on_overflow",
            &settings.tcp_abort_on_overflow,
            0,
            "A full accept queue lets clients try again instead of resetting them.",
        ),
        at_least(
            "net.core.somaxconn",
            &settings.somaxconn,
            somaxconn.unwrap_or(4096),
            "The longest accept queue that listen() gives.",
        ),
        at_least(
            "net.ipv4.tcp_max_syn_backlog",
            &settings.tcp_max_syn_backlog,
            somaxconn.unwrap_or(4096),
            "Room for half-open connections (decides before 4.3, and with cookies off).",
        ),
        fixed(
            "net.ipv4.tcp_migrate_req",
            &settings.tcp_migrate_req,
            1,
            "Connections queued at a closing listener move to another worker's (since 5.14).",
        ),
        rp_filter("net.ipv4.conf.all.rp_filter", &settings.rp_filter_all),
        rp_filter("net.ipv4.conf.default.rp_filter", &settings.rp_filter_default),
        at_least(
            "net.core.netdev_max_backlog",
            &settings.netdev_max_backlog,
            4096,
            "Packets that may wait for a CPU.",
        ),
    ]
}

fn connecting(machine: &Machine, context: &PreflightContext) -> Vec<Line> {
    let settings = &machine.settings;
    let tight = match (settings.local_ports(), context.most_per_server()) {
        (Some(ports), Some(backend)) => backend.connections_max.saturating_mul(2) > ports,
        _ => false,
    };
    let range = settings
        .ip_local_port_range
        .as_ref()
        .map(|[first, last]| format!("{first} {last}"));
    let mut lines = vec![
        Line {
            wanted: (tight && range.as_ref().ok().is_some()).then(|| "1024 65535".to_owned()),
            now: range.to_string(),
            key: "net.ipv4.ip_local_port_range",
            why: "Local ports: one for each connection to one server.",
        },
        at_least(
            "net.ipv4.tcp_max_tw_buckets",
            &settings.tcp_max_tw_buckets,
            262_144,
            "Sockets in TIME_WAIT, about 250 bytes each.",
        ),
        Line {
            wanted: settings
                .tcp_fin_timeout
                .get()
                .map(|seconds| seconds.min(60).to_string()),
            now: settings.tcp_fin_timeout.to_string(),
            key: "net.ipv4.tcp_fin_timeout",
            why: "Seconds to wait for a peer that does not close. Does not shorten TIME_WAIT.",
        },
    ];
    if context.connects() {
        lines.push(fixed(
            "net.ipv4.tcp_tw_reuse",
            &settings.tcp_tw_reuse,
            1,
            "connect() may take a port in TIME_WAIT after a second; rejects nobody.",
        ));
    }
    if let Some(reserved) = reserved(context).filter(|_| tight) {
        lines.push(Line {
            key: "net.ipv4.ip_local_reserved_ports",
            now: "not ours".to_owned(),
            wanted: Some(reserved),
            why: "Our listeners' ports are not for outgoing connections. Add those of other programs on this machine.",
        });
    }
    lines
}

fn room(machine: &Machine, context: &PreflightContext) -> Vec<Line> {
    let files = i64::try_from(context.files_needed().saturating_mul(2)).unwrap_or(i64::MAX);
    let file_max = machine
        .settings
        .file_max
        .as_ref()
        .map(|most| i64::try_from(*most).unwrap_or(i64::MAX));
    let mut lines = vec![at_least(
        "fs.file-max",
        &file_max,
        files,
        "Open files of the whole machine.",
    )];
    if let Reading::Available(table) = machine.settings.conntrack {
        let needed = context
            .connections_max
            .saturating_add(context.backend_connections())
            .saturating_mul(2);
        lines.push(Line {
            key: "net.netfilter.nf_conntrack_max",
            now: table.max.to_string(),
            wanted: Some(table.max.max(needed).to_string()),
            why: "Connections that the firewall tracks; beyond it SYNs are dropped before TCP.",
        });
    }
    lines
}

fn reserved(context: &PreflightContext) -> Option<String> {
    let mut ports: Vec<u16> = context
        .listeners
        .iter()
        .filter_map(|listener| listener.port)
        .filter(|&port| port >= 1024)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    (!ports.is_empty()).then(|| ports.join(","))
}

fn fixed(key: &'static str, now: &Reading<i64>, wanted: i64, why: &'static str) -> Line {
    Line {
        key,
        now: now.to_string(),
        wanted: now.get().map(|_| wanted.to_string()),
        why,
    }
}

fn at_least(key: &'static str, now: &Reading<i64>, wanted: i64, why: &'static str) -> Line {
    Line {
        key,
        now: now.to_string(),
        wanted: now.get().map(|now| now.max(wanted).to_string()),
        why,
    }
}

/// Strict becomes loose; off and loose stay.
fn rp_filter(key: &'static str, now: &Reading<i64>) -> Line {
    let wanted = now.get().map(|value| if value == 1 { 2 } else { value });
    Line {
        key,
        now: now.to_string(),
        wanted: wanted.map(|value| value.to_string()),
        why: "Reverse path filter: 2 (loose) does not drop SYNs of asymmetric routes.",
    }
}
