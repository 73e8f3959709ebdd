//! `bench scale`: how the cost of a hit grows with workers, with connections, and with what is stored.
//!
//! CPU per request of a stored 1 KiB on kept-alive connections, one thing changed at a time.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::load::{Generator, Keys, Length, Pace, Target};
use crate::machine::{self, Cores, available_memory};
use crate::measure::{LoadSample, sampled};
use crate::options::{self, Usual};
use crate::rig::{Rig, Shape, Tidegate, configuration};
use crate::sheet::{Check, Sheet, Table};
use crate::stats::{SPREAD_MAX, Summary, summarize};
use crate::subject::Installed;

/// Bytes of each body.
const BODY: u64 = 1024;
/// What a stored response takes at most in memory, all told.
const STORED_BYTES: u64 = 4096;
/// Connections, where their number is not what is changed.
const CONNECTIONS: usize = 64;

#[derive(Args)]
pub(crate) struct Options {
    /// The most workers [default: one for each core].
    #[arg(long)]
    workers: Option<usize>,
    /// The most stored responses; where memory does not suffice, fewer.
    #[arg(long, default_value_t = 1_000_000)]
    stored: u64,
    /// The most connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Rounds of each step.
    #[arg(long, default_value_t = 5, value_parser = options::rounds)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 1.0, value_parser = options::seconds)]
    seconds: f64,
    #[command(flatten)]
    pub(crate) usual: Usual,
}

/// One step of one axis.
struct Step {
    axis: &'static str,
    count: u64,
    cpu: Summary,
    rate: f64,
}

/// Measures all three axes.
pub(crate) fn run(tidegate: &Installed, options: &Options) -> Result<()> {
    let all = Cores::all()?;
    let (machine, cores) = machine::ready_to_load()?;
    let rig = Rig::new(&tidegate.program, cores)?;
    let most = options.workers.unwrap_or(all.len());
    let mut remarks = vec![
        "Workers: with more than one they and the load share the cores, so the rate is not theirs alone; CPU per request is."
            .to_owned(),
    ];
    let mut steps = workers(&rig, &all, most, options)?;
    steps.extend(connections(&rig, options)?);
    let affordable = (available_memory() / 2 / STORED_BYTES).min(options.stored);
    if affordable < options.stored {
        remarks.push(format!(
            "Memory suffices for {affordable} stored responses, not for {}.",
            options.stored
        ));
    }
    steps.extend(stored(&rig, affordable, options)?);
    let sheet = Sheet {
        command: "scale",
        machine,
        about: vec![
            format!("tidegate: {}", tidegate.version),
            format!(
                "one worker on core {}, load and origin on core {}, unless said otherwise",
                cores.subject, cores.load
            ),
        ],
        checks: checks(&steps),
        tables: vec![table(&steps)],
        remarks,
    };
    sheet.publish(options.usual.save.as_deref())
}

/// The same load on 1, 2, 3… workers.
fn workers(rig: &Rig, all: &[usize], most: usize, options: &Options) -> Result<Vec<Step>> {
    let mut running = Vec::new();
    for count in 1..=most {
        let shape = Shape {
            workers: count,
            ..Shape::store(64)
        };
        let cpus = if count == 1 {
            vec![rig.cores.subject]
        } else {
            all.to_vec()
        };
        running.push(rig.start_on(&cpus, &configuration(&shape, rig.origin()))?);
    }
    // In turns: a slow minute hits all of them.
    let mut samples: Vec<Vec<LoadSample>> = running.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (tidegate, samples) in running.iter().zip(&mut samples) {
            samples.extend(rounds(rig, tidegate, Keys::One, CONNECTIONS, (1, options.seconds))?);
        }
    }
    (1..)
        .zip(&samples)
        .map(|(count, samples)| step("workers", count, samples))
        .collect()
}

/// The same worker with 1, 10, 100… connections, all of them busy.
fn connections(rig: &Rig, options: &Options) -> Result<Vec<Step>> {
    let tidegate = rig.start(&Shape::store(64))?;
    powers_of_ten(options.connections as u64)
        .map(|count| {
            let plan = (options.rounds, options.seconds);
            let samples = rounds(rig, &tidegate, Keys::One, usize::try_from(count)?, plan)?;
            step("connections", count, &samples)
        })
        .collect()
}

