//! What Linux says about handshakes: settings, counters, sockets, and the diagnosis drawn from them.
//!
//! Readers are pure parsers over text with thin I/O under a settable root; what cannot be read is "unavailable, because…".
//! `preflight` judges settings before the start and while running, `diagnosis` names the cause of every lost handshake.
//! No thread of its own: the control thread calls [`sampler::Sampler::sample`] each second and hands the sample to
//! [`diagnosis::Engine::observe`].

pub mod reading; // a value, or why there is none
pub mod version; // the kernel's version and what follows from it
pub mod root; // where files are read: / or a recorded tree
pub mod tables; // text of netstat, snmp, snmp6 → columns
pub mod counters; // the counters that matter, and what they grew by
pub mod sockstat; // sockstat, softnet_stat, connection tracking
pub mod sysctl; // the settings that matter
pub mod memory; // how much memory there is
pub mod usage; // how much of it, and of descriptors, is taken
pub mod sockets; // single sockets: getsockopt, sock_diag
pub mod connects; // own connects, counted per server
pub mod sample; // everything known at one moment
mod pace; // when something dear is done again
pub mod sampler; // reads that moment
pub mod preflight; // settings judged before the start and while running
pub mod diagnosis; // samples → findings
pub mod report; // both as text
