//! The whole: each case, in rounds A B C A B C, then latency at one rate for all.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::case::{Case, Kind};
use crate::certificate::Identity;
use crate::chart::Bar;
use crate::load::Outcome;
use crate::machine::scratch_root;
use crate::measure::{self, Bench, LoadSample, Plan};
use crate::outside::Tool;
use crate::reload::{self, ReloadSample};
use crate::slow::{self, SlowSample};
use crate::stats::{self, Summary, summarize};
use crate::subject::{Installed, Subject, start_origin};
use crate::sys;
use crate::target::Figure;

/// Latency is measured at this part of the slowest subject's peak rate.
const LATENCY_LOAD: f64 = 0.7;

/// All results of one case.
pub(crate) struct Row {
    pub(crate) case: &'static Case,
    pub(crate) cells: Vec<Cell>,
    /// Latency beside each peer, at its own rate.
    pub(crate) duels: Vec<Duel>,
    /// Requests per second at which latency was measured.
    pub(crate) latency_rate: Option<f64>,
}

/// Us and one peer at the same rate, which is 70 % of the peer's peak.
pub(crate) struct Duel {
    /// Requests per second.
    pub(crate) rate: f64,
    pub(crate) ours: Cell,
    pub(crate) theirs: Cell,
}

/// One subject in one case.
pub(crate) struct Cell {
    pub(crate) subject: Subject,
    pub(crate) loads: Vec<LoadSample>,
    pub(crate) latencies: Vec<LoadSample>,
    /// Bytes per connection.
    pub(crate) idle: Vec<f64>,
    pub(crate) slow: Vec<SlowSample>,
    pub(crate) reloads: Vec<ReloadSample>,
    /// CPU µs per request by the count of other load generators.
    pub(crate) by_others: BTreeMap<Tool, Vec<f64>>,
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
            slow: Vec::new(),
            reloads: Vec::new(),
            by_others: BTreeMap::new(),
            failure: None,
        }
    }

    /// The main figure: CPU µs per request, or what the case has instead.
    pub(crate) fn figure(&self) -> Option<Summary> {
        let loads = self.loads.iter().map(LoadSample::cpu_micros_per_request);
        let idle = self.idle.iter().map(|bytes| bytes / 1024.0);
        let slow = self.slow.iter().map(|sample| sample.beside.latency_micros(0.99));
        let failed = |sample: &ReloadSample| f64::from(u32::try_from(sample.failed()).unwrap_or(u32::MAX));
        summarize(loads.chain(idle).chain(slow).chain(self.reloads.iter().map(failed)))
    }

    /// The same with all that a verdict needs; `None` for memory.
    pub(crate) fn cpu_figure(&self) -> Option<Figure> {
        of_rounds(&self.loads, LoadSample::cpu_micros_per_request)
    }

    /// The 99th percentile of latency.
    pub(crate) fn p99_figure(&self) -> Option<Figure> {
        of_rounds(&self.latencies, |sample| sample.outcome.latency_micros(0.99))
    }

    /// Its place in a picture.
    pub(crate) fn bar(&self) -> Option<Bar> {
        Some(Bar {
            subject: self.subject,
            value: self.cpu_figure()?.median,
            is_noisy: self.is_noisy(),
        })
    }

    /// Right responses per second at full load.
    pub(crate) fn rate(&self) -> Option<Summary> {
        summarize(self.loads.iter().map(|load| load.outcome.rate()))
    }

    /// A percentile of latency in µs, the median of the rounds.
    pub(crate) fn latency(&self, quantile: f64) -> Option<f64> {
        let of_round = |sample: &LoadSample| sample.outcome.latency_micros(quantile);
        summarize(self.latencies.iter().map(of_round)).map(|summary| summary.median)
    }

    /// Wrong answers in all rounds.
    pub(crate) fn fault_count(&self) -> u64 {
        self.outcomes().map(Outcome::fault_count).sum()
    }

    /// What came of each round, full load first.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let probes = self.slow.iter().flat_map(|sample| [&sample.alone, &sample.beside]);
        let loads = self.loads.iter().chain(&self.latencies);
        loads.map(|sample| &sample.outcome).chain(probes)
    }

    /// The part of the time that others used of the subject's core.
    pub(crate) fn foreign(&self) -> f64 {
        summarize(self.loads.iter().map(LoadSample::foreign_share)).map_or(0.0, |share| share.median)
    }

    /// Whether nothing should be concluded from the figure.
    pub(crate) fn is_noisy(&self) -> bool {
        let spread = self.figure().map_or(0.0, |figure| figure.spread);
        spread > stats::SPREAD_MAX || self.foreign() > stats::FOREIGN_MAX
    }
}

