//! Kernel settings that are refused, what /health says, and the doctor: on recorded trees, without privilege.

use std::fs;
use std::path::{Path, PathBuf};

use tests::binary::workspace;
use tests::health::{findings, page, report, verdict};
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::setup::Setup;
use tests::tidegate::{Node, folder, run, write_config};
use tests::wait::eventually;

const CONFIGURATION: i32 = 78;
const TW_RECYCLE: &str = "net/ipv4/tcp_tw_recycle";

fn tree(name: &str) -> PathBuf {
    workspace().join("tests/fixtures/kernel").join(name)
}

fn unsafe_trees() -> [PathBuf; 2] {
    [
        "kernel-3.10.0-514.el7-tw-recycle/before",
        "kernel-4.9.0-tw-recycle/before",
    ]
    .map(tree)
}

/// A copy of a recorded tree, to be changed while it is read.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_kernel_that_loses_clients_is_not_started_on() {
    let (_folder, path) = folder();
    for tree in unsafe_trees() {
        let tree = tree.to_str().unwrap();
        let file = write_config(&path, &Setup::of("127.0.0.1:9").in_process());
        let outcome = run(&["run", "-c", &file, "--proc-root", tree]);
        assert_eq!(outcome.code, CONFIGURATION, "{tree}: {}", outcome.text());
        outcome.expect_one_line_about("net.ipv4.tcp_tw_recycle = 1");
        assert!(
            outcome.text().contains("sysctl -w net.ipv4.tcp_tw_recycle=0"),
            "{}",
            outcome.text()
        );
        assert!(
            !outcome.text().contains("listening"),
            "nothing was bound: {}",
            outcome.text()
        );

        let configured = Setup::of("127.0.0.1:9")
            .set("process.proc_root", &format!("'{tree}'"))
            .in_process();
        let configured = write_config(&path, &configured);
        assert_eq!(
            run(&["run", "-c", &configured]).code,
            CONFIGURATION,
            "by the configuration"
        );
        let checked = run(&["check", "-c", &configured, "--kernel"]);
        assert_eq!(checked.code, 1, "{}", checked.text());
        assert!(checked.stdout.contains("REFUSE tcp_tw_recycle"), "{}", checked.text());
        assert_eq!(run(&["check", "-c", &configured]).code, 0, "the file alone is valid");
    }
}

