//! `tidegate explain`: what would become of a request in a running process, and why. A client of `GET /explain`.

use super::ask::{self, Whom};
use crate::admin::query::encode;
use crate::exit::Failure;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The URL, as clients ask for it.
    url: String,
    /// A field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The request's method.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

/// Asks and prints what the process says.
///
/// # Errors
/// When there is no such process, or the request is none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    ask::ask(&arguments.whom, "GET", &target(arguments))
}

fn target(arguments: &Arguments) -> String {
    let mut target = format!(
        "/explain?format={}&method={}&url={}",
        if arguments.json { "json" } else { "text" },
        encode(&arguments.method),
        encode(&arguments.url)
    );
    for field in &arguments.header {
        target.push_str("&header=");
        target.push_str(&encode(field));
    }
    target
}
