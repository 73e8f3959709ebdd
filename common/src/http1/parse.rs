//! Bytes → message head, strictly (RFC 9112 §2–§5). Pure.

/// Why bytes are not an acceptable request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {}
