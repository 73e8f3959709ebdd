//! One measurement: a fresh subject, filled and warmed, loaded for a while, and what that cost.
//!
//! Nothing is under way when the CPU time is read, before and after; so requests and CPU time belong together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ask;
use crate::case::{AnsweredBy, Case, Kind, Protocol};
use crate::certificate::Identity;
use crate::clock;
use crate::load::{Generator, Length, Outcome, Pace, Target, Transport};
use crate::machine::Cores;
use crate::outside::Tool;
use crate::subject::{Installed, Running, Setup};
use crate::usage::{self, CpuTime};

/// How long connections rest before their memory is counted.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a subject that accepts connections has until its first right answer.
const FIRST: Duration = Duration::from_secs(5);

/// How long, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) cores: Cores,
}

/// What a closed loop cost.
#[derive(Clone, Debug)]
pub(crate) struct LoadSample {
    pub(crate) outcome: Outcome,
    /// Of the subject and all its processes.
    pub(crate) cpu: CpuTime,
    /// Of everything else on the subject's core.
    pub(crate) foreign: Duration,
    /// Requests that reached the origin.
    pub(crate) fetched: u64,
}

impl LoadSample {
    /// CPU time of the subject for each right response.
    pub(crate) fn cpu_micros_per_request(&self) -> f64 {
        self.micros_per_request(self.cpu.total)
    }

    /// The part of the requests that the store answered.
    pub(crate) fn hit_share(&self) -> f64 {
        let fetched = u32::try_from(self.fetched).unwrap_or(u32::MAX);
        let responses = u32::try_from(self.outcome.responses).unwrap_or(u32::MAX);
        (1.0 - f64::from(fetched) / f64::from(responses.max(1))).max(0.0)
    }

    /// Any time, per right response.
    pub(crate) fn micros_per_request(&self, time: Duration) -> f64 {
        let responses = u32::try_from(self.outcome.responses).unwrap_or(u32::MAX);
        time.as_secs_f64() * 1e6 / f64::from(responses.max(1))
    }

    /// The part of the time that the subject was on its core: below 1, the load was the limit.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu.total.as_secs_f64() / self.outcome.time.as_secs_f64().max(1e-9)
    }

    /// The part of the time that others were on the subject's core.
    pub(crate) fn foreign_share(&self) -> f64 {
        self.foreign.as_secs_f64() / self.outcome.time.as_secs_f64().max(1e-9)
    }
}

/// As fast as it goes.
pub(crate) fn closed_loop(bench: &Bench<'_>) -> Result<LoadSample> {
    bench.loaded(Pace::closed(bench.plan.time))
}

/// At `rate` requests per second, for latency.
pub(crate) fn open_loop(bench: &Bench<'_>, rate: f64) -> Result<LoadSample> {
    bench.loaded(Pace::open(rate, bench.plan.time))
}

/// What a closed loop of `time` costs the process `pid` and its children on `core`.
pub(crate) fn sampled(pid: i32, core: usize, generator: &mut Generator, time: Duration) -> Result<LoadSample> {
    metered(pid, &[core], pid, generator, Pace::closed(time))
}

/// What load costs the process `pid` and its children on `cores`, where nobody runs but what `known` has started.
fn metered(pid: i32, cores: &[usize], known: i32, generator: &mut Generator, pace: Pace) -> Result<LoadSample> {
    let busy = || {
        cores
            .iter()
            .map(|&core| usage::core_busy(core))
            .sum::<Result<Duration>>()
    };
    let before = (usage::cpu_time(pid)?, usage::cpu_time(known)?, busy()?);
    let outcome = generator.run(pace)?;
    let cpu = usage::cpu_time(pid)?.since(before.0);
    let known = usage::cpu_time(known)?.since(before.1);
    Ok(LoadSample {
        outcome,
        cpu,
        foreign: busy()?.saturating_sub(before.2).saturating_sub(known.total),
        fetched: 0,
    })
}

/// The same as [`closed_loop`], loaded by another generator: CPU µs of the subject per request.
pub(crate) fn second_opinion(bench: &Bench<'_>, tool: Tool) -> Result<f64> {
    let (running, _generator) = bench.warmed()?;
    let cpu_before = usage::cpu_time(running.process.pid())?;
    let responses = tool.run(bench.case, running.address, bench.plan.time, bench.plan.cores.load)?;
    let cpu = usage::cpu_time(running.process.pid())?.since(cpu_before);
    Ok(cpu.total.as_secs_f64() * 1e6 / f64::from(responses.max(1)))
}

