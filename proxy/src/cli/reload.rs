//! `tidegate reload`: have a running process read its files again: certificates, keys, address lists, users, tokens.

use super::ask::{self, Whom};
use crate::exit::Failure;

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    whom: Whom,
}

/// Prints what was taken over; exit status 1 when something could not be, so that what was read before stays.
///
/// # Errors
/// When there is no such process, or a file cannot be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    ask::ask(&arguments.whom, "POST", "/reload")
}
