//! The doctor's own look: all listeners of this network namespace, whoever they belong to, over some seconds.

use std::time::Duration;

use common::kernel::diagnosis::Engine;
use common::kernel::diagnosis::context::Roles;
use common::kernel::diagnosis::settings::Thresholds;
use common::kernel::preflight::PreflightContext;
use common::kernel::preflight::finding::{Finding, Severity};
use common::kernel::root::ProcRoot;
use common::kernel::sample::Moment;
use common::kernel::sampler::{Listeners, Sampler};
use common::telemetry::json::Object;
use common::time::Clock;

use super::{Verdict, WATCH_EVERY, show, wait};
use crate::exit::Failure;
use crate::health::{json, plan, text};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks for `time`, reports; with `watch` again and again.
pub fn run(
    root: &ProcRoot,
    context: &PreflightContext,
    thresholds: Thresholds,
    time: Duration,
    as_json: bool,
    watch: bool,
) -> Result<Verdict, Failure> {
    let mut sampler = Sampler::new(root.clone());
    let mut engine = Engine::new(thresholds, Roles::default());
    let mut look = || sampler.sample(Moment::now(&Clock::System), Listeners::All);
    engine.observe(look());
    let mut left = if watch { WATCH_EVERY.min(time) } else { time };
    loop {
        while !left.is_zero() {
            let pause = left.min(LOOK_EVERY);
            wait(pause);
            left -= pause;
            engine.observe(look());
        }
        let settings = plan::preflight(root, context);
        if !watch {
            super::super::say(&if as_json {
                in_json(&engine, &settings)
            } else {
                text::diagnosis(&engine, &settings)
            });
            return Ok(verdict(&engine, &settings));
        }
        show(&text::diagnosis(&engine, &settings));
        left = WATCH_EVERY;
    }
}

/// Notes are no findings: they are worth knowing, and no client is lost by them. Where nothing can be counted, a warning
/// that something cannot be read is no finding either.
fn verdict(engine: &Engine, settings: &[Finding]) -> Verdict {
    let worst = settings.iter().map(|finding| finding.severity).max();
    if engine.open().next().is_some() || worst == Some(Severity::Refuse) {
        Verdict::Findings
    } else if engine.blind().is_some() {
        Verdict::CannotTell
    } else if worst == Some(Severity::Warn) {
        Verdict::Findings
    } else {
        Verdict::Healthy
    }
}

fn in_json(engine: &Engine, settings: &[Finding]) -> String {
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.field("schema", json::SCHEMA);
    let word = match verdict(engine, settings) {
        Verdict::Healthy => "healthy",
        Verdict::Findings => "findings",
        Verdict::CannotTell => "cannot-tell",
    };
    object.field("verdict", word);
    let mut listeners = object.array("listeners");
    json::listeners(&mut listeners, engine, |_| None);
    drop(listeners);
    json::diagnosis(&mut object, engine, settings);
    drop(object);
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}
