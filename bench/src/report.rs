//! What came out: a Markdown table for people, JSON for everything else.

mod events; // slow clients, and reloads
mod json; // the same for programs

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};

use crate::case::AnsweredBy;
use crate::chart::{self, Group};
use crate::clock;
use crate::machine::Machine;
use crate::measure::{LoadSample, Plan};
use crate::stats::{FOREIGN_MAX, SPREAD_MAX, summarize};
use crate::subject::{Installed, Subject};
use crate::suite::{Cell, Duel, Row};
use crate::target::{self, Judged, Measure};

/// A finished benchmark.
pub(crate) struct Report {
    pub(crate) command: &'static str,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) subjects: Vec<Installed>,
    /// Not on this machine.
    pub(crate) absent: Vec<Subject>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Whether a measurement failed or an answer was wrong.
    pub(crate) fn has_failures(&self) -> bool {
        let duels = self.rows.iter().flat_map(|row| &row.duels);
        duels
            .flat_map(|duel| [&duel.ours, &duel.theirs])
            .chain(self.cells().map(|(_, cell)| cell))
            .any(|cell| cell.failure.is_some() || cell.fault_count() > 0)
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let parts = [
            self.head(),
            self.overview(),
            self.verdicts(),
            self.details(),
            self.duels(),
            events::slow(self),
            events::reloads(self),
            self.remarks(),
        ];
        let told: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        told.join("\n")
    }

    /// Writes `COMMAND-SECONDS.md` and `.json` into `dir`, and `COMMAND.svg`, the latest picture.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let seconds = clock::wall().duration_since(UNIX_EPOCH)?.as_secs();
        let stem = dir.join(format!("{}-{seconds}", self.command));
        fs::write(stem.with_extension("md"), self.markdown())?;
        let json = serde_json::to_string_pretty(&json::report(self))?;
        fs::write(stem.with_extension("json"), json + "\n")?;
        fs::write(dir.join(format!("{}.svg", self.command)), self.chart())?;
        Ok(())
    }

    fn head(&self) -> String {
        let Plan {
            rounds, time, cores, ..
        } = self.plan;
        let mut text = format!(
            "## bench {}\n\n{}, Linux {}, {}, {} cores; subject on core {}, load and origin on core {}; \
             medians of {rounds} rounds of {:.1} s, interleaved.\n",
            self.command,
            httpdate::fmt_http_date(clock::wall()),
            self.machine.kernel,
            self.machine.processor,
            self.machine.cores,
            cores.subject,
            cores.load,
            time.as_secs_f64(),
        );
        for installed in &self.subjects {
            text += &format!("- {}: {}\n", installed.subject.name(), installed.version);
        }
        text
    }

    /// Case by subject, the main figure only.
    fn overview(&self) -> String {
        let names: Vec<&str> = self.subjects.iter().map(|installed| installed.subject.name()).collect();
        let mut text = format!(
            "| CPU µs per request | {} |\n|---|{}\n",
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for row in &self.rows {
            let unit = row.case.kind.other_unit().map(|unit| format!(" ({unit})"));
            text += &format!("| {}{} |", row.case.title, unit.unwrap_or_default());
            for installed in &self.subjects {
                let cell = row.cells.iter().find(|cell| cell.subject == installed.subject);
                text += &format!(" {} |", cell.map_or_else(|| "–".to_owned(), figure));
            }
            text.push('\n');
        }
        text
    }

    /// What was meant to be reached, and whether it was.
    fn verdicts(&self) -> String {
        let judged = self.judged();
        if judged.is_empty() {
            return String::new();
        }
        let lines: String = judged.iter().map(Judged::markdown).collect();
        format!("| case | ours | aim | measured | verdict |\n|---|---|---|---|---|\n{lines}")
    }

    fn judged(&self) -> Vec<Judged> {
        // There is no comparison in a run of ours alone.
        if self.command == "quick" {
            return Vec::new();
        }
        target::judge(|target, case, subject| {
            let row = self.rows.iter().find(|row| row.case.name == case)?;
            match target.measure {
                Measure::Cpu => row.cells.iter().find(|cell| cell.subject == subject)?.cpu_figure(),
                Measure::P99 => {
                    let peer = target.against.first()?;
                    let duel = row.duels.iter().find(|duel| duel.theirs.subject == *peer)?;
                    let cell = if subject == *peer { &duel.theirs } else { &duel.ours };
                    cell.p99_figure()
                }
            }
        })
    }

    fn chart(&self) -> String {
        let group = |row: &Row| Group {
            title: row.case.title,
            bars: row.cells.iter().filter_map(Cell::bar).collect(),
        };
        let measured = self.rows.iter().filter(|row| row.case.kind.other_unit().is_none());
        let groups: Vec<Group> = measured.map(group).collect();
        let subjects: Vec<Subject> = self.subjects.iter().map(|installed| installed.subject).collect();
        let caption = format!(
            "bench {}, {}, Linux {}, {}, {}",
            self.command,
            httpdate::fmt_http_date(clock::wall()),
            self.machine.kernel,
            self.machine.processor,
            self.subjects.first().map_or("", |installed| &installed.version),
        );
        chart::draw(&groups, &subjects, &caption)
    }

    /// Latency beside each peer.
    fn duels(&self) -> String {
        let duels = || {
            self.rows
                .iter()
                .flat_map(|row| row.duels.iter().map(move |duel| (row, duel)))
        };
        if duels().next().is_none() {
            return String::new();
        }
        let mut text =
            "| case | at 70 % of the peak of | requests/s | our p50 µs | p99 | p99.9 | their p50 µs | p99 | \
                        p99.9 |\n|---|---|---|---|---|---|---|---|---|\n"
                .to_owned();
        let micros = |cell: &Cell, quantile| {
            cell.latency(quantile)
                .map_or_else(|| "–".to_owned(), |micros| format!("{micros:.0}"))
        };
        for (row, Duel { rate, ours, theirs }) in duels() {
            let of = |cell| [0.5, 0.99, 0.999].map(|quantile| micros(cell, quantile)).join(" | ");
            text += &format!(
                "| {} | {} | {rate:.0} | {} | {} |\n",
                row.case.name,
                theirs.subject.name(),
                of(ours),
                of(theirs)
            );
        }
        text
    }

    /// Everything about each cell.
    fn details(&self) -> String {
        let mut text = "| case | subject | CPU µs | user | system | × floor | spread | requests/s | from store | \
                        busy | others | p50 µs | p99 µs | p99.9 µs | at requests/s | faults |\n|---|---|"
            .to_owned();
        text += &"---|".repeat(14);
        text.push('\n');
        let head = text.len();
        for (row, cell) in self.cells().filter(|(row, _)| row.case.kind.other_unit().is_none()) {
            text += &details_line(row, cell);
        }
        // Nothing to tell of what was not measured.
        if text.len() == head { String::new() } else { text }
    }

    /// What a reader must know before believing the tables.
    fn remarks(&self) -> String {
        let mut text = String::new();
        for subject in &self.absent {
            text += &format!("- {} is not installed, so it is not here.\n", subject.name());
        }
        if self.plan.cores.are_shared() {
            text +=
                "- There is only one core: load and subject took turns on it, so rates and latencies mean little.\n";
        }
        for (row, cell) in self.cells() {
            let (case, name) = (row.case.name, cell.subject.name());
            if let Some(failure) = &cell.failure {
                text += &format!("- {case}, {name}: **failed**: {failure}\n");
            }
            for outcome in cell.outcomes().filter(|outcome| outcome.fault_count() > 0) {
                text += &format!(
                    "- {case}, {name}: **wrong answers** in a round: {}\n",
                    outcome.fault_words()
                );
            }
        }
        for (row, cell) in self.cells() {
            for (tool, rounds) in &cell.by_others {
                if let Some((theirs, own)) = summarize(rounds.iter().copied()).zip(cell.figure()) {
                    let (case, name) = (row.case.name, cell.subject.name());
                    text += &format!(
                        "- {case}, {name}: {:.2} µs when {} asks, {:.2} when we ask.\n",
                        theirs.median,
                        tool.name(),
                        own.median
                    );
                }
            }
        }
        if self.cells().any(|(_, cell)| cell.is_noisy()) {
            text += &format!(
                "- `~`: too noisy to conclude: the rounds differ by more than {:.0} %, or others used more than \
                 {:.0} % of the subject's core. Run it again on a quiet machine.\n",
                SPREAD_MAX * 100.0,
                FOREIGN_MAX * 100.0
            );
        }
        text
    }

    fn cells(&self) -> impl Iterator<Item = (&Row, &Cell)> {
        self.rows
            .iter()
            .flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
    }
}

