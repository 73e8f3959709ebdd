//! Single steps of a request's way, counted by themselves: `cache/src/bin/steps.rs` does one of them many times.
//!
//! Each is run twice, with N repetitions and with 2 N: what the process does before and after is in both, and falls out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::total;

/// The steps, by the words that the program knows.
pub(super) const STEPS: [&str; 6] = [
    "request-parse",
    "response-parse",
    "key",
    "policy-store",
    "policy-reuse",
    "head-render",
];
/// N.
const REPETITIONS: u32 = 1000;

/// Instructions of one `step`, as `program` does it under `valgrind`.
pub(super) fn count(valgrind: &Path, program: &Path, step: &str) -> Result<u32> {
    let once = run(valgrind, program, step, REPETITIONS)?;
    let twice = run(valgrind, program, step, 2 * REPETITIONS)?;
    let each = twice.saturating_sub(once) / u64::from(REPETITIONS);
    ensure!(each > 0, "{step}: nothing was counted");
    u32::try_from(each).context("more instructions than anybody could spend")
}

/// Instructions of a whole process.
fn run(valgrind: &Path, program: &Path, step: &str, repetitions: u32) -> Result<u64> {
    let dump = tempfile::NamedTempFile::new()?;
    let status = Command::new(valgrind)
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", dump.path().display()))
        .arg(program)
        .args([step, &repetitions.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run valgrind")?;
    ensure!(status.success(), "{} {step}: {status}", program.display());
    Ok(total(&fs::read_to_string(dump.path())?))
}
