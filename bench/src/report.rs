//! What came out: a Markdown table for people, JSON for everything else.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::case::{AnsweredBy, Kind};
use crate::clock;
use crate::load::{Fault, Outcome};
use crate::machine::Machine;
use crate::measure::{LoadSample, Plan};
use crate::outside;
use crate::stats::{FOREIGN_MAX, SPREAD_MAX, summarize};
use crate::subject::{Installed, Setup, Subject};
use crate::suite::{Cell, Row};

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
        self.cells()
            .any(|(_, cell)| cell.failure.is_some() || cell.fault_count() > 0)
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        [self.head(), self.overview(), self.details(), self.remarks()].join("\n")
    }

    /// Writes `COMMAND-SECONDS.md` and `.json` into `dir`.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let seconds = clock::wall().duration_since(UNIX_EPOCH)?.as_secs();
        let stem = dir.join(format!("{}-{seconds}", self.command));
        fs::write(stem.with_extension("md"), self.markdown())?;
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(stem.with_extension("json"), json + "\n")?;
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
            let unit = if row.case.kind == Kind::Idle {
                " (KiB of memory each)"
            } else {
                ""
            };
            text += &format!("| {}{unit} |", row.case.title);
            for installed in &self.subjects {
                let cell = row.cells.iter().find(|cell| cell.subject == installed.subject);
                text += &format!(" {} |", cell.map_or_else(|| "–".to_owned(), figure));
            }
            text.push('\n');
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
        for (row, cell) in self.cells().filter(|(row, _)| row.case.kind != Kind::Idle) {
            text += &details_line(row, cell);
        }
        text
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
            if let Some((others, own)) = summarize(cell.by_others.iter().copied()).zip(cell.figure()) {
                let (case, name) = (row.case.name, cell.subject.name());
                text += &format!(
                    "- {case}, {name}: {:.2} µs when {} asks, {:.2} when we ask.\n",
                    others.median,
                    outside::name(row.case.protocol),
                    own.median
                );
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

    fn json(&self) -> Value {
        let cores = self.plan.cores;
        json!({
            "command": self.command,
            "date": httpdate::fmt_http_date(clock::wall()),
            "machine": {
                "kernel": self.machine.kernel,
                "processor": self.machine.processor,
                "cores": self.machine.cores,
            },
            "plan": {
                "rounds": self.plan.rounds,
                "seconds": self.plan.time.as_secs_f64(),
                "subject_core": cores.subject,
                "load_core": cores.load,
            },
            "subjects": self.subjects.iter().map(subject_json).collect::<Vec<_>>(),
            "absent": self.absent.iter().map(|subject| subject.name()).collect::<Vec<_>>(),
            "cases": self.rows.iter().map(row_json).collect::<Vec<_>>(),
        })
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

fn subject_json(installed: &Installed) -> Value {
    let setup = Setup::new(Path::new("DIR"), ([127, 0, 0, 1], 9000).into());
    json!({
        "name": installed.subject.name(),
        "version": installed.version,
        "configuration": installed.configuration(&setup),
    })
}

fn row_json(row: &Row) -> Value {
    json!({
        "case": row.case.name,
        "connections": row.case.connections,
        "body_bytes": row.case.body_bytes,
        "access_log": row.case.access_log,
        "latency_rate": row.latency_rate,
        "results": row.cells.iter().map(cell_json).collect::<Vec<_>>(),
    })
}

fn cell_json(cell: &Cell) -> Value {
    let figure = cell.figure();
    json!({
        "subject": cell.subject.name(),
        "median": figure.map(|figure| figure.median),
        "spread": figure.map(|figure| figure.spread),
        "noisy": cell.is_noisy(),
        "failure": cell.failure,
        "rounds": cell.loads.iter().map(load_json).collect::<Vec<_>>(),
        "latency_rounds": cell.latencies.iter().map(latency_json).collect::<Vec<_>>(),
        "cpu_micros_per_request_by_others": cell.by_others,
        "idle_bytes_per_connection": cell.idle,
    })
}

fn load_json(load: &LoadSample) -> Value {
    json!({
        "cpu_micros_per_request": load.cpu_micros_per_request(),
        "user_micros_per_request": load.micros_per_request(load.cpu.user),
        "system_micros_per_request": load.micros_per_request(load.cpu.system),
        "responses": load.outcome.responses,
        "seconds": load.outcome.time.as_secs_f64(),
        "fetched": load.fetched,
        "busy": load.busy(),
        "foreign": load.foreign_share(),
        "reconnects": load.outcome.reconnects,
        "faults": faults_json(&load.outcome),
    })
}

fn latency_json(outcome: &Outcome) -> Value {
    let micros = |quantile| outcome.latency.value_at_quantile(quantile);
    json!({
        "p50_micros": micros(0.5),
        "p99_micros": micros(0.99),
        "p999_micros": micros(0.999),
        "max_micros": outcome.latency.max(),
        "generator_lateness_p99_micros": outcome.lateness.value_at_quantile(0.99),
        "responses": outcome.responses,
        "faults": faults_json(outcome),
    })
}

fn faults_json(outcome: &Outcome) -> Value {
    Fault::ALL
        .into_iter()
        .zip(outcome.faults)
        .map(|(fault, count)| (fault.word().to_owned(), json!(count)))
        .collect()
}
