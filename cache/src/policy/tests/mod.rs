//! Tests across the files of the policy.
