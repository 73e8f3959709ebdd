//! Files with mistakes → exact messages.

#[test]
fn x() {}
