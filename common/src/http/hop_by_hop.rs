//! Fields that end at this hop (RFC 9110 §7.6.1), removed before a message goes on.
