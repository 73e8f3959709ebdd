//! Tests across the files of the policy.

mod store; // what is stored
mod vary; // which of several answers
mod reuse; // whether it may answer
mod behaviours; // a small cache made of the policy, asked twice
mod properties; // what holds for every input
mod oracle; // agreement with another implementation
mod map; // docs/rfc-map.md is true
