//! Which host a request is for: absolute-form before `Host`, one and well-formed (RFC 9112 §3.2, §3.3).
