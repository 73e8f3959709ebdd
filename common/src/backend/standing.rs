//! What picking knows of each server, and its state in one word. Shared by all workers: atomics, no locks.
//!
//! Written by `health` (requests' outcomes), `check` (active checks), the admin API (orders); read by `balance`.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::latency::Latency;
use super::settings::{ServerAddress, ServerSettings};

/// One server's standing.
#[derive(Debug)]
pub(super) struct Standing {
    name_hash: AtomicU64,
    weight: AtomicU32,
    is_backup: bool,
    group: AtomicU8,
    /// Nobody is here: its service does not have it any more, or has never had it.
    is_gone: AtomicBool,
    order: AtomicU8,
    is_unhealthy: AtomicBool,
    /// Until when it is skipped because it did not take a connection.
    pub(super) penalty: Until,
    /// Until when it is ejected.
    pub(super) ejected: Until,
    /// When it came back; zero where it has been there from the start.
    pub(super) back: Until,
    /// Since when it may be asked, where it was not from the start: what its keys stand for is elsewhere.
    pub(super) joined: Until,
    pub(super) latency: Latency,
}

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Requests go to it.
    Ready,
    /// New requests go to it only when there is no other.
    Drain,
    /// No new request goes to it.
    Down,
}

/// The state of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It is asked.
    Up,
    /// It did not take a connection just now and is skipped for a second.
    Refusing,
    /// Requests to it failed too often; it is left alone for a while.
    Ejected,
    /// Its health checks fail.
    Unhealthy,
    /// An operator wants no new requests on it.
    Draining,
    /// An operator has taken it out.
    Down,
    /// Its service does not have it any more.
    Gone,
}

/// A moment that many workers may set and read, as time since the backend was made; zero: not set.
#[derive(Debug, Default)]
pub(super) struct Until {
    micros: AtomicU64,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Down];

    /// How the admin API calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
}

impl ServerState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Up,
        Self::Refusing,
        Self::Ejected,
        Self::Unhealthy,
        Self::Draining,
        Self::Down,
        Self::Gone,
    ];

    /// How health, metrics and the log call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Refusing => "refusing",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

impl Standing {
    /// A server of this configured name, up; a place of a service, where nobody is yet.
    pub(super) fn new(name: &str, settings: &ServerSettings) -> Self {
        let joined = Until::default();
        if settings.is_new {
            joined.set(Duration::from_micros(1));
        }
        Self {
            name_hash: AtomicU64::new(stable_hash(name.as_bytes())),
            weight: AtomicU32::new(settings.weight),
            is_backup: settings.is_backup,
            group: AtomicU8::new(settings.group.min(GROUP_MAX)),
            is_gone: AtomicBool::new(matches!(settings.address, ServerAddress::Service(_))),
            order: AtomicU8::new(Order::Ready as u8),
            is_unhealthy: AtomicBool::new(false),
            penalty: Until::default(),
            ejected: Until::default(),
            back: Until::default(),
            joined,
            latency: Latency::default(),
        }
    }

    /// Becomes another server, of which nothing is known.
    pub(super) fn rename(&self, name: &str) {
        self.name_hash.store(stable_hash(name.as_bytes()), Ordering::Relaxed);
        self.order.store(Order::Ready as u8, Ordering::Relaxed);
        self.is_unhealthy.store(false, Ordering::Relaxed);
        for until in [&self.penalty, &self.ejected, &self.back, &self.joined] {
            until.clear();
        }
        self.latency.forget();
    }

    /// What its service says of its share.
    pub(super) fn take_share(&self, weight: u32, group: u8) {
        self.weight.store(weight, Ordering::Relaxed);
        self.group.store(group.min(GROUP_MAX), Ordering::Relaxed);
    }

    /// May be asked from now on.
    pub(super) fn arrive(&self) {
        self.is_gone.store(false, Ordering::Release);
    }

