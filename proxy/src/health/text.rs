//! The report for a terminal: `/health?format=text` and `tidegate doctor`. Pure.

use std::fmt::Write as _;

use common::kernel::diagnosis::Engine;
use common::kernel::preflight::finding::Finding;
use common::kernel::preflight::tw_recycle::safety_in;
use common::kernel::report;
use common::kernel::usage::Level;
use common::process::confine::Layer;
use common::serve::shedding::Scarce;

use super::fold::Snapshot;
use super::shedding::Budgets;
use super::way::{self, Step};

/// Legs, open findings, harmless explanations, settings.
pub fn diagnosis(engine: &Engine, settings: &[Finding]) -> String {
    let mut text = String::new();
    if let Some(why) = engine.blind() {
        let written = writeln!(
            text,
            "handshakes cannot be watched, because netstat is unavailable: {why}"
        );
        debug_assert!(written.is_ok(), "writing to a String");
    }
    text.push_str(&report::diagnosis_text(engine));
    if engine.open().next().is_none() {
        text.push_str("no handshake finding is open\n");
    }
    text.push('\n');
    if let Some(sample) = engine.last() {
        text.push_str(&report::kernel_line(&sample.kernel, safety_in(sample)));
    }
    text.push_str(&report::preflight_text(settings));
    text
}

/// The four steps from clients to origins, and what the cache servers say of theirs.
pub fn way(engine: &Engine, servers: &[Snapshot]) -> String {
    let mut text = String::from("the way from clients to origins:\n");
    for step in way::steps(engine.roles(), &engine.legs(), servers) {
        let Step {
            number, what, verdict, ..
        } = &step;
        let at = step.at.as_ref().map_or_else(String::new, |at| format!(" at {at}"));
        let because = step
            .because
            .as_ref()
            .map_or_else(String::new, |why| format!(", because: {why}"));
        line(&mut text, format_args!("{number}. {what}: {verdict}{at}{because}"));
    }
    for Snapshot {
        admin,
        report,
        unavailable,
    } in servers
    {
        match (report, unavailable) {
            (Some((report, age)), None) => {
                let (status, age) = (report.status.word(), age.as_secs());
                line(&mut text, format_args!("cache server {admin}: {status}, {age} s ago"));
            }
            (Some((report, age)), Some(why)) => {
                let (status, age) = (report.status.word(), age.as_secs());
                line(
                    &mut text,
                    format_args!("cache server {admin}: unavailable, because {why}; {status} {age} s ago"),
                );
            }
            (None, why) => {
                let why = why.as_deref().unwrap_or("it was not asked");
                line(
                    &mut text,
                    format_args!("cache server {admin}: unavailable, because {why}"),
                );
            }
        }
        for finding in report.iter().flat_map(|(report, _)| &report.findings) {
            line(&mut text, format_args!("  {finding}"));
        }
    }
    text.push('\n');
    text
}

/// What the process has given up, in one line.
pub fn confined(layers: &[Layer]) -> String {
    let layers: Vec<_> = layers
        .iter()
        .map(|Layer { name, state }| format!("{name} {state}"))
        .collect();
    format!("confined: {}\n\n", layers.join(", "))
}

/// What runs short; nothing where nothing does.
pub fn resources(budgets: &Budgets) -> String {
    let mut text = String::new();
    for scarce in Scarce::ALL {
        let gauge = budgets.gauge(scarce);
        if let Some(Level { used, budget }) = gauge.level.filter(|_| gauge.is_scarce) {
            let word = scarce.word();
            line(
                &mut text,
                format_args!("new connections are shed: {word} runs short, {used} of {budget} are taken\n"),
            );
        }
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{content}");
    debug_assert!(written.is_ok(), "writing to a String");
}
