//! What both tiers stand on: the network, HTTP messages, serving, backends, the kernel's view.
//!
//! Nothing here knows about caching. Modules stand in the order in which a request meets them.
//! Layers: `common ← config ← cache ← proxy` (ARCHITECTURE.md).

pub mod units; // "512MiB", "30s": sizes and durations as text
pub mod soon; // what is there, or is coming
pub mod turn; // reading goes before writing
pub mod time; // the only place that reads a clock
pub mod process; // the process's own limits, user and CPUs
pub mod telemetry; // logs, metrics, access log
pub mod worker; // what belongs to one worker thread
pub mod kernel; // what Linux says about handshakes
pub mod net; // listeners, accept, streams
pub mod http; // messages, hop-by-hop hygiene, framing checks
pub mod http1; // HTTP/1.x on the wire, both sides
pub mod http2; // HTTP/2 on the wire, towards clients
pub mod serve; // one server loop for every listener of either role
pub mod backend; // a group of servers one connects to
