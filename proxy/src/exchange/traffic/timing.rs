//! `Server-Timing` (W3C): what the cache did, and what took how long. Pure.

use std::fmt;
use std::time::Duration;

use cache::policy::outcome::Outcome;
use cache::tier::Facts;

/// The field's value.
pub struct Timing<'a>(pub &'a Facts);

impl fmt::Display for Timing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.0.outcome.as_ref().map(|status| status.outcome) {
            Some(Outcome::Hit) => "hit",
            Some(Outcome::Fwd(fwd)) => fwd.word(),
            None => "none",
        };
        write!(f, "cache;desc=\"{word}\"")?;
        let backend = self.0.backend.as_deref();
        for (name, took) in [
            ("lookup", self.0.lookup),
            ("connect", backend.and_then(|backend| backend.connect)),
            ("first_byte", backend.and_then(|backend| backend.first_byte)),
        ] {
            if let Some(took) = took {
                write!(f, ", {name};dur={}", Millis(took))?;
            }
        }
        Ok(())
    }
}

/// Milliseconds with microseconds behind the point.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_millis(), self.0.subsec_micros() % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told() {
        let facts = Facts {
            lookup: Some(Duration::from_micros(1042)),
            ..Facts::default()
        };
        assert_eq!(Timing(&facts).to_string(), "cache;desc=\"none\", lookup;dur=1.042");
        assert_eq!(Timing(&Facts::default()).to_string(), "cache;desc=\"none\"");
    }
}
