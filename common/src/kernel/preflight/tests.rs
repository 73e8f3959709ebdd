//! The preflight on recorded trees and on made-up machines.

use super::super::diagnosis::fixtures::trees;
use super::super::reading::Why;
use super::super::sysctl::Sysctls;
use super::finding::Check;
use super::sysctl_file::sysctl_file;
use super::tw_recycle::{Safety, safety};
use super::*;

fn machine_of(tree: &str) -> Machine {
    Machine {
        open_files: Reading::Available(OpenFiles {
            soft: 1 << 20,
            hard: 1 << 20,
        }),
        ..Machine::read(&ProcRoot::new(&trees().join(tree)))
    }
}

/// A made-up machine with these files below its root.
fn machine_with(files: &[(&str, &str)]) -> Machine {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    Machine {
        open_files: Reading::Available(OpenFiles {
            soft: 1 << 20,
            hard: 1 << 20,
        }),
        ..Machine::read(&ProcRoot::new(dir.path()))
    }
}

fn front() -> PreflightContext {
    PreflightContext {
        listeners: vec![ListenerPlan {
            name: "0.0.0.0:80".to_owned(),
            port: Some(80),
            backlog_asked: None,
        }],
        reuseport_shards: 4,
        connections_max: 10_000,
        backends: vec![BackendPlan {
            name: "idc1".to_owned(),
            servers: 2,
            connections_max: 1024,
        }],
        cache_memory: None,
    }
}

fn found(machine: &Machine, context: &PreflightContext) -> Vec<(&'static str, &'static str)> {
    let findings = preflight(machine, context);
    findings
        .iter()
        .map(|finding| (finding.severity.word(), finding.check.word()))
        .collect()
}

#[test]
fn both_machines_of_the_story_are_refused_by_name() {
    for tree in [
        "kernel-3.10.0-514.el7-tw-recycle/before",
        "kernel-4.9.0-tw-recycle/before",
    ] {
        let findings = preflight(&machine_of(tree), &front());
        assert!(refuses(&findings), "{tree}");
        let first = &findings[0];
        assert_eq!(
            (first.severity, first.check),
            (Severity::Refuse, Check::TwRecycle),
            "{tree}"
        );
        assert_eq!(first.read, "net.ipv4.tcp_tw_recycle = 1, net.ipv4.tcp_timestamps = 1");
        assert!(first.from.ends_with("proc/sys/net/ipv4/tcp_tw_recycle"));
        assert_eq!(
            first.remedy.command().as_deref(),
            Some("sysctl -w net.ipv4.tcp_tw_recycle=0")
        );
        assert_eq!(first.remedy.file_line().as_deref(), Some("net.ipv4.tcp_tw_recycle = 0"));
        let cured = preflight(&machine_of(&tree.replace("before", "cured")), &front());
        assert!(!refuses(&cured), "{tree}");
    }
}

#[test]
fn tw_recycle_is_safe_unsafe_or_cannot_be_told() {
    let sysctl = "proc/sys/net/ipv4/tcp_tw_recycle";
    let release = "proc/sys/kernel/osrelease";
    let somaxconn = ("proc/sys/net/core/somaxconn", "4096\n");
    let old = ("proc/net/netstat", "TcpExt: PAWSPassive ListenDrops\nTcpExt: 7 7\n");
    let new = ("proc/net/netstat", "TcpExt: ListenDrops\nTcpExt: 0\n");
    for (files, expected) in [
        (vec![(release, "3.10.0\n"), (sysctl, "1\n")], Safety::Unsafe(1)),
        (vec![(release, "3.10.0\n"), (sysctl, "0\n")], Safety::Off),
        (vec![(release, "6.18.44\n"), (sysctl, "2\n")], Safety::Unsafe(2)),
        (vec![(release, "4.12.0\n")], Safety::Removed),
        (vec![(release, "4.11.9\n")], Safety::CannotTell(Why::Absent)),
        (
            vec![(release, "3.10.0-1160.el7.x86_64\n"), old],
            Safety::CannotTell(Why::Absent),
        ),
        (
            vec![(release, "3.10.0\n"), (sysctl, "")],
            Safety::CannotTell(Why::Malformed("one number")),
        ),
        (
            vec![(release, "6.18.44\n"), (sysctl, "?")],
            Safety::CannotTell(Why::Malformed("one number")),
        ),
        // Without a version: the columns tell the age, if the settings are there at all.
        (vec![new, somaxconn], Safety::Removed),
        (vec![old, somaxconn], Safety::CannotTell(Why::Absent)),
        (vec![new], Safety::CannotTell(Why::Absent)),
        (vec![], Safety::CannotTell(Why::Absent)),
    ] {
        let machine = machine_with(&files);
        assert_eq!(safety(&machine), expected, "{files:?}");
        let findings = preflight(&machine, &PreflightContext::default());
        let severity = findings
            .iter()
            .find(|finding| finding.check == Check::TwRecycle)
            .map(|finding| finding.severity);
        let expected = match expected {
            Safety::Off | Safety::Removed => None,
            Safety::Unsafe(_) => Some(Severity::Refuse),
            Safety::CannotTell(_) => Some(Severity::Warn),
        };
        assert_eq!(severity, expected, "{files:?}");
    }
}

