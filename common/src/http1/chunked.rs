//! The chunked transfer coding, read (RFC 9112 §7.1).
