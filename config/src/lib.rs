//! File → validated plain structs. No tokio, and no I/O but reading the file.
//!
//! Each key is described once, in `sections`: name, kind, default, meaning. Three visitors use that description: the
//! reader (which notes every problem of a file in one run), the printer (`--print`) and the reference page
//! (docs/config.md). `check` then resolves names and compares keys with each other; the result is a [`Config`]: no
//! `Option` that has a default, every number in its bounds, every name an index.

#![forbid(unsafe_code)]

mod problem; // what is wrong, where, and what would be right
mod defaults; // every default, once, with its reason
mod schema; // what a key, a kind and a table are
mod codec; // the kinds of values: sizes, durations, addresses…
mod reader; // visitor: a parsed file → drafts
mod sections; // the description of every key
mod check; // drafts → Config: names resolved, keys compared
pub mod rules; // what is decided about caching
pub mod guard; // who may ask, how often and how much
pub mod traffic; // what is decided about traffic
mod model; // the validated structs
mod printer; // visitor: drafts → TOML
mod reference; // visitor: the description → docs/config.md
mod load; // a file, a text, a command line → Config

pub use defaults::SERVE;
pub use load::{Loaded, load, parse, quick};
pub use model::*;
pub use printer::print;
pub use problem::{Problem, Problems};
pub use reference::reference;

#[cfg(test)]
mod tests; // whole files, good and bad
