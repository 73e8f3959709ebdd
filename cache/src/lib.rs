//! The cache tier: one call, request in, response out.
//!
//! `tier` is the call; modules stand in the order in which a request meets them.

pub mod tier; // the call: in this process, or on cache servers
mod serve; // conducts one request to the store in this process
pub mod policy; // what RFC 9111 and its neighbours say, pure
pub mod purge; // what an operator takes out of it
pub mod store; // what is kept, and where
pub mod explain; // what would become of a request, in words
mod answer; // a stored response → the response to one request
mod collapse; // one fetch per key: leaders and waiters
mod remembered; // what keys are like, for a while
mod invalidated; // what unsafe requests make of fetches under way, and of slices
mod compress; // what the origin sent → the coding that the client likes
mod affinity; // which server of a backend, by a hash
mod fetch; // what is asked of the origin
mod fill; // a response body → content that many read
pub mod tally; // why things happened, counted
mod remote; // the tier on cache servers
