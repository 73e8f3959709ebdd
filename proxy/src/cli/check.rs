//! `tidegate check`: validate a configuration and print every problem at once, without binding anything.

use std::fmt::Write as _;
use std::path::PathBuf;

use config::Loaded;

use crate::assemble;
use crate::exit::{Code, Failure};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print the effective configuration, with all defaults.
    #[arg(long)]
    print: bool,
}

/// Prints warnings and problems; exit status 1 when there are problems.
///
/// # Errors
/// The problems.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Loaded { config, warnings } =
        config::load(&arguments.config).map_err(|problems| Failure::new(Code::Found, problems))?;
    let mut text = String::new();
    for warning in &warnings {
        super::say_error(&format!("warning: {warning}"));
    }
    assemble::certificates(&config).map_err(|wrong| Failure::new(Code::Found, wrong.message))?;
    if arguments.print {
        text = config::print(&config);
    } else {
        let written = writeln!(text, "{}: configuration is valid", arguments.config.display());
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    super::say(&text);
    Ok(())
}
