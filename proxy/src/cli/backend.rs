//! `tidegate backend`: what the servers of a running process are up to, and orders to them.
//!
//! A client of the admin listener: `GET /health` and `POST /backends/NAME/SERVER/ORDER`.

use super::ask::{Whom, ask};
use crate::exit::{Code, Failure};

/// Arguments of `backend`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// The backend: an origin's name, or `cache.servers`; without it, all are shown.
    #[arg(requires = "server")]
    name: Option<String>,
    /// The server, as it stands in the configuration.
    #[arg(requires = "order")]
    server: Option<String>,
    /// What is wanted of it.
    #[arg(value_parser = ["ready", "drain", "down"])]
    order: Option<String>,
}

/// Sends the order, or shows the process's health with all its backends.
///
/// # Errors
/// No process answers there, or it refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (method, target) = match (&arguments.name, &arguments.server, &arguments.order) {
        (Some(name), Some(server), Some(order)) => ("POST", format!("/backends/{name}/{server}/{order}")),
        _ => ("GET", "/health?format=json".to_owned()),
    };
    let is_target = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_target {
        return Err(Failure::new(
            Code::Found,
            "names of backends and servers have no spaces and no \"#\"",
        ));
    }
    ask(&arguments.whom, method, &target)
}