/// The same worker with 1, 10, 100… stored responses, any of them asked for.
fn stored(rig: &Rig, most: u64, options: &Options) -> Result<Vec<Step>> {
    let tidegate = rig.start(&Shape::store(most * STORED_BYTES / (1 << 20) + 64))?;
    let (mut steps, mut filled) = (Vec::new(), 0);
    for count in powers_of_ten(most) {
        let mut filler = Generator::new(target(&tidegate, Keys::InTurn(filled), CONNECTIONS))?;
        let outcome = filler.run(Pace::hasty(u32::try_from(count - filled)?))?;
        ensure!(outcome.fault_count() == 0, "wrong answers: {}", outcome.fault_words());
        filled = count;
        let asked = rig.asked_of_origin()?;
        let plan = (options.rounds, options.seconds);
        let samples = rounds(rig, &tidegate, Keys::uniform(count), CONNECTIONS, plan)?;
        let fetched = rig.asked_of_origin()? - asked;
        ensure!(fetched == 0, "{fetched} requests were fetched from the origin");
        steps.push(step("stored", count, &samples)?);
    }
    Ok(steps)
}

/// 1, 10, 100… and `most` itself.
fn powers_of_ten(most: u64) -> impl Iterator<Item = u64> {
    let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
    powers.take_while(move |&power| power < most).chain([most])
}

fn rounds(
    rig: &Rig,
    tidegate: &Tidegate,
    keys: Keys,
    connections: usize,
    plan: (usize, f64),
) -> Result<Vec<LoadSample>> {
    let (rounds, seconds) = plan;
    let mut generator = Generator::new(target(tidegate, keys, connections))?;
    generator.run(Pace::closed(Duration::from_secs_f64(seconds / 4.0)))?;
    (0..rounds)
        .map(|_| {
            let time = Duration::from_secs_f64(seconds);
            let sample = sampled(tidegate.process.pid(), rig.cores.subject, &mut generator, time)?;
            let outcome = &sample.outcome;
            ensure!(outcome.fault_count() == 0, "wrong answers: {}", outcome.fault_words());
            Ok(sample)
        })
        .collect()
}

fn target(tidegate: &Tidegate, keys: Keys, connections: usize) -> Target {
    // Where there is one, it is the first of many.
    let path = if matches!(keys, Keys::One) {
        format!("/{BODY}/0")
    } else {
        format!("/{BODY}/")
    };
    Target {
        keys,
        length: Length::Of(BODY),
        ..Target::get(tidegate.front, &path, BODY, connections)
    }
}

fn step(axis: &'static str, count: u64, samples: &[LoadSample]) -> Result<Step> {
    let nothing = || anyhow::anyhow!("nothing was measured");
    let cpu = summarize(samples.iter().map(LoadSample::cpu_micros_per_request)).ok_or_else(nothing)?;
    let rate = summarize(samples.iter().map(|sample| sample.outcome.rate())).ok_or_else(nothing)?;
    writeln!(io::stderr(), "{axis} {count}: {:.2} µs", cpu.median)?;
    Ok(Step {
        axis,
        count,
        cpu,
        rate: rate.median,
    })
}

/// Two workers against one is the aim; the other axes are told.
fn checks(steps: &[Step]) -> Vec<Check> {
    let find = |axis: &str, count: u64| steps.iter().find(|step| step.axis == axis && step.count == count);
    let last = |axis: &str| steps.iter().rev().find(|step| step.axis == axis);
    let grown = |step: &Step, from: &Step| (step.cpu.median / from.cpu.median - 1.0) * 100.0;
    let mut checks = Vec::new();
    if let (Some(one), Some(two)) = (find("workers", 1), find("workers", 2)) {
        let is_noisy = one.cpu.spread.max(two.cpu.spread) > SPREAD_MAX;
        checks.push(
            Check::at_most(
                "CPU per request, 2 workers against 1: growth",
                grown(two, one),
                "%",
                5.0,
            )
            .noisy(is_noisy),
        );
    }
    for axis in ["connections", "stored"] {
        if let (Some(one), Some(most)) = (find(axis, 1), last(axis)) {
            let what = format!("CPU per request, {} {axis} against 1: growth", most.count);
            checks.push(Check::told(what, grown(most, one), "%"));
        }
    }
    checks
}

fn table(steps: &[Step]) -> Table {
    let line = |step: &Step| {
        vec![
            step.axis.to_owned(),
            step.count.to_string(),
            format!("{:.2}", step.cpu.median),
            format!("{:.0} %", step.cpu.spread * 100.0),
            format!("{:.0}", step.rate),
        ]
    };
    Table {
        name: "steps",
        columns: ["axis", "count", "CPU µs", "spread", "requests/s"]
            .map(str::to_owned)
            .to_vec(),
        rows: steps.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_powers_of_ten_and_end_with_what_was_asked_for() {
        let steps = |most| powers_of_ten(most).collect::<Vec<_>>();
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(1000), [1, 10, 100, 1000]);
        assert_eq!(steps(2500), [1, 10, 100, 1000, 2500]);
    }
}
