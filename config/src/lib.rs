//! File → validated plain structs. The only crate with serde; no tokio, no I/O but reading the file.
//!
//! Two levels: [`raw`] is exactly what the file may say (unknown keys refused), the structs here are what the program
//! uses: no `Option` that has a default, every number checked, every name resolved to an index.

mod model; // the validated structs

pub use model::*;
