//! One server loop for every listener of either role: workers, connections, limits, drain.
//!
//! `worker thread → accept → connection → (request → Service → response)*`. What a request means is the [`Service`]'s.

pub mod settings; // plain settings
pub mod service; // what a listener's requests are handed to
pub mod drain; // stop taking, finish what runs
pub mod limits; // connections in total
pub mod workers; // one thread per core
