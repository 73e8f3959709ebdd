//! Whether new connections are welcome: what is taken of memory and descriptors against their budgets, with hysteresis.
//!
//! Pure. The control thread observes; `limits` is told what came of it, and tells the workers.

use super::settings::SheddingSettings;
use crate::kernel::usage::Level;

/// What runs short; the same word in log, metric and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// Memory.
    Memory,
    /// File descriptors.
    Descriptors,
}

impl Scarce {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Descriptors];

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }
}

/// One of them: how much of it is taken, and whether that is too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// As it was last looked at; `None` where that is not limited, or not known.
    pub level: Option<Level>,
    /// Whether it runs short.
    pub is_scarce: bool,
    /// How often that began.
    pub begun: u64,
}

impl Gauge {
    /// Takes what is known now; `Some` when that changes whether it runs short.
    ///
    /// ```text
    ///  enough ── share ≥ begin ──▶ scarce
    ///     ▲                          │
    ///     └─── share < end, unknown ─┘
    /// ```
    pub fn observe(&mut self, level: Option<Level>, settings: &SheddingSettings) -> Option<bool> {
        let bound = if self.is_scarce { settings.end } else { settings.begin };
        let was = std::mem::replace(&mut self.is_scarce, level.is_some_and(|level| level.share() >= bound));
        self.level = level;
        self.begun += u64::from(self.is_scarce && !was);
        (self.is_scarce != was).then_some(self.is_scarce)
    }
}

/// How many more connections may come until somebody looks again; what they need towards servers is beyond `begin`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of descriptors is far below 2^53, and not negative"
)]
pub fn room_for_connections(descriptors: Level, begin: f64) -> usize {
    let most = (descriptors.budget as f64 * begin) as u64;
    usize::try_from(most.saturating_sub(descriptors.used)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::usage::Budget;
    use crate::serve::settings::ShedBy;

    #[test]
    fn what_runs_short_does_so_until_it_is_well_below() {
        let settings = SheddingSettings {
            memory: Budget::Auto,
            descriptors: Budget::Auto,
            begin: 0.9,
            end: 0.8,
            by: ShedBy::Answer,
            retry_after: Duration::from_secs(5),
        };
        let mut gauge = Gauge::default();
        for (used, changed) in [
            (Some(0), None),
            (Some(89), None),
            (Some(90), Some(true)),
            (Some(200), None),
            (Some(80), None),
            (Some(79), Some(false)),
            (Some(89), None),
            (Some(95), Some(true)),
            (None, Some(false)),
            (None, None),
        ] {
            let level = used.map(|used| Level { used, budget: 100 });
            assert_eq!(gauge.observe(level, &settings), changed, "{used:?}");
            assert_eq!(gauge.level, level);
        }
        assert_eq!(gauge.begun, 2);
    }

    #[test]
    fn room_is_what_is_left_until_shedding_begins() {
        for (used, expected) in [(0, 90), (88, 2), (89, 1), (90, 0), (1000, 0)] {
            let level = Level { used, budget: 100 };
            assert_eq!(room_for_connections(level, 0.9), expected, "{used}");
        }
    }
}
