//! New connections are shed while memory or file descriptors run short; those that are open go on.

use std::path::Path;

use tests::client::{Client, get};
use tests::health;
use tests::origin::Origin;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::wait::eventually;
use tests::wire::Stop;

/// A recorded `/proc` in which this process has so much memory, and the machine that much besides.
fn write_memory(root: &Path, used_kib: u64, available_kib: u64) {
    let files = [
        ("self/status", format!("Name:\ttidegate\nVmRSS:\t{used_kib} kB\n")),
        (
            "meminfo",
            format!("MemTotal: 9999999 kB\nMemAvailable: {available_kib} kB\n"),
        ),
    ];
    for (name, text) in files {
        let path = root.join("proc").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // In one step: a reader sees the old text or the new one.
        let whole = path.with_extension("new");
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(whole, path).unwrap();
    }
}

fn echo() -> Origin {
    Origin::start(|request| tests::script::Script::ok(request.target()))
}

fn by_memory(origin: &Origin, root: &Path) -> Setup {
    Setup::of(&origin.address())
        .set("process.proc_root", &format!("'{}'", root.display()))
        .set("health.sample_every", "'500ms'")
        .set("limits.shedding.begin", "'80%'")
        .set("limits.shedding.end", "'50%'")
}

/// Waits until the control thread has looked and found that memory runs short, or that it does no more.
fn wait_until_scarce(tidegate: &Tidegate, resource: &str, is_scarce: bool) {
    tidegate.expect_metric(
        "tidegate_shedding",
        &format!("resource=\"{resource}\""),
        u64::from(is_scarce),
    );
}

fn shed(tidegate: &Tidegate, reason: &str) -> u64 {
    tidegate.metric("tidegate_connections_shed_total", &format!("reason=\"{reason}\""))
}

#[test]
fn while_memory_runs_short_new_clients_are_told_to_come_again_and_others_go_on() {
    let origin = echo();
    let (_folder, root) = folder();
    write_memory(&root, 100, 900);
    let tidegate = by_memory(&origin, &root)
        .set("limits.shedding.retry_after", "'7s'")
        .start();
    let mut running = tidegate.client();
    assert_eq!(running.get("/").status, 200);

    write_memory(&root, 800, 200);
    wait_until_scarce(&tidegate, "memory", true);
    for _ in 0..3 {
        let refused = tidegate.get("/");
        assert_eq!((refused.status, refused.field("retry-after")), (503, "7"));
        assert!(refused.says_close());
    }
    assert_eq!(running.get("/").text(), "/", "what runs goes on");
    assert_eq!(shed(&tidegate, "memory"), 3);
    let health = health::report(tidegate.front.address("admin"));
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["resources"][0]["used"], 800 << 10, "{health:#}");
    assert_eq!(health["resources"][0]["scarce"], true);

    // Less, and not yet little enough.
    write_memory(&root, 600, 400);
    eventually("it was looked again", || {
        tidegate.metric("tidegate_memory_used_bytes", "") == 600 << 10
    });
    assert_eq!(tidegate.get("/").status, 503);
    write_memory(&root, 400, 600);
    wait_until_scarce(&tidegate, "memory", false);
    assert_eq!(tidegate.get("/").status, 200);
    assert_eq!(
        tidegate.metric("tidegate_shedding_begun_total", "resource=\"memory\""),
        1
    );
    let log = tidegate.front.process.log();
    for line in [
        "new connections are shed: this runs short",
        "new connections are let in again",
    ] {
        assert_eq!(log.matches(line).count(), 1, "once per change:\n{log}");
    }
}

#[test]
fn clients_are_closed_or_wait_where_the_configuration_says_so() {
    for by in ["close", "wait"] {
        let origin = echo();
        let (_folder, root) = folder();
        write_memory(&root, 100, 900);
        let tidegate = by_memory(&origin, &root)
            .set("process.workers", "1")
            .set("limits.shedding.by", &format!("'{by}'"))
            .start();
        let mut running = tidegate.client();
        assert_eq!(running.get("/").status, 200);
        write_memory(&root, 900, 100);
        wait_until_scarce(&tidegate, "memory", true);
        if by == "close" {
            let mut client = tidegate.client();
            client.send(get("/"));
            let (stop, text) = client.wait_for_end();
            assert!(stop != Stop::Silence && text.is_empty(), "{stop:?} {text}");
            assert_eq!(shed(&tidegate, "memory"), 1);
            continue;
        }
        // One that was being accepted when it began is served.
        let mut first = tidegate.client();
        assert_eq!(first.get("/").status, 200);
        let accepted = || tidegate.metric("tidegate_connections_accepted_total", "");
        let before = accepted();
        let mut waiting: Vec<Client> = (0..3).map(|_| tidegate.client()).collect();
        waiting.iter_mut().for_each(|client| client.send(get("/")));
        assert_eq!(running.get("/").status, 200, "what runs goes on");
        assert_eq!(accepted(), before, "nobody accepts them");
        write_memory(&root, 100, 900);
        for client in &mut waiting {
            assert_eq!(client.read().status, 200);
        }
        assert_eq!(shed(&tidegate, "memory"), 0);
    }
}

#[test]
fn while_descriptors_run_short_new_clients_are_shed() {
    const BUDGET: u64 = 120;
    let origin = echo();
    let tidegate = Setup::of(&origin.address())
        .set("health.sample_every", "'500ms'")
        .set("limits.shedding.descriptors", &BUDGET.to_string())
        .start();
    let mut kept = Vec::new();
    eventually("descriptors run short", || {
        let mut client = tidegate.client();
        if client.get("/").status == 200 {
            kept.push(client);
        }
        tidegate.metric("tidegate_shedding", "resource=\"descriptors\"") == 1
    });
    assert!(shed(&tidegate, "descriptors") > 0);
    assert!(
        tidegate.metric("tidegate_descriptors_used", "") <= BUDGET,
        "the budget holds between two looks"
    );
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200, "those that are open stay so");
    }
    drop(kept);
    wait_until_scarce(&tidegate, "descriptors", false);
    assert_eq!(tidegate.get("/").status, 200);
}
