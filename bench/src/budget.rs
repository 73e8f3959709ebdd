//! Instruction budgets: what a request costs in user space, counted by callgrind, held against `bench/budgets.json`.
//!
//! Unlike CPU time this does not depend on what else the machine does, so CI can hold it. Whole paths: one connection asks
//! one thing after another, and what the worker's thread executes meanwhile is divided by the number of requests. Single
//! steps are counted by themselves (`budget/steps.rs`).

mod kept; // the budgets as they are kept
mod steps; // single steps of a request's way

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::case::{Case, Kind};
use crate::load::{Generator, Keys, Pace, Target};
use crate::machine::{Cores, in_path, scratch_root};
use crate::subject::{Installed, Setup, start_origin};

/// The paths that have a budget: its name, the case it is, and whether each request is for something new, so that it is a
/// miss and a fill.
const CASES: [(&str, &str, bool); 5] = [
    ("hit-1k", "hit-1k", false),
    ("hit-1k-log", "hit-1k-log", false),
    ("pass-1k", "pass-1k", false),
    ("close-1k", "close-1k", false),
    ("miss-1k", "hit-1k", true),
];
/// Requests before anything is counted, and requests that are counted.
const WARM_UP: u32 = 300;
const REQUESTS: u32 = 2000;
/// What is counted without the look at the kernel as well, and what that may cost of it, in percent.
const WATCHED: [&str; 2] = ["hit-1k", "close-1k"];
const WATCHING_MAX: f64 = 1.0;

/// What `bench budget` is asked to do.
pub(crate) struct Order<'a> {
    /// The budgets.
    pub(crate) file: &'a Path,
    /// The program that does single steps.
    pub(crate) steps: PathBuf,
    /// Why the budgets are to be written anew, where they are.
    pub(crate) reason: Option<&'a str>,
}

/// Counts, and compares or writes.
pub(crate) fn run(mut tidegate: Installed, order: &Order<'_>) -> Result<()> {
    let valgrind = in_path("valgrind").context("valgrind is not installed")?;
    let program = std::mem::replace(&mut tidegate.program, valgrind);
    let kept = kept::read(order.file)?;
    let mut counted = BTreeMap::new();
    let mut note = |name, count| {
        counted.insert(name, count);
        let budget = kept.get(name).map_or_else(
            || "no budget".to_owned(),
            |kept| {
                let growth = kept::growth(count, kept.instructions);
                format!("budget {} ({growth:+.1} %)", kept.instructions)
            },
        );
        writeln!(io::stdout(), "{name}: {count} instructions, {budget}")
    };
    for (name, case, is_new) in CASES {
        let case = Case::by_name(case).map_err(anyhow::Error::msg)?;
        note(name, count(&tidegate, &program, case, is_new, true)?)?;
    }
    for name in steps::STEPS {
        note(name, steps::count(&tidegate.program, &order.steps, name)?)?;
    }
    watching(&tidegate, &program, &counted)?;
    match order.reason {
        Some(reason) => kept::write(order.file, &kept, &counted, reason),
        None => kept::hold(&kept, &counted),
    }
}

/// What the look at the kernel costs.
fn watching(valgrind: &Installed, tidegate: &Path, counted: &BTreeMap<&str, u32>) -> Result<()> {
    for name in WATCHED {
        let case = Case::by_name(name).map_err(anyhow::Error::msg)?;
        let growth = kept::growth(counted[name], count(valgrind, tidegate, case, false, false)?);
        writeln!(io::stdout(), "{name}: watching the kernel is {growth:+.1} % of it")?;
        ensure!(
            growth <= WATCHING_MAX,
            "{name}: watching costs more than {WATCHING_MAX} %"
        );
    }
    Ok(())
}

/// Instructions of the worker per request.
fn count(valgrind: &Installed, tidegate: &Path, case: &Case, is_new: bool, watches: bool) -> Result<u32> {
    let cores = Cores::choose()?;
    let scratch = tempfile::tempdir_in(scratch_root())?;
    let files = scratch.path().join("callgrind.out");
    let mut prefix: Vec<OsString> = ["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
        .map(OsString::from)
        .to_vec();
    prefix.push(format!("--callgrind-out-file={}", files.display()).into());
    prefix.push(tidegate.into());
    let origin = start_origin(cores.load, scratch.path())?;
    let setup = Setup {
        access_log: case.access_log,
        watches,
        ..Setup::new(scratch.path(), origin.address)
    };
    let running = valgrind.start_behind(&prefix, &[cores.subject], &setup)?;
    let path = if is_new {
        format!("{}/", case.path)
    } else {
        case.path.to_owned()
    };
    let mut generator = Generator::new(Target {
        close: case.kind == Kind::Close,
        keys: if is_new { Keys::InTurn(0) } else { Keys::One },
        ..Target::get(running.address, &path, case.body_bytes, 1)
    })?;
    let pid = running.process.pid().to_string();
    generator.run(Pace::count(WARM_UP))?;
    control(&["--instr=on", &pid])?;
    let outcome = generator.run(Pace::count(REQUESTS))?;
    control(&["--instr=off", &pid])?;
    control(&["--dump", &pid])?;
    ensure!(
        outcome.responses == u64::from(REQUESTS),
        "{} wrong answers",
        outcome.fault_count()
    );
    let total = busiest_thread(scratch.path())?;
    u32::try_from(total / u64::from(REQUESTS)).context("more instructions than anybody could spend")
}

fn control(arguments: &[&str]) -> Result<()> {
    let status = Command::new("callgrind_control")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ensure!(
        status.context("cannot run callgrind_control")?.success(),
        "callgrind_control {} failed",
        arguments.join(" ")
    );
    Ok(())
}

/// The largest total of the dumps in `dir`, one for each thread: the one worker's.
fn busiest_thread(dir: &Path) -> Result<u64> {
    let mut most = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_dump = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("callgrind.out"));
        if is_dump {
            most = most.max(total(&fs::read_to_string(&path)?));
        }
    }
    if most == 0 {
        bail!("callgrind has counted nothing");
    }
    Ok(most)
}

/// The count in a dump's `totals:` or `summary:` line.
fn total(dump: &str) -> u64 {
    let counts = dump
        .lines()
        .filter_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
    counts.filter_map(|count| count.trim().parse().ok()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_dump_is_found_in_either_form() {
        assert_eq!(total("events: Ir\nsummary: 12\nfn=x\n1 12\ntotals: 12\n"), 12);
        assert_eq!(total("events: Ir\n"), 0);
    }
}
