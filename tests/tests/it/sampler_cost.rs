//! What watching costs, and that it says nothing when nothing is wrong: measurements, run on demand.
//!
//! `cargo test -p tests --test it sampler_cost -- --ignored --nocapture`; `TIDEGATE_TEST_SECONDS` is how long each takes,
//! `TIDEGATE_BIN` a release build to measure.

use std::io::Write as _;
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

fn seconds(default: u64) -> u64 {
    let told = std::env::var("TIDEGATE_TEST_SECONDS").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

fn start(sample_every: &str, accepts_looked_at: &str) -> (Origin, Tidegate) {
    let origin = Origin::start(|_| Script::cacheable("x".repeat(1024)));
    let tidegate = Setup::of(&origin.address())
        .set("process.workers", "1")
        .set("front.unknown_host", "'default'")
        .set("health.sample_every", sample_every)
        .set("health.accepts_looked_at", accepts_looked_at)
        .start();
    assert_eq!(tidegate.get("/").status, 200);
    (origin, tidegate)
}

/// Loads the front for `time`.
fn load(wrk: &Command, tidegate: &Tidegate, time: u64, more: &[&str]) {
    let mut wrk = Command::new(wrk.get_program());
    wrk.args(["-t1", "-c64", &format!("-d{time}s")]).args(more);
    let output = wrk.arg(format!("http://{}/", tidegate.address())).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !text.contains("Non-2xx"), "{text}");
}

fn requests(tidegate: &Tidegate) -> u64 {
    tidegate.metric("tidegate_responses_total", r#"class="2xx""#)
}

#[test]
#[ignore = "takes a minute, and a machine of its own"]
fn a_minute_of_full_load_gives_no_finding() {
    alone("full load", &["wrk"], || {
        let wrk = installed("wrk").unwrap();
        let (_origin, tidegate) = start("'1s'", "1");
        let admin = tidegate.front.address("admin");
        std::thread::scope(|scope| {
            let loaded = scope.spawn(|| load(&wrk, &tidegate, seconds(60), &[]));
            while !loaded.is_finished() {
                let report = report(admin);
                assert_eq!(
                    (findings(&report), &report["status"]),
                    (Vec::new(), &"ok".into()),
                    "{report:#}"
                );
                nap(Duration::from_millis(500));
            }
        });
        say(&format!("{} requests, no finding", requests(&tidegate)));
    });
}

#[test]
#[ignore = "a measurement"]
fn what_watching_costs() {
    alone("the cost of watching", &["wrk"], || {
        let wrk = installed("wrk").unwrap();
        let (on, off) = (start("'1s'", "1"), start("'1h'", "0"));
        let (time, rounds) = (seconds(5), 6);
        let idle = [&on.1, &off.1].map(|tidegate| tidegate.front.process.cpu());
        nap(Duration::from_secs(20));
        for (name, tidegate, before) in [("on", &on.1, idle[0]), ("off", &off.1, idle[1])] {
            let spent = (tidegate.front.process.cpu() - before).as_secs_f64() / 20.0;
            say(&format!("idle, sampler {name}: {:.2} % of one core", spent * 100.0));
        }
        for (what, more) in [
            ("a hit on a kept connection", &[][..]),
            ("a hit on a connection of its own", &["-H", "Connection: close"]),
        ] {
            let mut best = [f64::MAX; 2];
            for _ in 0..rounds {
                for (tidegate, best) in [&on.1, &off.1].into_iter().zip(&mut best) {
                    let (cpu, count) = (tidegate.front.process.cpu(), requests(tidegate));
                    load(&wrk, tidegate, time, more);
                    let spent = tidegate.front.process.cpu() - cpu;
                    *best = best.min(spent.as_secs_f64() * 1e6 / (requests(tidegate) - count) as f64);
                }
            }
            let [on, off] = best;
            let more = (on / off - 1.0) * 100.0;
            say(&format!(
                "{what}: {on:.3} µs with the sampler, {off:.3} µs without ({more:+.2} %)"
            ));
        }
    });
}