#[test]
fn a_setting_that_turns_unsafe_makes_health_critical_and_back() {
    let (_folder, path) = folder();
    let root = path.join("root");
    copy(&tree("kernel-4.9.0-tw-recycle/cured"), &root);
    let setting = ["proc/sys", "sys"]
        .map(|sys| root.join(sys).join(TW_RECYCLE))
        .into_iter()
        .find(|file| file.exists());
    let setting = setting.unwrap();
    fs::write(&setting, "0\n").unwrap();
    for (ready_when_critical, ready) in [("true", 200), ("false", 503)] {
        let config = Setup::of("127.0.0.1:9")
            .set("process.proc_root", &format!("'{}'", root.display()))
            .set("admin.ready_when_critical", ready_when_critical)
            .in_process();
        let node = Node::start(&path.join("tidegate.toml"), &config);
        let admin = node.address("admin");
        assert_ne!(report(admin)["status"], "critical");
        assert_eq!(page(admin, "/ready").status, 200);
        fs::write(&setting, "1\n").unwrap();
        eventually("health is critical", || report(admin)["status"] == "critical");
        assert_eq!(page(admin, "/ready").status, ready);
        assert_eq!(node.metric("tidegate_preflight_findings", r#"severity="refuse""#), 1);
        assert_eq!(node.metric("tidegate_health_status", r#"status="critical""#), 1);
        assert!(
            node.process
                .log()
                .contains("clients are lost: refuse: net.ipv4.tcp_tw_recycle = 1")
        );
        fs::write(&setting, "0\n").unwrap();
        eventually("health is no longer critical", || report(admin)["status"] != "critical");
        assert_eq!(page(admin, "/ready").status, 200);
    }
}

#[test]
fn the_report_is_json_or_text_as_it_is_asked_for() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let admin = tidegate.front.address("admin");
    let json = report(admin);
    assert_eq!(json["schema"], 1);
    assert_eq!(json["roles"], serde_json::json!(["front", "cache"]));
    let address = tidegate.address();
    let listener = &json["listeners"][0];
    assert_eq!(
        (listener["address"].as_str(), listener["role"].as_str()),
        (Some(address), Some("front"))
    );
    assert!(listener["queue"]["limit"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(verdict(&json, "front-cache"), "absent");
    let text = page(admin, "/health?format=text");
    assert!(
        text.field("content-type").starts_with("text/plain") && text.text().contains("leg client-front: "),
        "{text:?}"
    );
    let request = "GET /health HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";
    assert!(
        tests::client::once(admin, request)
            .field("content-type")
            .starts_with("text/plain")
    );
    let raw: serde_json::Value = serde_json::from_str(&page(admin, "/health/handshakes").text()).unwrap();
    let columns = raw["counters"].as_array().unwrap();
    assert!(
        columns.iter().any(|column| column["column"] == "ListenDrops"),
        "{} columns",
        columns.len()
    );
}

/// What other tests do to this machine's counters is theirs; our own connects are nobody else's.
#[test]
fn an_origin_that_does_not_take_connections_is_named() {
    let (refusing, blackhole) = (RefusingPort::reserve(), Blackhole::fill());
    for (address, expected) in [
        (refusing.address(), "cache-origin/client/connect_refused"),
        (blackhole.address(), "cache-origin/client/connect_timeout"),
    ] {
        let tidegate = Setup::of(&address)
            .uncached()
            .set("origin.o.connect_timeout", "'200ms'")
            .start();
        let admin = tidegate.front.address("admin");
        eventually(expected, || {
            assert!(tidegate.get("/").status >= 500);
            findings(&report(admin)).contains(&expected.to_owned())
        });
        let report = report(admin);
        assert_eq!(report["status"], "degraded");
        assert_eq!(verdict(&report, "cache-origin"), "lossy");
        let told = tidegate.front.process.log();
        assert!(
            told.contains("handshake finding opened: cache-origin: connect_"),
            "{told}"
        );
    }
}

#[test]
fn the_doctor_judges_a_recorded_machine() {
    for tree in unsafe_trees() {
        let outcome = run(&["doctor", "--seconds", "1", "--proc-root", tree.to_str().unwrap()]);
        assert_eq!(outcome.code, 1, "{}", outcome.text());
        assert!(outcome.stdout.contains("REFUSE tcp_tw_recycle"), "{}", outcome.text());
    }
    let (_folder, empty) = folder();
    let outcome = run(&[
        "doctor",
        "--seconds",
        "1",
        "--json",
        "--proc-root",
        empty.to_str().unwrap(),
    ]);
    assert_eq!(outcome.code, 2, "{}", outcome.text());
    let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&json["schema"], &json["verdict"]), (&1.into(), &"cannot-tell".into()));
    let file = run(&["doctor", "--sysctl", "--proc-root", unsafe_trees()[0].to_str().unwrap()]);
    assert_eq!(file.code, 0, "{}", file.text());
    assert!(
        file.stdout.contains("\nnet.ipv4.tcp_tw_recycle = 0\n"),
        "{}",
        file.stdout
    );
}

#[test]
fn the_doctor_judges_what_changed_between_two_copies() {
    let story = |moment| tree(&format!("kernel-3.10.0-514.el7-tw-recycle/{moment}"));
    let compare = |since: &Path, now: &Path| {
        let arguments = ["doctor", "--since", since.to_str().unwrap(), "--proc-root"];
        run(&[&arguments[..], &[now.to_str().unwrap()]].concat())
    };
    let outcome = compare(&story("before"), &story("after"));
    assert_eq!(outcome.code, 1, "{}", outcome.text());
    assert!(
        outcome
            .stdout
            .contains("tw_recycle (certain, 100 % of the drops), 120 in 25 s"),
        "{}",
        outcome.text()
    );
    let healthy = compare(&tree("kernel-6.18/healthy/before"), &tree("kernel-6.18/healthy/after"));
    assert_eq!(healthy.code, 0, "{}", healthy.text());
    assert!(
        healthy.stdout.contains("tcp_tw_recycle safe: removed in 4.12"),
        "{}",
        healthy.text()
    );
    // The wrong way round, and another machine's.
    for (since, now) in [
        (story("after"), story("before")),
        (story("before"), tree("kernel-6.18/healthy/after")),
    ] {
        assert_eq!(compare(&since, &now).code, 2);
    }
}

#[test]
fn the_doctor_asks_a_running_tidegate() {
    let refusing = RefusingPort::reserve();
    let tidegate = Setup::of(&refusing.address()).start();
    let admin = tidegate.front.address("admin");
    eventually("a finding is open", || {
        tidegate.get("/");
        report(admin)["status"] == "degraded"
    });
    let outcome = run(&["doctor", "--admin", &format!("http://{admin}")]);
    assert_eq!(outcome.code, 1, "{}", outcome.text());
    assert!(outcome.stdout.contains("leg cache-origin: "), "{}", outcome.stdout);
    let nobody = run(&["doctor", "--admin", &refusing.address()]);
    assert_eq!(nobody.code, 2, "{}", nobody.text());
    nobody.expect_one_line_about(&refusing.address());
}
