//! Message heads and chunks as bytes (RFC 9112 §2.1).
