//! Who may ask for what, how often and how much, per site and route: plain settings, which `proxy::exchange::guard` applies.
//!
//! Everything here is absent by default; a route without any of it, in a site without any of it, costs a request nothing.

use std::time::Duration;

use common::net::address_list::ListItem;
use http::HeaderName;

/// The guard of one site, or of one route; a route's requests pass both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guard {
    /// Only these clients may ask.
    pub allow: Option<Vec<ListItem>>,
    /// These clients may not.
    pub deny: Option<Vec<ListItem>>,
    /// Bytes of a request body.
    pub body_bytes_max: Option<u64>,
    /// How often.
    pub limits: Vec<RateLimit>,
}

/// How often something may be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Over time.
    pub rate: Frequency,
    /// At once.
    pub burst: u32,
    /// What is counted apart.
    pub key: RateKey,
    /// Values of the key that are remembered.
    pub keys_max: usize,
}

/// So many per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// How many.
    pub requests: u32,
    /// In which time.
    pub per: Duration,
}

/// What a rate is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// The client's address, as far as `limits.source_prefix_…` tell clients apart.
    Address,
    /// All requests together.
    Site,
    /// The value of this field; by address, where the request has none.
    Header(HeaderName),
    /// The value of this cookie; by address, where the request has none.
    Cookie(String),
}
