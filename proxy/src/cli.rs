//! Arguments: one file per subcommand.

mod run; // serve what a configuration says
mod check; // validate a configuration
mod doctor; // why are handshakes lost?
mod demo; // front, cache and a sample origin, at once
mod purge; // take something out of a running process's store
mod reload; // files of a running process
mod explain; // what would become of a request
mod ask; // what subcommands share that ask a running process
mod backend; // servers of a running process
mod completions; // for shells

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Failure;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TIDEGATE_REVISION"), ")");

/// A reverse proxy with a cache tier for the network edge, which knows why TCP handshakes are lost.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version = VERSION, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what a configuration file says, or one origin in one line.
    Run(run::Arguments),
    /// Validate a configuration and print every problem at once, without binding anything.
    Check(check::Arguments),
    /// Say why handshakes are lost: of a running tidegate, or of any server on this machine.
    Doctor(doctor::Arguments),
    /// Run front, cache and a sample origin in one process, with URLs to try.
    Demo(demo::Arguments),
    /// Take something out of the store of a running process.
    Purge(purge::Arguments),
    /// Have a running process read its certificates, keys, lists and other files again.
    Reload(reload::Arguments),
    /// Say what would become of a request in a running process, and why, without sending it.
    Explain(explain::Arguments),
    /// Show the servers that a running process asks, or order one of them ready, drain or down.
    Backend(backend::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
}

/// Runs the subcommand; what it could not do goes to stderr with its exit code.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Backend(arguments) => backend::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                say_error(&message);
            }
            ExitCode::from(code)
        }
    }
}

/// Prints to stdout; a closed pipe is nobody's error.
fn say(text: &str) {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    drop(written);
}

/// Prints to stderr.
fn say_error(text: &str) {
    let written = writeln!(std::io::stderr().lock(), "tidegate: {text}");
    drop(written);
}