/// Bytes of resident memory that each of the case's connections adds, once it is silent.
pub(crate) fn idle_connection(bench: &Bench<'_>) -> Result<f64> {
    let running = bench.filled()?;
    let before = usage::resident_bytes(running.process.pid())?;
    let mut generator = Generator::new(bench.target(&running))?;
    let connections = u32::try_from(bench.case.connections)?;
    let first = generator.run(Pace::count(connections))?;
    clock::pause(SETTLE)?;
    let after = usage::resident_bytes(running.process.pid())?;
    let second = generator.run(Pace::count(connections))?;
    for outcome in [&first, &second] {
        ensure!(
            outcome.responses == u64::from(connections),
            "{} wrong answers",
            outcome.fault_count()
        );
        ensure!(
            outcome.reconnects == 0,
            "{} connections were not kept",
            outcome.reconnects
        );
    }
    let added = u32::try_from(after.saturating_sub(before) / 64)?;
    Ok(f64::from(added) * 64.0 / f64::from(connections))
}

/// One subject in one case.
pub(crate) struct Bench<'a> {
    pub(crate) installed: &'a Installed,
    pub(crate) case: &'a Case,
    pub(crate) plan: Plan,
    pub(crate) origin: SocketAddr,
    pub(crate) identity: &'a Identity,
    /// An empty directory.
    pub(crate) dir: &'a Path,
}

impl Bench<'_> {
    /// A fresh subject with the response in its store, asked for once to fill it and once to see it.
    pub(crate) fn filled(&self) -> Result<Running> {
        let setup = Setup {
            access_log: self.case.access_log,
            workers: self.case.workers,
            store_mib: self.case.store_mib,
            tls: (self.case.protocol != Protocol::Plain).then_some(&self.identity.files),
            ..Setup::new(self.dir, self.origin)
        };
        let running = self.installed.start(&self.cores(), &setup)?;
        let once = Target {
            connections: 1,
            ..self.target(&running)
        };
        let whole = Target {
            fields: "",
            status: "200",
            length: Length::Of(self.case.stored_bytes.unwrap_or(self.case.body_bytes)),
            ..once.clone()
        };
        // Traffic Server accepts connections a moment before it answers them.
        let mut words = String::new();
        let filled = clock::poll_until("a right first answer", FIRST, || {
            let outcome = Generator::new(whole.clone())?.run(Pace::count(1))?;
            words = outcome.fault_words();
            Ok((outcome.responses == 1).then_some(()))
        });
        filled.with_context(|| format!("the first answers were wrong: {words}"))?;
        let outcome = Generator::new(once)?.run(Pace::count(1))?;
        ensure!(
            outcome.responses == 1,
            "the second answer was wrong: {}",
            outcome.fault_words()
        );
        Ok(running)
    }

    /// The subject's cores.
    pub(crate) fn cores(&self) -> Vec<usize> {
        self.plan.cores.of_workers(self.case.workers)
    }

    /// A fresh and warm subject under load.
    fn loaded(&self, pace: Pace) -> Result<LoadSample> {
        let (running, mut generator) = self.warmed()?;
        let (pid, cores) = (running.process.pid(), self.cores());
        let shares = cores.contains(&self.plan.cores.load);
        let known = if shares { std::process::id().cast_signed() } else { pid };
        let origin_before = ask::count_of(self.origin)?;
        let sample = metered(pid, &cores, known, &mut generator, pace)?;
        let fetched = ask::count_of(self.origin)?.saturating_sub(origin_before);
        self.check_origin(&sample.outcome, fetched)?;
        Ok(LoadSample { fetched, ..sample })
    }

    fn warmed(&self) -> Result<(Running, Generator)> {
        let running = self.filled()?;
        let mut generator = Generator::new(self.target(&running))?;
        if self.case.answered_by == AnsweredBy::Either {
            // A store that is not full yet evicts nothing: as many bytes as it holds, and a fifth more.
            let fetched_bytes = u64::from(self.case.store_mib) << 20;
            let requests = fetched_bytes / self.case.body_bytes * 6 / 5;
            generator.run(Pace::hasty(u32::try_from(requests)?))?;
        }
        generator.run(Pace::closed(self.plan.warm_up))?;
        Ok((running, generator))
    }

    pub(crate) fn target(&self, running: &Running) -> Target {
        let case = self.case;
        Target {
            keys: case.keys.clone(),
            fields: case.fields,
            status: case.status,
            close: case.kind == Kind::Close,
            transport: match case.protocol {
                Protocol::Plain => Transport::Plain,
                Protocol::Tls => Transport::Tls(Arc::clone(&self.identity.http1)),
                Protocol::Http2 => Transport::Http2(Arc::clone(&self.identity.http2)),
            },
            ..Target::get(running.address, case.path, case.body_bytes, case.connections)
        }
    }

    /// A hit that asked the origin is none, and neither is a pass that did not.
    fn check_origin(&self, outcome: &Outcome, asked: u64) -> Result<()> {
        let answered = outcome.responses;
        match self.case.answered_by {
            _ if !self.installed.subject.has_origin() => Ok(()),
            AnsweredBy::Cache if asked > 0 => bail!("{asked} of {answered} hits were fetched from the origin"),
            AnsweredBy::Origin if asked < answered => bail!("only {asked} of {answered} requests reached the origin"),
            AnsweredBy::Cache | AnsweredBy::Origin | AnsweredBy::Either => Ok(()),
        }
    }
}
