//! `tidegate purge`: take something out of the store of a running process.

use super::ask::{self, Whom};
use crate::admin::query::encode;
use crate::exit::Failure;

/// Arguments of `purge`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    what: What,
    /// Mark as stale instead of removing: validated before it is used again.
    #[arg(long)]
    soft: bool,
    /// Count what each purge matches: takes some 0.2 s per million stored responses.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    whom: Whom,
}

/// What is purged: at least one.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct What {
    /// One URL, all its variants.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// All URLs that begin so; without a scheme, of both.
    #[arg(long, value_name = "PREFIX")]
    prefix: Vec<String>,
    /// All URLs of a host.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// All responses with this tag (Surrogate-Key, Cache-Tag).
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

/// Purges and prints what the process says.
///
/// # Errors
/// When there is no such process, or it says no.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    ask::ask(&arguments.whom, "POST", &target(arguments))
}

fn target(arguments: &Arguments) -> String {
    let what = &arguments.what;
    let named = [
        ("url", &what.url),
        ("prefix", &what.prefix),
        ("host", &what.host),
        ("tag", &what.tag),
    ];
    let named = named
        .into_iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let mut parameters: Vec<String> = named.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    parameters.extend(what.all.then(|| "all".to_owned()));
    parameters.extend(arguments.soft.then(|| "soft".to_owned()));
    parameters.extend(arguments.count.then(|| "count".to_owned()));
    format!("/purge?{}", parameters.join("&"))
}
