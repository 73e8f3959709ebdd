//! The cache tier: one call, request in, response out.

pub mod policy; // what RFC 9111 and its neighbours say, as pure functions
