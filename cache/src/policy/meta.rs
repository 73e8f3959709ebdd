//! The digest of a stored response: everything that reuse needs to know, found out once when it was stored.

use std::num::NonZeroU32;
use std::time::Duration;

use common::time::WallTime;
use http::StatusCode;

use super::age;
use super::content_range::PartialContent;
use super::freshness::Lifetime;
use super::targeted::ControlSource;
use super::validators::Validators;
use super::vary::{Vary, VaryKey};

/// What is known about a stored response. Immutable; a freshened response gets a new one. There are millions of them: what
/// few responses have is in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMeta {
    /// Its status.
    pub status: StatusCode,
    /// When it was received, or last validated.
    pub response_time: WallTime,
    /// Its Date, or `response_time` where there was none.
    pub date: WallTime,
    /// Its age when it was received (RFC 9111 §4.2.3).
    pub initial_age: Age,
    /// How long it is fresh, and by which rule.
    pub lifetime: Lifetime,
    /// Where its directives came from.
    pub source: ControlSource,
    /// `no-cache` without fields: never reused without validation.
    pub no_cache: bool,
    /// Which directive, if any, forbids to serve it stale.
    pub must_not_be_stale: Option<StaleForbidden>,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `stale-while-revalidate`.
    pub stale_while_revalidate: Option<Grace>,
    /// `stale-if-error`.
    pub stale_if_error: Option<Grace>,
    /// What it is validated by.
    pub validators: Validators,
    /// Which request fields it depends on.
    pub vary: Vary,
    /// Those fields of the request it was stored for.
    pub vary_key: VaryKey,
    /// Which part of its representation it is, when it is not all of it.
    pub partial: Option<Box<PartialContent>>,
}

/// An age in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    micros: u64,
}

/// For how many seconds after its lifetime a response may be used, in four bytes where it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    // One more than it is.
    seconds: NonZeroU32,
}

impl From<Duration> for Age {
    fn from(age: Duration) -> Self {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Self { micros }
    }
}

impl Age {
    /// It as a length of time.
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

impl Grace {
    /// So many seconds; delta-seconds are at most 2^31.
    pub fn of(seconds: u32) -> Self {
        let seconds = NonZeroU32::MIN.saturating_add(seconds);
        Self { seconds }
    }

    /// How many.
    pub const fn seconds(self) -> u32 {
        self.seconds.get() - 1
    }
}

/// The directive that forbids to serve a stored response stale (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaleForbidden {
    /// `must-revalidate`.
    MustRevalidate,
    /// `proxy-revalidate`.
    ProxyRevalidate,
    /// `s-maxage`.
    SMaxage,
}

impl StaleForbidden {
    /// The directive.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MustRevalidate => "must-revalidate",
            Self::ProxyRevalidate => "proxy-revalidate",
            Self::SMaxage => "s-maxage",
        }
    }
}

impl StoredMeta {
    /// Which part of its representation it is, when it is not all of it.
    pub fn part(&self) -> Option<PartialContent> {
        self.partial.as_deref().copied()
    }

    /// Bytes that it holds outside of itself, about.
    pub fn heap_bytes(&self) -> usize {
        let validators = &self.validators;
        let tag = validators
            .etag
            .as_ref()
            .map_or(0, |tag| size_of_val(tag.value()) + tag.value().len());
        let date = validators.last_modified.as_ref();
        let date = date.map_or(0, |date| size_of_val(&**date) + date.value.len());
        let names = size_of_val(self.vary.names());
        let part = self.partial.as_deref().map_or(0, size_of_val);
        tag + date + names + self.vary_key.heap_bytes() + part
    }

    /// How old it is: the value of the Age field of a response made from it.
    pub fn current_age(&self, now: WallTime) -> Duration {
        age::current_age(self.initial_age.duration(), self.response_time, now)
    }

    /// What is left of its lifetime in whole seconds, negative when it is stale: `ttl` of Cache-Status (RFC 9211 §2.4).
    pub fn ttl(&self, now: WallTime) -> i64 {
        let age = i64::try_from(self.current_age(now).as_secs()).unwrap_or(i64::MAX);
        i64::from(self.lifetime.seconds).saturating_sub(age)
    }

    /// Whether it was stale already when it was received.
    pub fn was_born_stale(&self) -> bool {
        self.lifetime.duration() <= self.initial_age.duration()
    }
}