#[test]
fn timestamps_off_do_not_make_tw_recycle_safe_and_the_trap_is_named() {
    let machine = machine_with(&[
        ("proc/sys/kernel/osrelease", "3.10.0\n"),
        ("proc/sys/net/ipv4/tcp_tw_recycle", "1\n"),
        ("proc/sys/net/ipv4/tcp_timestamps", "0\n"),
    ]);
    let findings = preflight(&machine, &PreflightContext::default());
    assert!(refuses(&findings));
    assert!(
        findings[0].why.contains("every client of the last 60 s is locked out"),
        "{}",
        findings[0].why
    );
}

#[test]
fn a_healthy_machine_with_defaults_gets_notes_at_most() {
    for tree in ["kernel-6.18", "kernel-6.18/healthy/after"] {
        let expected = [("note", "tcp_migrate_req"), ("note", "tcp_tw_reuse")];
        assert_eq!(found(&machine_of(tree), &front()), expected, "{tree}");
    }
}

#[test]
fn the_backlog_of_the_story_is_cut_and_said_so() {
    let mut context = front();
    context.listeners[0].backlog_asked = Some(200_000);
    for (release, remedy) in [
        (
            "6.18.44\n",
            "sysctl -w net.core.somaxconn=200000; and in /etc/sysctl.d: net.core.somaxconn = 200000",
        ),
        ("3.10.0\n", "ask for 65535 at most: kernels before 5.0 count to no more"),
    ] {
        let machine = machine_with(&[
            ("proc/sys/kernel/osrelease", release),
            ("proc/sys/net/core/somaxconn", "65535\n"),
            ("proc/sys/net/ipv4/tcp_tw_recycle", "0\n"),
        ]);
        let findings = preflight(&machine, &context);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].read, "0.0.0.0:80: asked 200000, the kernel gives 65535");
        assert_eq!(findings[0].remedy.to_string(), remedy);
    }
}

#[test]
fn each_setting_is_judged() {
    let ipv4 = |name: &str| format!("proc/sys/net/ipv4/{name}");
    for (name, text, expected) in [
        (ipv4("tcp_syncookies"), "0", ("warn", "tcp_syncookies")),
        (ipv4("tcp_syncookies"), "2", ("note", "tcp_syncookies")),
        (ipv4("tcp_abort_on_overflow"), "1", ("warn", "tcp_abort_on_overflow")),
        (ipv4("tcp_tw_reuse"), "0", ("note", "tcp_tw_reuse")),
        (ipv4("tcp_max_tw_buckets"), "1024", ("warn", "tcp_max_tw_buckets")),
        (ipv4("tcp_max_tw_buckets"), "8192", ("note", "tcp_max_tw_buckets")),
        (ipv4("tcp_fin_timeout"), "120", ("note", "tcp_fin_timeout")),
        (ipv4("tcp_migrate_req"), "0", ("note", "tcp_migrate_req")),
        (ipv4("conf/all/rp_filter"), "1", ("note", "rp_filter")),
        (ipv4("conf/default/rp_filter"), "1", ("note", "rp_filter")),
        (ipv4("tcp_timestamps"), "0", ("note", "tcp_timestamps")),
        (
            ipv4("ip_local_port_range"),
            "60000 61023",
            ("warn", "ip_local_port_range"),
        ),
        (
            ipv4("ip_local_port_range"),
            "60000 61099",
            ("note", "ip_local_port_range"),
        ),
        ("proc/sys/net/core/somaxconn".to_owned(), "128", ("warn", "somaxconn")),
        ("proc/sys/fs/file-max".to_owned(), "1000", ("warn", "file_max")),
    ] {
        let machine = machine_with(&[("proc/sys/kernel/osrelease", "6.18.44"), (&name, text)]);
        assert_eq!(found(&machine, &front()), [expected], "{name} = {text}");
    }
}