fn of_rounds(samples: &[LoadSample], value: impl Fn(&LoadSample) -> f64) -> Option<Figure> {
    let foreign = summarize(samples.iter().map(LoadSample::foreign_share))?;
    summarize(samples.iter().map(value)).map(|summary| Figure {
        least: summary.least,
        median: summary.median,
        most: summary.most,
        foreign: foreign.median,
    })
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
            match case.kind {
                Kind::KeepAlive | Kind::Close => cell.loads.push(measure::closed_loop(bench)?),
                Kind::Idle => cell.idle.push(measure::idle_connection(bench)?),
                Kind::Slow => cell.slow.push(slow::measure(bench)?),
                Kind::Reload => cell.reloads.push(reload::measure(bench)?),
            }
            let tools = if case.second_opinion {
                Tool::installed(case.protocol)
            } else {
                Vec::new()
            };
            for tool in tools {
                let opinion = measure::second_opinion(bench, tool)?;
                cell.by_others.entry(tool).or_default().push(opinion);
            }
            Ok(())
        })?;
        let latency_rate = self.latencies(case, &subjects, &mut cells)?;
        let duels = if case.duels {
            self.duels(case, &subjects, &cells)?
        } else {
            Vec::new()
        };
        Ok(Row {
            case,
            cells,
            duels,
            latency_rate,
        })
    }

    /// Latency of all at one rate, which it returns.
    fn latencies(&self, case: &'static Case, subjects: &[&Installed], cells: &mut [Cell]) -> Result<Option<f64>> {
        let slowest = cells
            .iter()
            .filter_map(Cell::rate)
            .map(|rate| rate.median)
            .min_by(f64::total_cmp);
        let rate = slowest.filter(|_| case.latency).map(|rate| rate * LATENCY_LOAD);
        if let Some(rate) = rate {
            self.rounds(case, subjects, cells, |bench, cell| {
                cell.latencies.push(measure::open_loop(bench, rate)?);
                Ok(())
            })?;
        }
        Ok(rate)
    }

    /// Latency beside each peer; who failed before has none.
    fn duels(&self, case: &'static Case, subjects: &[&Installed], cells: &[Cell]) -> Result<Vec<Duel>> {
        let mut duels = Vec::new();
        for cell in cells {
            let is_peer = cell.subject != Subject::Tidegate && cell.subject.has_origin();
            let Some(peak) = cell.rate().filter(|_| is_peer) else {
                continue;
            };
            let of = |subject| subjects.iter().find(|installed| installed.subject == subject).copied();
            let Some(two) = of(Subject::Tidegate).zip(of(cell.subject)) else {
                continue;
            };
            let two = [two.0, two.1];
            let mut cells = two.map(|installed| Cell::new(installed.subject));
            let rate = peak.median * LATENCY_LOAD;
            self.rounds(case, &two, &mut cells, |bench, cell| {
                cell.latencies.push(measure::open_loop(bench, rate)?);
                Ok(())
            })?;
            let [ours, theirs] = cells;
            duels.push(Duel { rate, ours, theirs });
        }
        Ok(duels)
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
        let text = match (result, cell.figure(), cell.latencies.last()) {
            (Err(error), ..) => format!("failed: {error:#}"),
            (Ok(()), _, Some(latency)) => format!("p99 {:.0} µs", latency.outcome.latency_micros(0.99)),
            (Ok(()), Some(figure), None) => {
                let unit = case.kind.other_unit().unwrap_or("µs CPU per request");
                format!("{:.2} {unit}", figure.last)
            }
            (Ok(()), None, None) => String::new(),
        };
        writeln!(io::stderr(), "{name} {round}/{rounds} {subject}: {text}")
    }
}
