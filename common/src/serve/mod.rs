//! One server loop for every listener of either role: workers, connections, limits, drain.
//!
//! `worker thread → accept → connection → (request → Service → response)*`. What a request means is the `Service`'s.

pub mod settings; // plain settings
pub mod service; // what a listener's requests are handed to
pub mod drain; // stop taking, finish what runs
pub mod source; // who a peer is to limits, and how many connections it has
pub mod shedding; // what runs short
pub mod limits; // connections in total and per source
pub mod seat; // one open connection's place
pub(crate) mod tunnel; // bytes both ways, after a 101
pub mod proxied; // who a load balancer says that a connection is from
mod turn_away; // what a client that is not let in is told
pub mod endpoint; // how a listener's connections are served
mod thread; // one worker's life: accept, tick, drain
pub mod workers; // one thread per core