#[test]
fn a_small_syn_backlog_matters_where_it_decides() {
    for (release, cookies, expected) in [
        ("6.18.44", "1", &[][..]),
        (
            "6.18.44",
            "0",
            &[("warn", "tcp_syncookies"), ("warn", "tcp_max_syn_backlog")][..],
        ),
        ("4.2.0", "1", &[("warn", "tcp_max_syn_backlog")][..]),
    ] {
        let machine = machine_with(&[
            ("proc/sys/kernel/osrelease", release),
            ("proc/sys/net/ipv4/tcp_tw_recycle", "0"),
            ("proc/sys/net/ipv4/tcp_syncookies", cookies),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "128"),
        ]);
        assert_eq!(found(&machine, &front()), expected, "{release}, cookies {cookies}");
    }
}

#[test]
fn room_is_checked_against_the_limits_of_the_configuration() {
    let mut machine = machine_with(&[
        ("proc/sys/kernel/osrelease", "6.18.44"),
        ("proc/meminfo", "MemTotal: 4194304 kB\n"),
        ("proc/sys/net/ipv4/tcp_mem", "1 2 262144"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "12000"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "10"),
    ]);
    machine.open_files = Reading::Available(OpenFiles { soft: 1024, hard: 4096 });
    let mut context = front();
    let gib = |gib: u64| Some(gib << 30);
    for (cache, hard, expected) in [
        (None, 1 << 20, &[("note", "nofile"), ("note", "nf_conntrack_max")][..]),
        (gib(3), 1 << 20, &[("note", "nofile"), ("note", "nf_conntrack_max")][..]),
        (
            Some(3400 << 20),
            4096,
            &[
                ("warn", "nofile"),
                ("warn", "cache_memory"),
                ("note", "nf_conntrack_max"),
            ][..],
        ),
        (
            Some(3200 << 20),
            4096,
            &[("warn", "nofile"), ("note", "tcp_mem"), ("note", "nf_conntrack_max")][..],
        ),
    ] {
        context.cache_memory = cache;
        machine.open_files = Reading::Available(OpenFiles { soft: 1024, hard });
        assert_eq!(found(&machine, &context), expected, "{cache:?} {hard}");
    }
    context.connections_max = 20_000;
    context.cache_memory = None;
    assert!(found(&machine, &context).contains(&("warn", "nf_conntrack_max")));
}

#[test]
fn the_sysctl_file_is_whole_and_its_values_pass_the_preflight() {
    let context = PreflightContext {
        backends: vec![BackendPlan {
            name: "idc1".to_owned(),
            servers: 1,
            connections_max: 30_000,
        }],
        listeners: vec![ListenerPlan {
            name: "web".to_owned(),
            port: Some(8080),
            backlog_asked: Some(9000),
        }],
        ..front()
    };
    for tree in [
        "kernel-3.10.0-514.el7-tw-recycle/before",
        "kernel-4.9.0-tw-recycle/before",
        "kernel-6.18/syn-queue-full/after",
    ] {
        let machine = machine_of(tree);
        let text = sysctl_file(&machine, &context);
        let set: Vec<(&str, &str)> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(" = "))
            .collect();
        assert_eq!(
            set.iter().any(|(key, _)| *key == "net.ipv4.tcp_tw_recycle"),
            !tree.contains("6.18"),
            "{text}"
        );
        assert!(text.contains("net.ipv4.ip_local_reserved_ports = 8080"), "{text}");
        // The machine after loading the file.
        let files: Vec<(String, &str)> = set
            .iter()
            .map(|(key, value)| (format!("proc/sys/{}", key.replace('.', "/")), *value))
            .collect();
        let mut files: Vec<(&str, &str)> = files.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let kernel = machine.kernel.get().expect("a version").to_string();
        files.push(("proc/sys/kernel/osrelease", &kernel));
        assert_eq!(found(&machine_with(&files), &context), [], "{tree}\n{text}");
    }
}

#[test]
fn every_setting_that_is_read_exists_by_its_path() {
    let root = ProcRoot::default();
    let sysctls = Sysctls::read(&root);
    assert!(sysctls.tcp_syncookies.get().is_some());
    let names: Vec<_> = Sysctls::PATHS.iter().map(|(_, path)| *path).collect();
    assert!(names.contains(&"net/ipv4/tcp_tw_recycle") && names.len() >= 17);
}

#[test]
fn drift_is_what_appeared_and_what_went() {
    let safe = preflight(&machine_of("kernel-4.9.0-tw-recycle/cured"), &front());
    let unsafe_now = preflight(&machine_of("kernel-4.9.0-tw-recycle/before"), &front());
    let drift = drift(&safe, &unsafe_now);
    assert!(refuses(&drift.appeared) && drift.appeared.len() == 1, "{drift:?}");
    assert_eq!(super::drift(&unsafe_now, &safe).gone, drift.appeared);
    assert_eq!(super::drift(&safe, &safe), Drift::default());
}