    /// Is not asked any more; whether it was until now.
    pub(super) fn leave(&self) -> bool {
        !self.is_gone.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    pub(super) fn name_hash(&self) -> u64 {
        self.name_hash.load(Ordering::Relaxed)
    }

    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            order if order == Order::Drain as u8 => Order::Drain,
            order if order == Order::Down as u8 => Order::Down,
            _ => Order::Ready,
        }
    }

    /// Takes an operator's order; what it was before.
    pub(super) fn set_order(&self, order: Order) -> Order {
        let before = self.order();
        self.order.store(order as u8, Ordering::Relaxed);
        before
    }

    /// Notes what health checks say; whether that is news.
    pub(super) fn set_unhealthy(&self, is_unhealthy: bool) -> bool {
        self.is_unhealthy.swap(is_unhealthy, Ordering::Relaxed) != is_unhealthy
    }

    pub(super) fn state(&self, now: Duration) -> ServerState {
        if self.is_gone() {
            return ServerState::Gone;
        }
        match self.order() {
            Order::Down => ServerState::Down,
            Order::Drain => ServerState::Draining,
            Order::Ready if self.is_unhealthy.load(Ordering::Relaxed) => ServerState::Unhealthy,
            Order::Ready if self.ejected.is_ahead(now) => ServerState::Ejected,
            Order::Ready if self.penalty.is_ahead(now) => ServerState::Refusing,
            Order::Ready => ServerState::Up,
        }
    }

    /// Which servers go before which: lower is asked first, equal ones share, `None` is never asked.
    ///
    /// Where nobody is up, all that are not taken out are asked alike: better than an error for certain. While `is_panic`,
    /// ejections, health checks and the difference of backups count for nothing.
    pub(super) fn rank(&self, now: Duration, is_panic: bool) -> Option<u8> {
        let own = self.group.load(Ordering::Relaxed) + BACKUP * u8::from(self.is_backup);
        match self.state(now) {
            ServerState::Up | ServerState::Ejected | ServerState::Unhealthy if is_panic => Some(0),
            ServerState::Up => Some(own),
            ServerState::Refusing | ServerState::Ejected | ServerState::Unhealthy => Some(IN_TROUBLE + own),
            ServerState::Draining => Some(DRAINING),
            ServerState::Down | ServerState::Gone => None,
        }
    }

    /// The weight now, in thousandths of one: a server that came back gets its share within `slow_start`.
    pub(super) fn weight_milli(&self, now: Duration, slow_start: Duration) -> u64 {
        let full = u64::from(self.weight()) * 1000;
        let Some(back) = self.back.get() else { return full };
        let stood = now.saturating_sub(back);
        if stood >= slow_start {
            return full;
        }
        let part = u128::from(full) * stood.as_micros() / slow_start.as_micros().max(1);
        // Some requests from the start: with none it could not show that it is well.
        u64::try_from(part).unwrap_or(full).max(full / SLOW_START_LEAST)
    }
}

/// The last group.
const GROUP_MAX: u8 = 9;
/// What is added to a group for backups, for those in trouble, and the rank of those that are drained: each after all
/// groups of the one before.
const BACKUP: u8 = GROUP_MAX + 1;
const IN_TROUBLE: u8 = 2 * BACKUP;
const DRAINING: u8 = 2 * IN_TROUBLE;

/// A server that came back begins with this part of its weight.
const SLOW_START_LEAST: u64 = 20;

impl Until {
    /// Whether the moment is still to come.
    pub(super) fn is_ahead(&self, now: Duration) -> bool {
        u128::from(self.micros.load(Ordering::Relaxed)) > now.as_micros()
    }

    /// The moment, where it is set.
    pub(super) fn get(&self) -> Option<Duration> {
        let micros = self.micros.load(Ordering::Relaxed);
        (micros != 0).then(|| Duration::from_micros(micros))
    }

    /// Moves it to `at`; returns what it was before.
    pub(super) fn set(&self, at: Duration) -> Duration {
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.micros.swap(micros, Ordering::Relaxed))
    }

    /// Unsets it; whether it was set.
    pub(super) fn clear(&self) -> bool {
        // Read first: the common case must not write to a line that all workers read.
        self.micros.load(Ordering::Relaxed) != 0 && self.micros.swap(0, Ordering::Relaxed) != 0
    }
}

