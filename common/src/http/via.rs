//! `Via` (RFC 9110 §7.6.3) and loop detection by `CDN-Loop` (RFC 8586).
