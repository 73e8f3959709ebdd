//! `tidegate check`: validate a configuration and print every problem at once, without binding anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::kernel::preflight::tw_recycle::safety;
use common::kernel::preflight::{Machine, preflight, refuses};
use common::kernel::report::{kernel_line, preflight_text};
use common::kernel::root::ProcRoot;
use common::time::Clock;
use config::{Config, Loaded};

use crate::assemble;
use crate::exit::{Code, Failure};
use crate::health::plan;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print the effective configuration, with all defaults.
    #[arg(long)]
    print: bool,
    /// Judge the kernel's settings too; exit status 1 when one of them keeps `run` from starting.
    #[arg(long)]
    kernel: bool,
    /// Below which directory `proc` and `sys` are read; goes before the configuration's `process.proc_root`.
    #[arg(long, value_name = "DIR", requires = "kernel")]
    proc_root: Option<PathBuf>,
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
    let files = assemble::files(&config).map_err(|wrong| Failure::new(Code::Found, wrong.message))?;
    let expiring = assemble::expiring(&files.tls, Clock::System.wall());
    for warning in assemble::warnings(&files.tls).into_iter().chain(expiring) {
        super::say_error(&format!("warning: {warning}"));
    }
    if arguments.print {
        text = config::print(&config);
    } else {
        let written = writeln!(text, "{}: configuration is valid", arguments.config.display());
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    super::say(&text);
    if arguments.kernel {
        kernel(&config, arguments.proc_root.as_deref())
    } else {
        Ok(())
    }
}

/// Prints what the preflight says.
fn kernel(config: &Config, proc_root: Option<&Path>) -> Result<(), Failure> {
    let root = ProcRoot::new(proc_root.unwrap_or(&config.process.proc_root));
    let machine = Machine::read(&root);
    let findings = preflight(&machine, &plan::context(config));
    super::say(&(kernel_line(&machine.kernel, safety(&machine)) + &preflight_text(&findings)));
    if refuses(&findings) {
        return Err(Failure::new(
            Code::Found,
            "a kernel setting loses clients: tidegate would not start",
        ));
    }
    Ok(())
}
