//! Watching the kernel says nothing when nothing is wrong, and costs next to nothing.
//!
//! What it costs a request is counted by `bench budget`. `TIDEGATE_TEST_SECONDS` is how long each test looks.

use std::process::Command;
use std::time::Duration;

use tests::health::{findings, report};
use tests::network::alone;
use tests::origin::Origin;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::Tidegate;
use tests::wait::nap;

fn time() -> Duration {
    let told = std::env::var("TIDEGATE_TEST_SECONDS").ok();
    Duration::from_secs(told.and_then(|text| text.parse().ok()).unwrap_or(5))
}

fn start() -> (Origin, Tidegate) {
    let origin = Origin::start(|_| Script::cacheable("x".repeat(1024)));
    let tidegate = Setup::of(&origin.address())
        .set("process.workers", "1")
        .set("front.unknown_host", "'default'")
        .set("health.sample_every", "'1s'")
        .set("health.accepts_looked_at", "1")
        .start();
    assert_eq!(tidegate.get("/").status, 200);
    (origin, tidegate)
}

/// Asks as fast as wrk can; every answer has to be a good one.
fn load(mut wrk: Command, url: &str) {
    let seconds = time().as_secs();
    let output = wrk.args(["-t1", "-c64", &format!("-d{seconds}s"), url]).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("Non-2xx"), "{text}");
}

#[test]
fn full_load_gives_no_finding() {
    alone("full load", &["wrk"], || {
        let wrk = installed("wrk").unwrap();
        let (_origin, tidegate) = start();
        let url = format!("http://{}/", tidegate.address());
        let look = || {
            let report = report(tidegate.front.address("admin"));
            assert_eq!(
                (findings(&report), &report["status"]),
                (Vec::new(), &"ok".into()),
                "{report:#}"
            );
        };
        std::thread::scope(|scope| {
            let loaded = scope.spawn(|| load(wrk, &url));
            while !loaded.is_finished() {
                look();
                nap(Duration::from_millis(500));
            }
        });
        look();
        // A worker answers more than this within a second however busy the machine is: there was a load.
        assert!(tidegate.metric("tidegate_responses_total", r#"class="2xx""#) > 1000);
    });
}

#[test]
fn watching_an_idle_process_takes_less_than_half_a_percent_of_a_core() {
    alone("the cost of watching", &[], || {
        let (_origin, tidegate) = start();
        let samples = || tidegate.metric("tidegate_health_samples_total", "");
        let (before, seen) = (tidegate.front.process.main_thread_cpu(), samples());
        nap(time());
        let spent = tidegate.front.process.main_thread_cpu() - before;
        assert!(samples() > seen, "nobody has watched");
        assert!(spent < time() / 200, "{spent:?} of {:?}", time());
    });
}
