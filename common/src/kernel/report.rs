//! The preflight and the diagnosis as text for a terminal: `tidegate doctor`, `/health?format=text`, docs.
//!
//! Pure. One finding is one paragraph: what, how sure, evidence, what clients see, what to do.

use std::fmt::Write as _;

use super::diagnosis::Engine;
use super::diagnosis::finding::{Finding, seconds};
use super::diagnosis::legs::{LegReport, Verdict};
use super::diagnosis::window::Window;
use super::preflight;
use super::preflight::tw_recycle::Safety;
use super::reading::Reading;
use super::version::KernelVersion;

/// "kernel 6.18.44, `tcp_tw_recycle` safe: removed in 4.12": the setting of the story is answered for even where it is right.
pub fn kernel_line(kernel: &Reading<KernelVersion>, tw_recycle: Safety) -> String {
    format!("kernel {kernel}, tcp_tw_recycle {tw_recycle}\n")
}

/// The preflight's findings; one line says so when there are none.
pub fn preflight_text(findings: &[preflight::finding::Finding]) -> String {
    if findings.is_empty() {
        return "preflight: nothing to say\n".to_owned();
    }
    let mut text = String::new();
    for finding in findings {
        let preflight::finding::Finding {
            severity,
            check,
            read,
            from,
            why,
            remedy,
        } = finding;
        line(
            &mut text,
            format_args!("{} {}: {read}", severity.word().to_uppercase(), check.word()),
        );
        line(&mut text, format_args!("  read:   {}", from.display()));
        line(&mut text, format_args!("  why:    {why}"));
        line(&mut text, format_args!("  remedy: {remedy}"));
    }
    text
}

/// The legs, the open findings and what only looks like one.
pub fn diagnosis_text(engine: &Engine) -> String {
    let mut text = String::new();
    let [_, long] = engine.windows();
    for leg in engine.legs().iter().filter(|leg| leg.verdict != Verdict::Absent) {
        line(&mut text, format_args!("{}", leg_line(leg, long.as_ref())));
    }
    for open in engine.open() {
        line(&mut text, format_args!("\nsince {}", open.since.http_date()));
        text.push_str(&finding_text(&open.finding));
    }
    for finding in engine.harmless() {
        text.push('\n');
        text.push_str(&finding_text(finding));
    }
    text
}

/// One finding with its evidence, symptom and remedy.
pub fn finding_text(finding: &Finding) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{finding}"));
    for evidence in &finding.evidence {
        line(&mut text, format_args!("  {:<9} {evidence}", evidence.kind()));
    }
    line(&mut text, format_args!("  clients   {}", finding.symptom()));
    line(&mut text, format_args!("  remedy    {}", finding.remedy));
    text
}

/// "leg client-front: lossy; in 25 s: 475 connections, 120 SYNs and ACKs dropped, 0 of them by a full accept queue".
fn leg_line(leg: &LegReport, window: Option<&Window<'_>>) -> String {
    let mut text = format!("leg {}: {}", leg.leg.word(), leg.verdict.word());
    if let Verdict::Unknown(why) = leg.verdict {
        write_to(&mut text, format_args!(", because {why}"));
    }
    let Some(window) = window else { return text };
    if leg.server.is_some() || leg.client.is_some() {
        write_to(&mut text, format_args!("; in {}:", seconds(window.over)));
    }
    if let Some(server) = &leg.server {
        write_to(
            &mut text,
            format_args!(
                " {} connections, {} SYNs and ACKs dropped, {} of them by a full accept queue",
                known(server.passive_opens),
                known(server.lost),
                known(server.overflows)
            ),
        );
        if server.cookies > 0 {
            let cookies = server.cookies;
            write_to(
                &mut text,
                format_args!(" ({cookies} SYN cookies are counted as drops too, and are none)"),
            );
        }
        if let Some(queue) = &server.worst_queue {
            let (depth, limit, peak) = (queue.depth, queue.limit, queue.peak);
            write_to(
                &mut text,
                format_args!(
                    "; fullest queue {} member {}: {depth} of {limit}, {peak} at most",
                    queue.listener, queue.shard
                ),
            );
        }
    }
    if let Some(client) = &leg.client {
        write_to(
            &mut text,
            format_args!(
                " {} connects, {} failed, {} lost a SYN",
                client.attempts, client.failed, client.lossy
            ),
        );
        if let Some((used, range)) = client.local_ports {
            let held = client
                .destinations
                .iter()
                .flatten()
                .next()
                .map_or(0, |most| most.time_wait);
            write_to(
                &mut text,
                format_args!("; {used} of {range} local ports taken, {held} of them in TIME_WAIT"),
            );
        }
    }
    text
}

fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    write_to(text, content);
    text.push('\n');
}

/// Writing to a `String` cannot fail.
fn write_to(text: &mut String, content: std::fmt::Arguments<'_>) {
    text.write_fmt(content).unwrap_or_default();
}

#[cfg(test)]
#[path = "report_docs.rs"]
mod docs;
