//! The doctor's own look: all listeners of this network namespace, whoever they belong to, over some seconds; or what changed
//! between two copies of `/proc`.

use std::time::Duration;

use common::kernel::diagnosis::Engine;
use common::kernel::diagnosis::context::Roles;
use common::kernel::diagnosis::settings::Thresholds;
use common::kernel::preflight::PreflightContext;
use common::kernel::preflight::finding::{Finding, Severity};
use common::kernel::reading::Reading;
use common::kernel::root::ProcRoot;
use common::kernel::sample::Moment;
use common::kernel::sampler::{Listeners, Sampler};
use common::telemetry::json::line;
use common::time::Clock;

use super::{Verdict, WATCH_EVERY, show, wait};
use crate::exit::{Code, Failure};
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
            return Ok(report(&engine, &settings, as_json));
        }
        show(&text::diagnosis(&engine, &settings));
        left = WATCH_EVERY;
    }
}

/// Judges what changed from `before` to `now`; how long that took is the difference of their uptimes.
pub fn compare(
    before: &ProcRoot,
    now: &ProcRoot,
    context: &PreflightContext,
    thresholds: Thresholds,
    as_json: bool,
) -> Result<Verdict, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        let since = before.dir().display();
        Failure::new(Code::CannotTell, format_args!("--since {since}: {why}"))
    };
    let uptime = |root: &ProcRoot| match root.uptime() {
        Reading::Available(uptime) => Ok(uptime),
        Reading::Unavailable(why) => Err(cannot(&format_args!("uptime below {}: {why}", root.dir().display()))),
    };
    let over = uptime(now)?.checked_sub(uptime(before)?).filter(|over| !over.is_zero());
    let over = over
        .ok_or_else(|| cannot(&"it is not older: by its uptime the machine has booted since, or no time has passed"))?;
    let mut engine = Engine::new(thresholds, Roles::default());
    let at = Moment::now(&Clock::System);
    engine.observe(Sampler::new(before.clone()).sample(at, Listeners::All));
    let at = Moment {
        mono: at.mono + over,
        ..at
    };
    let observed = engine.observe(Sampler::new(now.clone()).sample(at, Listeners::All));
    if let Some(why) = observed.new_baseline {
        return Err(cannot(&format_args!("it cannot be compared: {why}")));
    }
    Ok(report(&engine, &plan::preflight(now, context), as_json))
}

fn report(engine: &Engine, settings: &[Finding], as_json: bool) -> Verdict {
    super::super::say(&if as_json {
        in_json(engine, settings)
    } else {
        text::diagnosis(engine, settings)
    });
    verdict(engine, settings)
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
    let word = match verdict(engine, settings) {
        Verdict::Healthy => "healthy",
        Verdict::Findings => "findings",
        Verdict::CannotTell => "cannot-tell",
    };
    let out = line(|object| {
        object.field("schema", json::SCHEMA).field("verdict", word);
        json::listeners(&mut object.array("listeners"), engine, |_| None);
        json::diagnosis(object, engine, settings);
    });
    String::from_utf8_lossy(&out).into_owned()
}
