//! Header compression (RFC 7541): field blocks → fields, and fields → field blocks. Pure; knows neither frames nor
//! messages.
//!
//! What fields may be in a message (RFC 9113 §8) is the connection's to say; here only what does not decode is an error.

mod integer; // §5.1
mod huffman; // §5.2, Appendix B
pub(crate) mod table; // §2.3: static and dynamic
pub mod decode; // a block → fields
pub mod encode; // a field → its representation
