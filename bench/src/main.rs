//! The benchmark: drives proxies as a stranger would, and says what a request costs them.
//!
//! It never links tidegate: it starts the binary, as it starts nginx, HAProxy, Varnish and Traffic Server where they are
//! installed.
//! docs/benchmarks.md tells how to run it, how to read it, and what it does not measure.

mod sys; // the few system calls that std has no word for
mod clock; // the only file that reads a clock
mod machine; // which cores are ours, and what the machine is
mod usage; // what processes cost, from /proc
mod process; // children, ended whatever happens
mod ask; // one small question
mod pattern; // which bytes stand behind a URL of many
mod canned; // the floor, and the origin
mod certificate; // what TLS needs
mod subject; // what is measured
mod options; // what several commands are told alike
mod load; // the load generator
mod case; // the rows of the table
mod outside; // second opinions
mod measure; // one measurement
mod slow; // slow clients, and a probe beside them
mod reload; // a new certificate under load
mod stats; // medians and spreads
mod suite; // all cases, in rounds
mod target; // what we mean to reach, and whether we do
mod chart; // a picture of it
mod report; // Markdown and JSON
mod sheet; // tables and verdicts of the long runs
mod rig; // tidegate in the shapes that they want
mod memory; // what is held for what is kept
mod collapse; // a crowd that asks for one slow thing
mod tiers; // a hit at the second tier
mod scale; // workers, connections, stored responses
mod soak; // whether it stays where it is
mod budget; // instructions per request, for CI

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use case::{CASES, Case, QUICK};
use measure::Plan;
use options::{HOW_TO_BUILD, Ours};
use report::Report;
use subject::{Installed, Subject};

/// What a request costs tidegate, other proxies, and a program that does nothing but answer.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// tidegate and the floor: the most usual cases, a minute or two.
    Quick(Options),
    /// tidegate, nginx, HAProxy, Varnish, Traffic Server (where installed) and the floor: all cases, held against what we
    /// mean to reach; about fifteen minutes.
    Compare(Options),
    /// Memory per stored response, connection and request, of a store that turns over, and CPU of a hit among a million.
    Memory(memory::Options),
    /// 1,000 clients ask at once for one slow thing that is not stored: tidegate, nginx, HAProxy, Varnish.
    Collapse(collapse::Options),
    /// A hit at the second tier: tidegate before tidegate, against nginx before Varnish.
    Tiers(tiers::Options),
    /// CPU of a hit with more workers, connections and stored responses.
    Scale(scale::Options),
    /// Mixed load for minutes to hours: memory, descriptors, threads and errors over time.
    Soak(soak::Options),
    /// Instructions per request, and of single steps, by callgrind, held against bench/budgets.json; under a minute.
    Budget(Budget),
    /// Serves canned responses; the other commands start it.
    #[command(hide = true)]
    Floor,
    /// Serves canned responses to proxies; the other commands start it.
    #[command(hide = true)]
    Origin,
}

#[derive(Args)]
struct Options {
    /// Only these cases (an unknown one names them all).
    #[arg(long, value_delimiter = ',', value_parser = Case::by_name)]
    only: Vec<&'static Case>,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Rounds of each case.
    #[arg(long, default_value_t = 3, value_parser = options::rounds)]
    rounds: usize,
    /// Seconds of load in each round [default: 0.6 for quick, 0.8 for compare].
    #[arg(long, value_parser = options::seconds)]
    seconds: Option<f64>,
    #[command(flatten)]
    ours: Ours,
    /// Writes the tables, JSON with all rounds, versions and configurations, and a picture into a directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "bench/results")]
    save: Option<PathBuf>,
}

#[derive(Args)]
struct Budget {
    /// The budgets.
    #[arg(long, default_value = "bench/budgets.json")]
    file: PathBuf,
    /// Writes what was counted as the new budgets; what has changed gets this reason.
    #[arg(long, value_name = "REASON")]
    update: Option<String>,
    #[command(flatten)]
    ours: Ours,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Where stderr is gone too, only the status is left to tell.
        Err(error) => writeln!(io::stderr(), "bench: {error:#}").map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE),
    }
}

fn run(arguments: Arguments) -> Result<()> {
    sys::note_signals();
    match arguments.command {
        Action::Quick(options) => bench("quick", &options, &[Subject::Tidegate, Subject::Floor], 0.6),
        Action::Compare(options) => bench("compare", &options, &Subject::ALL, 0.8),
        Action::Memory(options) => memory::run(&options.usual.ours.installed()?, &options),
        Action::Collapse(options) => collapse::run(&options.usual.ours.installed()?, &options),
        Action::Tiers(options) => tiers::run(&options.usual.ours.installed()?, &options),
        Action::Scale(options) => scale::run(&options.usual.ours.installed()?, &options),
        Action::Soak(options) => soak::run(&options.usual.ours.installed()?, &options),
        Action::Budget(options) => budget(&options),
        Action::Floor => canned::serve("floor"),
        Action::Origin => canned::serve("origin"),
    }
}

fn bench(command: &'static str, options: &Options, usual: &[Subject], seconds: f64) -> Result<()> {
    let seconds = options.seconds.unwrap_or(seconds);
    let (subjects, absent) = find_subjects(options, usual)?;
    let is_usual = |case: &&Case| command != "quick" || QUICK.contains(&case.name);
    let cases: Vec<&'static Case> = if options.only.is_empty() {
        CASES.iter().filter(is_usual).collect()
    } else {
        options.only.clone()
    };

    let (machine, cores) = machine::ready_to_load()?;
    sys::exact_timers()?;
    let plan = Plan {
        rounds: options.rounds,
        time: Duration::from_secs_f64(seconds),
        warm_up: Duration::from_secs_f64(seconds / 4.0),
        cores,
    };
    let rows = suite::run(&cases, &subjects, plan)?;

    let report = Report {
        command,
        machine,
        plan,
        subjects,
        absent,
        rows,
    };
    io::stdout().write_all(report.markdown().as_bytes())?;
    if let Some(dir) = &options.save {
        report.save(dir)?;
    }
    ensure!(!report.has_failures(), "some measurements failed");
    Ok(())
}

fn budget(options: &Budget) -> Result<()> {
    let tidegate = options.ours.installed()?;
    let order = budget::Order {
        file: &options.file,
        steps: options::built("cache", "steps")?,
        reason: options.update.as_deref(),
    };
    budget::run(tidegate, &order)
}

/// The subjects that are here, and those that are not.
fn find_subjects(options: &Options, usual: &[Subject]) -> Result<(Vec<Installed>, Vec<Subject>)> {
    let named = !options.subjects.is_empty();
    let wanted = if named { &options.subjects } else { usual };
    let tidegate = options.ours.binary(wanted)?;
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    for &subject in wanted {
        match Installed::find(subject, &tidegate)? {
            Some(installed) => found.push(installed),
            None if subject == Subject::Tidegate => bail!("no {}: {HOW_TO_BUILD}", tidegate.display()),
            None if named => bail!("{} is not installed", subject.name()),
            None => absent.push(subject),
        }
    }
    Ok((found, absent))
}
