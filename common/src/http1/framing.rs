//! How long a message body is (RFC 9112 §6.3), decided once, strictly.
