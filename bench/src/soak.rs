//! `bench soak`: mixed load for minutes to hours, and whether memory, descriptors, threads and errors stay where they are.
//!
//! A cycle is one kind of load after the other: many keys by popularity (fills and evictions), hits, passed through, a
//! connection per request, large ones, clients that leave. After each cycle, when no client is connected, it is looked at.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::clock;
use crate::load::{Generator, Keys, Length, Pace, Target};
use crate::machine;
use crate::options::Usual;
use crate::rig::{Rig, Shape, Tidegate};
use crate::sheet::{Check, Sheet, Table};
use crate::subject::Installed;
use crate::usage;

/// How long each kind of load lasts in a cycle.
const TURN: Duration = Duration::from_secs(1);
/// Between the end of a cycle and the look: connections that ended are gone by then.
const REST: Duration = Duration::from_millis(500);
/// MiB of the store: full within the first cycles.
const STORE_MIB: u64 = 64;
/// Clients in each cycle that ask for something large and leave.
const LEAVING: usize = 100;
/// Rows of the table; the CSV has all.
const ROWS_MAX: usize = 20;
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Args)]
pub(crate) struct Options {
    /// How long (90s, 10m, 2h).
    #[arg(long = "for", default_value = "2m", value_parser = duration)]
    time: Duration,
    #[command(flatten)]
    pub(crate) usual: Usual,
}

/// One look at it, at rest.
#[derive(Clone, Copy, Debug)]
struct Look {
    seconds: f64,
    responses: u64,
    faults: u64,
    resident: u64,
    descriptors: usize,
    threads: usize,
    cpu_micros_per_request: f64,
    /// Answers with a status of the 500s, of all kinds.
    errors: f64,
}

/// Loads it until the time is over.
pub(crate) fn run(tidegate: &Installed, options: &Options) -> Result<()> {
    let (machine, cores) = machine::ready_to_load()?;
    let rig = Rig::new(&tidegate.program, cores)?;
    let running = rig.start(&Shape::store(STORE_MIB))?;
    let started = clock::now();
    let mut looks: Vec<Look> = Vec::new();
    while looks.len() < 4 || clock::now().duration_since(started) < options.time {
        let look = cycle(&running, started)?;
        writeln!(
            io::stderr(),
            "{:.0} s: {:.1} MiB, {} descriptors, {} threads, {} wrong answers",
            look.seconds,
            mib(look.resident),
            look.descriptors,
            look.threads,
            look.faults
        )?;
        looks.push(look);
    }
    if let Some(dir) = &options.usual.save {
        save_csv(dir, &looks)?;
    }
    let sheet = Sheet {
        command: "soak",
        machine,
        about: vec![
            format!("tidegate: {}", tidegate.version),
            format!("one worker on core {}, a store of {STORE_MIB} MiB; load and origin on core {}", cores.subject, cores.load),
        ],
        checks: checks(&looks),
        tables: vec![table(&looks)],
        remarks: vec![
            "Looks are taken at rest, after all clients have left. The first half fills the store and is left out of the verdicts."
                .to_owned(),
        ],
    };
    sheet.publish(options.usual.save.as_deref())
}

/// All kinds of load, one after the other, then a look.
fn cycle(tidegate: &Tidegate, started: Instant) -> Result<Look> {
    let front = tidegate.front;
    let of = |path: &str, keys, length, connections, close| Target {
        keys,
        length,
        close,
        ..Target::get(front, path, 0, connections)
    };
    let kib = Length::Of(1024);
    let targets = [
        of("/mix/", Keys::zipf(50_000), Length::Mixed, 64, false),
        of("/1024", Keys::One, kib, 64, false),
        of("/pass/1024", Keys::One, kib, 64, false),
        of("/1024", Keys::One, kib, 32, true),
        of("/1048576", Keys::One, Length::Of(1 << 20), 16, false),
    ];
    let before = usage::cpu_time(tidegate.process.pid())?;
    let (mut responses, mut faults) = (0, 0);
    for target in targets {
        let outcome = Generator::new(target)?.run(Pace::closed(TURN))?;
        responses += outcome.responses;
        faults += outcome.fault_count();
    }
    leave(front)?;
    clock::pause(REST)?;
    let cpu = usage::cpu_time(tidegate.process.pid())?.since(before);
    let pid = tidegate.process.pid();
    Ok(Look {
        seconds: clock::now().duration_since(started).as_secs_f64(),
        responses,
        faults,
        resident: tidegate.resident()?,
        descriptors: entries(&format!("/proc/{pid}/fd"))?,
        threads: entries(&format!("/proc/{pid}/task"))?,
        cpu_micros_per_request: cpu.total.as_secs_f64() * 1e6 / f64::from(u32::try_from(responses)?.max(1)),
        errors: tidegate.metric("tidegate_responses_total{class=\"5xx\"")?,
    })
}

