//! `tidegate run`: serve what a configuration file says, or one origin in one line.

use std::path::PathBuf;

use config::Loaded;

use crate::boot;
use crate::exit::{Code, Failure};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["listen", "origin", "admin"])]
    config: Option<PathBuf>,
    /// Without a file: where to listen, such as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS", requires = "origin")]
    listen: Option<String>,
    /// Without a file: where health and metrics are, such as 127.0.0.1:9900; nowhere if not given.
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    admin: Option<String>,
    /// Without a file: the origin, such as `http://127.0.0.1:9000`.
    #[arg(long, value_name = "URL", requires = "listen")]
    origin: Option<String>,
    /// Below which directory `proc` and `sys` are read; goes before the configuration's `process.proc_root`.
    #[arg(long, value_name = "DIR")]
    proc_root: Option<PathBuf>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from serving.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = match arguments {
        Arguments { config: Some(file), .. } => config::load(file),
        Arguments {
            listen: Some(listen),
            origin: Some(origin),
            ..
        } => config::quick(listen, origin, arguments.admin.as_deref()),
        _ => {
            let hint = "give a configuration with -c FILE, or --listen ADDRESS and --origin URL (try: tidegate demo)";
            return Err(Failure::coded(64, hint));
        }
    };
    let Loaded { mut config, warnings } = loaded.map_err(|problems| Failure::new(Code::Config, problems))?;
    if let Some(dir) = &arguments.proc_root {
        config.process.proc_root.clone_from(dir);
    }
    boot::run(&config, &warnings, |_| {})
}
