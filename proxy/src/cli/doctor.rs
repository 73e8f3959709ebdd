//! `tidegate doctor`: why does this machine lose handshakes? Of a running tidegate, or of any server without one.

mod ask; // a running tidegate, over its admin listener
mod look; // this machine, by our own look

use std::path::PathBuf;
use std::time::Duration;

use common::kernel::diagnosis::settings::Thresholds;
use common::kernel::preflight::{Machine, PreflightContext, sysctl_file};
use common::kernel::root::ProcRoot;
use common::process::netns;
use config::Loaded;

use super::ask::Access;
use crate::exit::{Code, Failure};
use crate::health::plan;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The report of a running tidegate, such as `http://127.0.0.1:9900`; without it, all listeners of this machine.
    #[arg(long, value_name = "URL", conflicts_with_all = ["proc_root", "sysctl", "config", "seconds"])]
    admin: Option<String>,
    /// Look from inside the network namespace of this process, such as a container's; needs the right to enter it.
    #[arg(long, value_name = "PID", conflicts_with_all = ["admin", "proc_root", "sysctl"])]
    pid: Option<u32>,
    #[command(flatten)]
    access: Access,
    /// Go on, with a new report every few seconds.
    #[arg(long, conflicts_with_all = ["json", "sysctl"])]
    watch: bool,
    /// As JSON.
    #[arg(long, conflicts_with = "sysctl")]
    json: bool,
    /// Print a file for /etc/sysctl.d, commented, for this machine and configuration; nothing is changed.
    #[arg(long)]
    sysctl: bool,
    /// How long to look before the report.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Below which directory `proc` and `sys` are read, where not by the configuration's `process.proc_root`.
    #[arg(long, value_name = "DIR")]
    proc_root: Option<PathBuf>,
    /// A copy of the same machine's `proc` and `sys` from earlier: what changed since is judged, without looking longer.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["admin", "sysctl", "watch", "seconds"])]
    since: Option<PathBuf>,
    /// A configuration whose wishes the settings are judged by.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the doctor found, as the exit status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Healthy,
    Findings,
    CannotTell,
}

/// Prints the report.
///
/// # Errors
/// There are findings (1), it cannot be told whether there are (2), or the arguments are wrong.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let verdict = match &arguments.admin {
        Some(admin) => ask::run(admin, &arguments.access, arguments.json, arguments.watch)?,
        None => on_this_machine(arguments)?,
    };
    match verdict {
        Verdict::Healthy => Ok(()),
        Verdict::Findings => Err(Failure::new(Code::Found, "")),
        Verdict::CannotTell => Err(Failure::new(Code::CannotTell, "")),
    }
}

fn on_this_machine(arguments: &Arguments) -> Result<Verdict, Failure> {
    if let Some(pid) = arguments.pid {
        // Before any thread is started: /proc/net is that of the first one.
        netns::enter(pid).map_err(|error| {
            Failure::new(
                Code::CannotTell,
                format_args!("--pid {pid}: its network namespace: {error}"),
            )
        })?;
    }
    let (context, thresholds, configured_root) = match &arguments.config {
        Some(file) => {
            let Loaded { config, .. } = config::load(file).map_err(|problems| Failure::new(Code::Config, problems))?;
            let thresholds = config.health.thresholds.clone();
            (plan::context(&config), thresholds, Some(config.process.proc_root))
        }
        None => (PreflightContext::default(), Thresholds::default(), None),
    };
    let dir = arguments
        .proc_root
        .clone()
        .or(configured_root)
        .unwrap_or_else(|| PathBuf::from("/"));
    let root = ProcRoot::new(&dir);
    if arguments.sysctl {
        super::say(&sysctl_file::sysctl_file(&Machine::read(&root), &context));
        return Ok(Verdict::Healthy);
    }
    if let Some(since) = &arguments.since {
        return look::compare(&ProcRoot::new(since), &root, &context, thresholds, arguments.json);
    }
    look::run(
        &root,
        &context,
        thresholds,
        Duration::from_secs(arguments.seconds),
        arguments.json,
        arguments.watch,
    )
}

/// How often `--watch` prints anew.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// Shows one report of several: on a terminal in place of the one before.
fn show(report: &str) {
    use std::io::IsTerminal as _;
    let clear = if std::io::stdout().is_terminal() {
        "\x1b[H\x1b[2J"
    } else {
        ""
    };
    super::say(&format!("{clear}{report}\n"));
}

/// Lets `time` go by; the doctor has nothing else to do.
#[expect(
    clippy::disallowed_methods,
    reason = "the only thread of a command that serves nobody"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
