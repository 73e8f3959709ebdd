//! Writing JSON without a serialiser.
