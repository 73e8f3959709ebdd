//! The cache tier: one call, request in, response out.
