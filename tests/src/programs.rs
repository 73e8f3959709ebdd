//! Programs that the machine may have: used when they are there, otherwise skipped aloud.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Tells, past the test harness's capture, why a test did not run.
pub fn skipped(why: &str) {
    drop(writeln!(std::io::stderr(), "skipped: {why}"));
}

/// The program, when it is installed; says that it is not, otherwise.
pub fn installed(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder: PathBuf| folder.join(program))
        .find(|file| file.is_file());
    if found.is_none() {
        skipped(&format!("{program} is not installed"));
    }
    found.map(Command::new)
}