fn figure(cell: &Cell) -> String {
    match cell.figure() {
        Some(figure) => format!("{}{:.1}", if cell.is_noisy() { "~" } else { "" }, figure.median),
        None => "failed".to_owned(),
    }
}

fn details_line(row: &Row, cell: &Cell) -> String {
    let median = |value: &dyn Fn(&LoadSample) -> f64| summarize(cell.loads.iter().map(value)).map(|found| found.median);
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "–".to_owned(),
    };
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{:.0} %", value * 100.0));
    let own = cell.figure();
    let floor = row
        .cells
        .iter()
        .find(|cell| cell.subject == Subject::Floor)
        .and_then(Cell::figure);
    let to_floor = own.zip(floor).map(|(own, floor)| own.median / floor.median);
    let columns = [
        row.case.name.to_owned(),
        cell.subject.name().to_owned(),
        number(own.map(|figure| figure.median), 2),
        number(median(&|load| load.micros_per_request(load.cpu.user)), 2),
        number(median(&|load| load.micros_per_request(load.cpu.system)), 2),
        number(to_floor, 2),
        percent(own.map(|figure| figure.spread)),
        number(cell.rate().map(|rate| rate.median), 0),
        percent(median(&LoadSample::hit_share).filter(|_| row.case.answered_by == AnsweredBy::Either)),
        percent(median(&LoadSample::busy)),
        percent(median(&LoadSample::foreign_share)),
        number(cell.latency(0.5), 0),
        number(cell.latency(0.99), 0),
        number(cell.latency(0.999), 0),
        number(row.latency_rate, 0),
        cell.fault_count().to_string(),
    ];
    format!("| {} |\n", columns.join(" | "))
}
