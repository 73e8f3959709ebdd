//! tidegate: a reverse proxy with a cache tier for the network edge.
//!
//! `main` picks the subcommand; `boot` is the start-up list read aloud; `exchange` conducts one client request.

#![expect(
    unreachable_pub,
    reason = "a binary exports nothing: `pub` is what a module offers to its siblings"
)]

mod cli; // arguments, one file per subcommand
mod exit; // exit codes, and the one line that goes with each
mod allocator; // and what it gives back when a crowd has left
mod boot; // the start-up list, read aloud
mod guards; // a configuration → who may come in
mod assemble; // a configuration → the parts of a process
mod routes; // host and path → site and route
mod exchange; // one client request
mod health; // handshakes: what is lost, why, and what to do
mod admin; // health and metrics
mod reload; // files that are read again
mod ask; // one exchange with an admin listener
mod demo; // a sample origin to try things on

use std::process::ExitCode;

fn main() -> ExitCode {
    common::process::huge_pages::do_without();
    cli::main()
}
