//! What several commands are told alike: which binary is ours, where results go, how many rounds of how many seconds.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::subject::{Installed, Subject};

/// Said where our binary is missing.
pub(crate) const HOW_TO_BUILD: &str = "build it with cargo build --release -p proxy";

/// Which binary, and where to.
#[derive(Args)]
pub(crate) struct Usual {
    #[command(flatten)]
    pub(crate) ours: Ours,
    /// Writes the tables, as Markdown and JSON, into a directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "bench/results")]
    pub(crate) save: Option<PathBuf>,
}

/// Which binary is ours.
#[derive(Args)]
pub(crate) struct Ours {
    /// Our binary; without this, the one beside this program, built before if cargo runs us.
    #[arg(long)]
    tidegate: Option<PathBuf>,
}

impl Ours {
    /// Ours, ready to be started.
    pub(crate) fn installed(&self) -> Result<Installed> {
        let binary = self.binary(&[Subject::Tidegate])?;
        let found = Installed::find(Subject::Tidegate, &binary)?;
        found.with_context(|| format!("no {}: {HOW_TO_BUILD}", binary.display()))
    }

    /// Where it is; built before, where it is wanted and cargo runs us.
    pub(crate) fn binary(&self, wanted: &[Subject]) -> Result<PathBuf> {
        match &self.tidegate {
            Some(path) => Ok(path.clone()),
            None if wanted.contains(&Subject::Tidegate) => built("proxy", "tidegate"),
            None => beside_us("tidegate"),
        }
    }
}

/// A program of this workspace, built from the sources as they are when cargo runs us: a stale one would be a lie.
pub(crate) fn built(package: &str, program: &str) -> Result<PathBuf> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "-p", package, "--bin", program]);
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        let status = command.status().context("cannot run cargo")?;
        ensure!(status.success(), "{program} does not build");
    }
    beside_us(program)
}

fn beside_us(program: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.parent().unwrap_or_else(|| Path::new(".")).join(program))
}

/// Seconds of load.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.05..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "from 0.05 to 3600".to_owned())
}

/// Rounds of each case.
pub(crate) fn rounds(text: &str) -> Result<usize, String> {
    let rounds = text.parse().ok().filter(|rounds| (1..=1000).contains(rounds));
    rounds.ok_or_else(|| "from 1 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rounds_are_bounded() {
        assert_eq!((seconds("0.05"), seconds("3600")), (Ok(0.05), Ok(3600.0)));
        assert_eq!((rounds("1"), rounds("1000")), (Ok(1), Ok(1000)));
        for wrong in ["", "0", "-1", "3601", "NaN"] {
            assert!(seconds(wrong).is_err() && rounds(wrong).is_err(), "{wrong}");
        }
    }
}
