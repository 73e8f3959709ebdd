//! One measurement: a fresh subject, filled and warmed, loaded for a while, and what that cost.
//!
//! Nothing is under way when the CPU time is read, before and after; so requests and CPU time belong together.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::case::{AnsweredBy, Case, Kind};
use crate::clock;
use crate::load::{Generator, Keys, Length, Outcome, Pace, Target};
use crate::machine::Cores;
use crate::subject::{Installed, Running, Setup};
use crate::usage::{self, CpuTime};
use crate::wrk;

/// How long connections rest before their memory is counted.
const SETTLE: Duration = Duration::from_secs(2);

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
}

impl LoadSample {
    /// CPU time of the subject for each right response.
    pub(crate) fn cpu_micros_per_request(&self) -> f64 {
        self.micros_per_request(self.cpu.total)
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
    let (running, mut generator) = bench.warmed()?;
    let origin_before = bench.origin_count()?;
    let sample = sampled(
        running.process.pid(),
        bench.plan.cores.subject,
        &mut generator,
        bench.plan.time,
    )?;
    bench.check_origin(&sample.outcome, bench.origin_count()?.saturating_sub(origin_before))?;
    Ok(sample)
}

/// What a closed loop of `time` costs the process `pid` and its children on `core`.
pub(crate) fn sampled(pid: i32, core: usize, generator: &mut Generator, time: Duration) -> Result<LoadSample> {
    let cpu_before = usage::cpu_time(pid)?;
    let core_before = usage::core_busy(core)?;
    let outcome = generator.run(Pace::closed(time))?;
    let cpu = usage::cpu_time(pid)?.since(cpu_before);
    let busy = usage::core_busy(core)?.saturating_sub(core_before);
    Ok(LoadSample {
        outcome,
        cpu,
        foreign: busy.saturating_sub(cpu.total),
    })
}

/// At `rate` requests per second, for latency.
pub(crate) fn open_loop(bench: &Bench<'_>, rate: f64) -> Result<Outcome> {
    let (_running, mut generator) = bench.warmed()?;
    let origin_before = bench.origin_count()?;
    let outcome = generator.run(Pace::open(rate, bench.plan.time))?;
    bench.check_origin(&outcome, bench.origin_count()?.saturating_sub(origin_before))?;
    Ok(outcome)
}

/// The same as [`closed_loop`], loaded by wrk: CPU µs of the subject per request.
pub(crate) fn second_opinion(bench: &Bench<'_>) -> Result<f64> {
    let (running, _generator) = bench.warmed()?;
    let cpu_before = usage::cpu_time(running.process.pid())?;
    let responses = wrk::run(bench.case, running.address, bench.plan.time, bench.plan.cores.load)?;
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
    /// An empty directory.
    pub(crate) dir: &'a Path,
}

impl Bench<'_> {
    /// A fresh subject with the response in its store, asked for once to fill it and once to see it.
    fn filled(&self) -> Result<Running> {
        let setup = Setup {
            dir: self.dir,
            origin: self.origin,
            access_log: self.case.access_log,
        };
        let running = self.installed.start(self.plan.cores.subject, &setup)?;
        let mut single = Generator::new(Target {
            connections: 1,
            ..self.target(&running)
        })?;
        for _ in 0..2 {
            let outcome = single.run(Pace::count(1))?;
            ensure!(
                outcome.responses == 1,
                "the first answer was wrong: {}",
                outcome.fault_words()
            );
        }
        Ok(running)
    }

    fn warmed(&self) -> Result<(Running, Generator)> {
        let running = self.filled()?;
        let mut generator = Generator::new(self.target(&running))?;
        generator.run(Pace::closed(self.plan.warm_up))?;
        Ok((running, generator))
    }

    fn target(&self, running: &Running) -> Target {
        Target {
            address: running.address,
            path: self.case.path.to_owned(),
            keys: Keys::One,
            length: Length::Of(self.case.body_bytes),
            connections: self.case.connections,
            close: self.case.kind == Kind::Close,
        }
    }

    /// How many requests the origin has answered.
    fn origin_count(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.origin).context("the origin is gone")?;
        stream.write_all(b"GET /count HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, count) = text.split_once("\r\n\r\n").context("the origin gave no count")?;
        Ok(count.parse()?)
    }

    /// A hit that asked the origin is none, and neither is a pass that did not.
    fn check_origin(&self, outcome: &Outcome, asked: u64) -> Result<()> {
        let answered = outcome.responses;
        match self.case.answered_by {
            _ if !self.installed.subject.has_origin() => Ok(()),
            AnsweredBy::Cache if asked > 0 => bail!("{asked} of {answered} hits were fetched from the origin"),
            AnsweredBy::Origin if asked < answered => bail!("only {asked} of {answered} requests reached the origin"),
            AnsweredBy::Cache | AnsweredBy::Origin => Ok(()),
        }
    }
}
