//! The whole: each case, in rounds A B C A B C, then latency at one rate for all.

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::case::{Case, Kind};
use crate::certificate::Identity;
use crate::load::Outcome;
use crate::machine::scratch_root;
use crate::measure::{self, Bench, LoadSample, Plan};
use crate::outside;
use crate::stats::{self, Summary, summarize};
use crate::subject::{Installed, Subject, start_origin};
use crate::sys;

/// Latency is measured at this part of the slowest subject's peak rate.
const LATENCY_LOAD: f64 = 0.7;

/// All results of one case.
pub(crate) struct Row {
    pub(crate) case: &'static Case,
    pub(crate) cells: Vec<Cell>,
    /// Requests per second at which latency was measured.
    pub(crate) latency_rate: Option<f64>,
}

/// One subject in one case.
pub(crate) struct Cell {
    pub(crate) subject: Subject,
    pub(crate) loads: Vec<LoadSample>,
    pub(crate) latencies: Vec<Outcome>,
    /// Bytes per connection.
    pub(crate) idle: Vec<f64>,
    /// CPU µs per request by the count of wrk or h2load.
    pub(crate) by_others: Vec<f64>,
    /// Why there is no (whole) result.
    pub(crate) failure: Option<String>,
}

impl Cell {
    fn new(subject: Subject) -> Self {
        Self {
            subject,
            loads: Vec::new(),
            latencies: Vec::new(),
            idle: Vec::new(),
            by_others: Vec::new(),
            failure: None,
        }
    }

    /// The main figure: CPU µs per request, or KiB per idle connection.
    pub(crate) fn figure(&self) -> Option<Summary> {
        let loads = self.loads.iter().map(LoadSample::cpu_micros_per_request);
        summarize(loads.chain(self.idle.iter().map(|bytes| bytes / 1024.0)))
    }

    /// Right responses per second at full load.
    pub(crate) fn rate(&self) -> Option<Summary> {
        summarize(self.loads.iter().map(|load| load.outcome.rate()))
    }

    /// A percentile of latency in µs, the median of the rounds.
    pub(crate) fn latency(&self, quantile: f64) -> Option<f64> {
        let of_round = |outcome: &Outcome| {
            let micros = outcome.latency.value_at_quantile(quantile);
            f64::from(u32::try_from(micros).unwrap_or(u32::MAX))
        };
        summarize(self.latencies.iter().map(of_round)).map(|summary| summary.median)
    }

    /// Wrong answers in all rounds.
    pub(crate) fn fault_count(&self) -> u64 {
        self.outcomes().map(Outcome::fault_count).sum()
    }

    /// What came of each round, full load first.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.loads.iter().map(|load| &load.outcome).chain(&self.latencies)
    }

    /// Whether nothing should be concluded from the figure.
    pub(crate) fn is_noisy(&self) -> bool {
        let spread = self.figure().map_or(0.0, |figure| figure.spread);
        let foreign = summarize(self.loads.iter().map(LoadSample::foreign_share)).map_or(0.0, |share| share.median);
        spread > stats::SPREAD_MAX || foreign > stats::FOREIGN_MAX
    }
}

/// Measures all `cases` for all `subjects`; a subject that fails in a case is left out of it from then on.
pub(crate) fn run(cases: &[&'static Case], subjects: &[Installed], plan: Plan) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new()
        .prefix("tidegate-bench-")
        .tempdir_in(scratch_root())?;
    let origin = start_origin(plan.cores.load, dir.path()).context("the origin")?;
    let suite = Suite {
        subjects,
        plan,
        origin: origin.address,
        identity: Identity::make(dir.path())?,
    };
    cases.iter().map(|case| suite.row(case)).collect()
}

struct Suite<'a> {
    subjects: &'a [Installed],
    plan: Plan,
    origin: SocketAddr,
    identity: Identity,
}

impl Suite<'_> {
    fn row(&self, case: &'static Case) -> Result<Row> {
        let applies = |installed: &&Installed| case.applies_to(installed.subject);
        let subjects: Vec<&Installed> = self.subjects.iter().filter(applies).collect();
        let mut cells: Vec<Cell> = subjects.iter().map(|installed| Cell::new(installed.subject)).collect();
        self.rounds(case, &subjects, &mut cells, |bench, cell| {
            if case.kind == Kind::Idle {
                cell.idle.push(measure::idle_connection(bench)?);
            } else {
                cell.loads.push(measure::closed_loop(bench)?);
            }
            if case.second_opinion && outside::find(case.protocol).is_some() {
                cell.by_others.push(measure::second_opinion(bench)?);
            }
            Ok(())
        })?;
        let slowest = cells
            .iter()
            .filter_map(Cell::rate)
            .map(|rate| rate.median)
            .min_by(f64::total_cmp);
        let latency_rate = slowest.filter(|_| case.latency).map(|rate| rate * LATENCY_LOAD);
        if let Some(rate) = latency_rate {
            self.rounds(case, &subjects, &mut cells, |bench, cell| {
                cell.latencies.push(measure::open_loop(bench, rate)?);
                Ok(())
            })?;
        }
        Ok(Row {
            case,
            cells,
            latency_rate,
        })
    }

    fn rounds(
        &self,
        case: &'static Case,
        subjects: &[&Installed],
        cells: &mut [Cell],
        measure: impl Fn(&Bench<'_>, &mut Cell) -> Result<()>,
    ) -> Result<()> {
        for round in 1..=self.plan.rounds {
            for (installed, cell) in subjects.iter().zip(cells.iter_mut()) {
                if cell.failure.is_some() {
                    continue;
                }
                let dir = tempfile::Builder::new()
                    .prefix("tidegate-bench-")
                    .tempdir_in(scratch_root())?;
                let bench = Bench {
                    installed,
                    case,
                    plan: self.plan,
                    origin: self.origin,
                    identity: &self.identity,
                    dir: dir.path(),
                };
                let result = measure(&bench, cell);
                if sys::interrupted() {
                    anyhow::bail!("interrupted");
                }
                self.tell(case, round, cell, &result)?;
                cell.failure = result.err().map(|error| format!("{error:#}"));
            }
        }
        Ok(())
    }

    /// Progress, on stderr.
    fn tell(&self, case: &Case, round: usize, cell: &Cell, result: &Result<()>) -> io::Result<()> {
        let rounds = self.plan.rounds;
        let (name, subject) = (case.name, cell.subject.name());
        let (last_idle, last_load, last_latency) = (cell.idle.last(), cell.loads.last(), cell.latencies.last());
        let text = match (result, last_idle, last_load, last_latency) {
            (Err(error), ..) => format!("failed: {error:#}"),
            (Ok(()), Some(bytes), ..) => format!("{:.1} KiB per connection", bytes / 1024.0),
            (Ok(()), None, _, Some(latency)) => format!("p99 {} µs", latency.latency.value_at_quantile(0.99)),
            (Ok(()), None, Some(load), None) => format!("{:.2} µs CPU per request", load.cpu_micros_per_request()),
            (Ok(()), None, None, None) => String::new(),
        };
        writeln!(io::stderr(), "{name} {round}/{rounds} {subject}: {text}")
    }
}
