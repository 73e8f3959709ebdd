//! A backend: a group of servers one connects to, be they origins (leg 3) or cache servers (leg 2).

pub mod settings; // plain settings