/// Clients that ask for something large and do not wait for it: stored, and passed through.
fn leave(front: SocketAddr) -> Result<()> {
    let mut leaving = Vec::with_capacity(LEAVING);
    for number in 0..LEAVING {
        let mut stream = TcpStream::connect(front)?;
        let path = if number % 2 == 0 { "/1048576" } else { "/pass/1048576" };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n")?;
        leaving.push(stream);
    }
    Ok(())
}

fn entries(dir: &str) -> Result<usize> {
    Ok(fs::read_dir(dir).with_context(|| format!("cannot read {dir}"))?.count())
}

/// What the second half says.
fn checks(looks: &[Look]) -> Vec<Check> {
    let late = &looks[looks.len() / 2..];
    let spread = |number: fn(&Look) -> usize| {
        let numbers: Vec<usize> = late.iter().map(number).collect();
        let (min, max) = (numbers.iter().min().copied(), numbers.iter().max().copied());
        count(max.unwrap_or(0) - min.unwrap_or(0))
    };
    let faults: u64 = looks.iter().map(|look| look.faults).sum();
    let errors = looks.last().map_or(0.0, |look| look.errors);
    let growth = growth(late);
    vec![
        Check::at_most(
            "resident memory over the second half, by least squares: growth",
            growth,
            "%",
            2.0,
        ),
        Check::at_most(
            "descriptors at rest: most minus fewest",
            spread(|look| look.descriptors),
            "",
            8.0,
        ),
        Check::at_most("threads: most minus fewest", spread(|look| look.threads), "", 0.0),
        Check::at_most(
            "wrong answers",
            f64::from(u32::try_from(faults).unwrap_or(u32::MAX)),
            "",
            0.0,
        ),
        Check::at_most("answers with a status of the 500s", errors, "", 0.0),
    ]
}

/// Percent by which the straight line through `looks` grows from their beginning to their end.
fn growth(looks: &[Look]) -> f64 {
    let number = count(looks.len());
    let mean = |value: &dyn Fn(&Look) -> f64| looks.iter().map(value).sum::<f64>() / number;
    let (mean_x, mean_y) = (mean(&|look| look.seconds), mean(&|look| mib(look.resident)));
    let both: f64 = looks
        .iter()
        .map(|look| (look.seconds - mean_x) * (mib(look.resident) - mean_y))
        .sum();
    let square: f64 = looks.iter().map(|look| (look.seconds - mean_x).powi(2)).sum();
    let seconds = looks.last().map_or(0.0, |last| last.seconds) - looks.first().map_or(0.0, |first| first.seconds);
    if square == 0.0 || mean_y == 0.0 {
        return 0.0;
    }
    both / square * seconds / mean_y * 100.0
}

const COLUMNS: [&str; 8] = [
    "seconds",
    "responses",
    "wrong",
    "resident MiB",
    "descriptors",
    "threads",
    "CPU µs per request",
    "5xx",
];

fn cells(look: &Look) -> Vec<String> {
    vec![
        format!("{:.0}", look.seconds),
        look.responses.to_string(),
        look.faults.to_string(),
        format!("{:.2}", mib(look.resident)),
        look.descriptors.to_string(),
        look.threads.to_string(),
        format!("{:.2}", look.cpu_micros_per_request),
        format!("{:.0}", look.errors),
    ]
}

fn table(looks: &[Look]) -> Table {
    let step = looks.len().div_ceil(ROWS_MAX).max(1);
    let mut rows: Vec<_> = looks.iter().rev().step_by(step).map(cells).collect();
    rows.reverse();
    Table {
        name: "looks",
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows,
    }
}

fn save_csv(dir: &std::path::Path, looks: &[Look]) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let seconds = clock::wall().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let lines = looks.iter().map(|look| cells(look).join(",") + "\n");
    let text: String = std::iter::once(COLUMNS.join(",") + "\n").chain(lines).collect();
    let file = dir.join(format!("soak-{seconds}.csv"));
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m or h, such as 10m".to_owned();
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let with_unit = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = with_unit.ok_or_else(wrong)?;
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn mib(bytes: u64) -> f64 {
    count(usize::try_from(bytes >> 10).unwrap_or(usize::MAX)) * 1024.0 / MIB
}

/// A count as a number that can be divided.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(seconds: f64, mib: u64) -> Look {
        Look {
            seconds,
            responses: 1,
            faults: 0,
            resident: mib << 20,
            descriptors: 9,
            threads: 4,
            cpu_micros_per_request: 1.0,
            errors: 0.0,
        }
    }

    #[test]
    fn growth_is_that_of_the_line_through_all_looks() {
        let steady = [
            look(0.0, 100),
            look(1.0, 102),
            look(2.0, 100),
            look(3.0, 102),
            look(4.0, 100),
        ];
        assert!(growth(&steady).abs() < 0.5, "{}", growth(&steady));
        let growing = [look(0.0, 90), look(1.0, 100), look(2.0, 110)];
        assert!((growth(&growing) - 20.0).abs() < 0.5, "{}", growth(&growing));
        assert!(growth(&growing[..1]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "90", "m", "1d", "é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
