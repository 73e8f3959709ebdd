//! The digest of a stored response: everything that reuse needs to know, found out once when it was stored.

use std::time::Duration;

use common::time::WallTime;
use http::StatusCode;

use super::age;
use super::content_range::PartialContent;
use super::freshness::Lifetime;
use super::targeted::ControlSource;
use super::validators::Validators;
use super::vary::{Vary, VaryKey};

/// What is known about a stored response. Immutable; a freshened response gets a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMeta {
    /// Its status.
    pub status: StatusCode,
    /// When it was received, or last validated.
    pub response_time: WallTime,
    /// Its Date, or `response_time` where there was none.
    pub date: WallTime,
    /// Its age when it was received (RFC 9111 §4.2.3).
    pub initial_age: Duration,
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
    /// `stale-while-revalidate` in seconds.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` in seconds.
    pub stale_if_error: Option<u32>,
    /// What it is validated by.
    pub validators: Validators,
    /// Which request fields it depends on.
    pub vary: Vary,
    /// Those fields of the request it was stored for.
    pub vary_key: VaryKey,
    /// Which part of its representation it is, when it is not all of it.
    pub partial: Option<PartialContent>,
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
    /// How old it is: the value of the Age field of a response made from it.
    pub fn current_age(&self, now: WallTime) -> Duration {
        age::current_age(self.initial_age, self.response_time, now)
    }

    /// What is left of its lifetime in whole seconds, negative when it is stale: `ttl` of Cache-Status (RFC 9211 §2.4).
    pub fn ttl(&self, now: WallTime) -> i64 {
        let age = i64::try_from(self.current_age(now).as_secs()).unwrap_or(i64::MAX);
        i64::from(self.lifetime.seconds).saturating_sub(age)
    }

    /// Whether it was stale already when it was received.
    pub fn was_born_stale(&self) -> bool {
        self.lifetime.duration() <= self.initial_age
    }
}