/// FNV-1a, mixed. Written out because it must never change: all fronts of a fleet have to agree on it across versions.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// The finaliser of `SplitMix64`: every bit of the input changes half of the output's.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const SOON: Duration = Duration::from_secs(101);

    fn standing(weight: u32, is_backup: bool) -> Standing {
        let address = ServerAddress::Unix("/a".into());
        Standing::new(
            "a",
            &ServerSettings {
                is_tls: false,
                address,
                weight,
                is_backup,
                group: 0,
                is_new: false,
            },
        )
    }

    #[test]
    fn the_gravest_state_is_told_and_decides_who_goes_first() {
        let (server, backup) = (standing(1, false), standing(1, true));
        assert_eq!((server.rank(NOW, false), backup.rank(NOW, false)), (Some(0), Some(10)));
        server.penalty.set(SOON);
        assert_eq!(
            (server.state(NOW), server.rank(NOW, false)),
            (ServerState::Refusing, Some(20))
        );
        server.ejected.set(SOON);
        assert_eq!(
            (server.state(NOW), server.rank(NOW, false)),
            (ServerState::Ejected, Some(20))
        );
        assert_eq!(server.state(SOON), ServerState::Up, "both end by themselves");
        assert!(server.set_unhealthy(true) && !server.set_unhealthy(true));
        backup.set_unhealthy(true);
        assert_eq!(
            (server.rank(SOON, false), backup.rank(SOON, false)),
            (Some(20), Some(30))
        );
        assert_eq!(server.set_order(Order::Drain), Order::Ready);
        assert_eq!(
            (server.state(SOON), server.rank(SOON, false)),
            (ServerState::Draining, Some(40))
        );
        assert_eq!(server.set_order(Order::Down), Order::Drain);
        assert_eq!(
            (server.state(SOON), server.rank(SOON, false)),
            (ServerState::Down, None)
        );
        server.set_order(Order::Ready);
        server.set_unhealthy(false);
        assert_eq!(server.state(SOON), ServerState::Up);
    }

    #[test]
    fn nearer_groups_go_first_in_each_state() {
        let of_group = |group: u8, is_backup: bool| {
            let server = standing(1, is_backup);
            server.take_share(1, group);
            server
        };
        let order = [
            of_group(0, false),
            of_group(9, false),
            of_group(0, true),
            of_group(9, true),
        ];
        let ranks = || order.each_ref().map(|server| server.rank(NOW, false));
        assert!(ranks().is_sorted() && ranks()[0] < ranks()[1] && ranks()[2] < ranks()[3]);
        let worst_of_well = ranks()[3];
        assert!(order.iter().all(|server| server.set_unhealthy(true)));
        assert!(ranks().is_sorted() && ranks()[0] > worst_of_well && ranks()[3] < Some(DRAINING));
    }

    #[test]
    fn in_a_panic_those_that_are_thought_ill_are_asked_as_well() {
        let servers = [
            standing(1, false),
            standing(1, true),
            standing(1, false),
            standing(1, false),
        ];
        servers[0].set_unhealthy(true);
        servers[2].ejected.set(SOON);
        servers[3].penalty.set(SOON);
        assert_eq!(
            servers.each_ref().map(|server| server.rank(NOW, true)),
            [Some(0), Some(0), Some(0), Some(20)]
        );
        servers[0].set_order(Order::Drain);
        servers[1].set_order(Order::Down);
        assert_eq!(
            servers[..2]
                .iter()
                .map(|server| server.rank(NOW, true))
                .collect::<Vec<_>>(),
            [Some(40), None]
        );
    }

    #[test]
    fn a_server_that_came_back_gets_its_weight_by_and_by() {
        let server = standing(3, false);
        let slow_start = Duration::from_secs(10);
        assert_eq!(
            server.weight_milli(NOW, slow_start),
            3000,
            "it was there from the start"
        );
        server.back.set(NOW);
        for (after, expected) in [(0, 150), (5, 1500), (9, 2700), (10, 3000), (99, 3000)] {
            let now = NOW + Duration::from_secs(after);
            assert_eq!(server.weight_milli(now, slow_start), expected, "{after} s");
            assert_eq!(server.weight_milli(now, Duration::ZERO), 3000, "without a slow start");
        }
    }

    #[test]
    fn hashes_do_not_change_between_versions() {
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
        assert_eq!(stable_hash(b"10.0.0.2:6081"), 0x5281_ab39_9dc1_bf58);
    }

    #[test]
    fn a_moment_is_ahead_until_it_is_reached_or_unset() {
        let until = Until::default();
        assert!(!until.is_ahead(Duration::ZERO));
        assert!(!until.clear(), "it was not set");
        assert_eq!(until.set(SOON), Duration::ZERO);
        assert!(until.is_ahead(NOW) && !until.is_ahead(SOON));
        assert_eq!(until.get(), Some(SOON));
        assert_eq!(until.set(2 * SOON), SOON);
        assert!(until.clear());
        assert!(!until.is_ahead(NOW));
    }
}
