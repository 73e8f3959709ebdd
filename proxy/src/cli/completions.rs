//! `tidegate completions`: print a completion script for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::exit::Failure;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// None.
#[expect(clippy::unnecessary_wraps, reason = "every subcommand has one signature")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut super::Arguments::command(),
        "tidegate",
        &mut script,
    );
    super::say(&String::from_utf8_lossy(&script));
    Ok(())
}
