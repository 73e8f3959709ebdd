//! The tables of cases whose figure is not what a request costs: slow clients, and reloads.

use super::Report;
use crate::load::Outcome;
use crate::reload::ReloadSample;
use crate::slow::SlowSample;
use crate::stats::summarize;

/// Probes beside slow clients; empty when there were none.
pub(super) fn slow(report: &Report) -> String {
    let mut text = String::new();
    for (row, cell) in report.cells().filter(|(_, cell)| !cell.slow.is_empty()) {
        if text.is_empty() {
            text += "| case | subject | p50 µs alone | p99 | p50 µs beside them | p99 | KiB for each of them | \
                     given up |\n|---|---|---|---|---|---|---|---|\n";
        }
        let median = |value: &dyn Fn(&SlowSample) -> f64| {
            summarize(cell.slow.iter().map(value)).map_or(0.0, |found| found.median)
        };
        let lost: u32 = cell.slow.iter().map(|sample| sample.lost).sum();
        text += &format!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {lost} |\n",
            row.case.name,
            cell.subject.name(),
            median(&|sample| sample.alone.latency_micros(0.5)),
            median(&|sample| sample.alone.latency_micros(0.99)),
            median(&|sample| sample.beside.latency_micros(0.5)),
            median(&|sample| sample.beside.latency_micros(0.99)),
            median(&|sample| sample.bytes_each / 1024.0),
        );
    }
    text
}

/// What failed while subjects took a new certificate over, all rounds together; empty when nobody did.
pub(super) fn reloads(report: &Report) -> String {
    let mut text = String::new();
    for (row, cell) in report.cells().filter(|(_, cell)| !cell.reloads.is_empty()) {
        if text.is_empty() {
            text += "| case | subject | on kept connections | failed | closed between requests | on new ones | \
                     failed | what |\n|---|---|---|---|---|---|---|---|\n";
        }
        let sum = |value: &dyn Fn(&ReloadSample) -> u64| cell.reloads.iter().map(value).sum::<u64>();
        let outcomes = cell.reloads.iter().flat_map(|sample| [&sample.kept, &sample.new]);
        let words: Vec<String> = outcomes
            .map(Outcome::fault_words)
            .filter(|words| !words.is_empty())
            .collect();
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.case.name,
            cell.subject.name(),
            sum(&|sample| sample.kept.responses),
            sum(&|sample| sample.kept.fault_count()),
            sum(&|sample| sample.kept.reconnects),
            sum(&|sample| sample.new.responses),
            sum(&|sample| sample.new.fault_count()),
            words.join("; "),
        );
    }
    text
}
