//! The policy of a shared cache: RFC 9111, the conditions and ranges of RFC 9110, RFC 5861, 8246, 9211 and 9213.
//!
//! Pure: requests, responses, settings and `now` come in as arguments, decisions go out as values with one word each.
//! No clock, no I/O, no log; what is stored, collapsed and purged, and how, is the engine's. docs/rfc-map.md says which
//! section is where and which test holds it.

pub use config::rules; // what an operator decides: plain settings

pub mod list; // comma-separated lists, delta-seconds
pub mod weights; // weighted lists
pub mod date; // HTTP dates
pub mod directives; // RFC 9111 §5.2: Cache-Control
pub mod targeted; // RFC 9213: CDN-Cache-Control before Cache-Control
pub mod target; // the target URI and references from it
pub mod request; // what of a request the policy looks at
pub mod bypass; // which requests go past the cache
pub mod key; // RFC 9111 §2: the cache key
pub mod validators; // RFC 9110 §8.8: entity tags, Last-Modified
pub mod age; // RFC 9111 §4.2.3
pub mod freshness; // RFC 9111 §4.2.1, §4.2.2
pub mod content_range; // RFC 9110 §14.4: what a 206 holds
pub mod meta; // the digest of a stored response
pub mod vary; // RFC 9111 §4.1
pub mod coding; // RFC 9110 §12.5.3: content codings
pub mod not_stored; // why a response is not stored
pub mod store; // RFC 9111 §3: may it be stored
pub mod stored_fields; // RFC 9111 §3.1: which fields of it
pub mod reuse; // RFC 9111 §4, §5.2.1, RFC 5861: may it answer
pub mod validate; // RFC 9111 §4.3: asking the origin
pub mod freshen; // RFC 9111 §3.2, §4.3.4, §4.3.5: updating what is stored
pub mod conditional; // RFC 9110 §13: the client's own conditions
pub mod range; // RFC 9110 §14.2: the client's ranges
pub mod held; // RFC 9111 §3.3, §3.4: partial content
pub mod slice; // large representations in slices
pub mod multipart; // RFC 9110 §14.6: several ranges in one response
pub mod invalidate; // RFC 9111 §4.4
pub mod outcome; // RFC 9211: what was done, on the wire

#[cfg(test)]
pub(crate) mod testing; // what tests share
#[cfg(test)]
mod tests; // across files: behaviours, properties, the oracle
