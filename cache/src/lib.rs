//! The cache tier: one call, request in, response out.
//!
//! `tier` is the call; modules stand in the order in which a request meets them.

pub mod tier; // the call: in this process, or on cache servers
