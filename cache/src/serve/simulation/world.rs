//! What is true: the versions of each resource, every answer that the origin has begun, every purge. The origin writes
//! here, the judge reads.

use std::sync::Arc;
use std::time::Duration;

use common::time::{Clock, ManualClock, WallTime};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Dice;
use crate::purge::Strength;

/// Resources, named by their numbers. The first is the calmest: always storable, never varied, only asked for by GET.
pub(super) const PATHS: u64 = 4;

/// How the route of a story stores what is large, or came in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Only as a whole.
    Whole,
    /// In slices of [`SLICE`] bytes.
    Slices,
    /// Parts that came for clients' ranges, too.
    Parts,
}

/// Bytes of a slice.
pub(super) const SLICE: u64 = 1_000;

/// How the origin answers for one resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) control: &'static str,
    pub(super) varies: bool,
    /// It says so, and all its variants are the same.
    pub(super) is_one: bool,
    pub(super) has_tag: bool,
    /// Answers to Range with 206.
    pub(super) gives_ranges: bool,
    pub(super) lifetime: u64,
    /// Never served stale.
    pub(super) forbids_stale: bool,
    pub(super) no_cache: bool,
    /// Never shared.
    pub(super) is_private: bool,
    pub(super) while_revalidate: u64,
    /// `None`: the rules' default.
    pub(super) if_error: Option<u64>,
}

/// One answer of the origin's.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) path: u64,
    pub(super) variant: String,
    pub(super) version: u64,
    pub(super) kind: Kind,
    pub(super) status: u16,
    /// The Range field of its request.
    pub(super) range: String,
    /// The id of its request, the same for a second try.
    pub(super) request: String,
    /// When its request came, by the clock and by the order of things.
    pub(super) asked: WallTime,
    pub(super) asked_at: u64,
    /// When its last byte was sent, or it broke off.
    pub(super) ended_at: Option<u64>,
    /// It ended before all of it was sent.
    pub(super) broke_off: bool,
    /// Clients that got it.
    pub(super) clients: u64,
}

/// What an operator or a client's POST did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// A purge of one resource, or of all.
    Purge(Option<u64>, Strength),
    /// An unsafe request that succeeded.
    Invalidate(u64),
}

/// Shared by all parts of one story.
#[derive(Clone)]
pub(super) struct World {
    shared: Arc<Mutex<State>>,
    pub(super) hand: Arc<ManualClock>,
    is_told: bool,
}

pub(super) struct State {
    pub(super) shape: Shape,
    /// Things that happened, counted.
    pub(super) now: u64,
    pub(super) kinds: Vec<Kind>,
    pub(super) versions: Vec<u64>,
    pub(super) events: Vec<Event>,
    /// With when they happened.
    pub(super) acts: Vec<(u64, Act)>,
    /// Answers, and slow clients, that wait to go on.
    held: Vec<Arc<Notify>>,
    /// Percent of answers that fail in one of the ways.
    pub(super) failing: u64,
    /// The first resource was once not for sharing: by an error, or because it was stale when it came. Then all who waited
    /// ask for themselves.
    pub(super) was_not_shared: bool,
    pub(super) dice: Dice,
}

impl World {
    pub(super) fn new(dice: &mut Dice, is_told: bool) -> Self {
        let mut kinds: Vec<Kind> = (0..PATHS).map(|_| Kind::any(dice)).collect();
        kinds[0] = Kind {
            varies: false,
            is_one: false,
            ..Kind::of("max-age", dice)
        };
        let shape = dice.pick(&[Shape::Whole, Shape::Whole, Shape::Slices, Shape::Parts]);
        Self {
            shared: Arc::new(Mutex::new(State {
                shape,
                now: 0,
                kinds,
                versions: vec![1; usize::try_from(PATHS).unwrap()],
                events: Vec::new(),
                acts: Vec::new(),
                held: Vec::new(),
                failing: dice.pick(&[0, 15, 40]),
                was_not_shared: false,
                dice: Dice(dice.roll()),
            })),
            hand: ManualClock::at(WallTime::from_unix_secs(1_790_000_000)),
            is_told,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.hand))
    }

    pub(super) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.shared.lock()
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{}", what());
        }
    }

    /// The next moment in the order of things.
    pub(super) fn tick(&self) -> u64 {
        let mut state = self.state();
        state.now += 1;
        state.now
    }

    pub(super) fn path(&self, dice: &mut Dice) -> u64 {
        dice.below(PATHS)
    }

    pub(super) fn act(&self, act: Act) {
        let at = self.tick();
        self.state().acts.push((at, act));
        self.tell(|| format!("{at}: {act:?}"));
    }

    /// Time passes, on both clocks.
    pub(super) async fn pass(&self, time: Duration) {
        self.hand.advance(time);
        tokio::time::advance(time).await;
        self.tell(|| format!("{time:?} pass"));
    }

    /// A resource changes.
    pub(super) fn change(&self, dice: &mut Dice) {
        let path = self.path(dice);
        self.state().versions[usize::try_from(path).unwrap()] += 1;
        self.tell(|| format!("/{path} changes"));
    }

    /// Something to wait for until it is released.
    pub(super) fn hold(&self) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        self.state().held.push(Arc::clone(&gate));
        gate
    }

    /// Lets one of those that wait go on.
    pub(super) fn release(&self, dice: &mut Dice) {
        let mut state = self.state();
        if !state.held.is_empty() {
            let length = u64::try_from(state.held.len()).unwrap();
            let gate = state.held.swap_remove(usize::try_from(dice.below(length)).unwrap());
            gate.notify_one();
        }
    }

    pub(super) fn release_all(&self) {
        let mut state = self.state();
        state.failing = 0;
        state.held.drain(..).for_each(|gate| gate.notify_one());
    }
}

impl Kind {
    /// Whether a response is for the variant that was asked for, and no other.
    pub(super) const fn has_variants(&self) -> bool {
        self.varies && !self.is_one
    }

    fn any(dice: &mut Dice) -> Self {
        let names = [
            "max-age",
            "max-age",
            "must-revalidate",
            "s-maxage",
            "swr",
            "sie",
            "no-cache",
            "no-store",
            "private",
        ];
        let name = dice.pick(&names);
        Self::of(name, dice)
    }

    fn of(name: &str, dice: &mut Dice) -> Self {
        let (long, varies) = (dice.chance(50), dice.chance(40));
        let plain = Self {
            control: if long { "max-age=10" } else { "max-age=2" },
            varies,
            is_one: varies && dice.chance(40),
            has_tag: dice.chance(70),
            gives_ranges: dice.chance(85),
            lifetime: if long { 10 } else { 2 },
            forbids_stale: false,
            no_cache: false,
            is_private: false,
            while_revalidate: 0,
            if_error: None,
        };
        match name {
            "must-revalidate" => Self {
                control: "max-age=2, must-revalidate",
                lifetime: 2,
                forbids_stale: true,
                ..plain
            },
            "s-maxage" => Self {
                control: "s-maxage=2, max-age=100",
                lifetime: 2,
                forbids_stale: true,
                ..plain
            },
            "swr" => Self {
                control: "max-age=2, stale-while-revalidate=3",
                lifetime: 2,
                while_revalidate: 3,
                ..plain
            },
            "sie" => Self {
                control: "max-age=2, stale-if-error=3",
                lifetime: 2,
                if_error: Some(3),
                ..plain
            },
            "no-cache" => Self {
                control: "no-cache, max-age=100",
                lifetime: 100,
                no_cache: true,
                has_tag: true,
                ..plain
            },
            "no-store" => Self {
                control: "no-store",
                is_private: true,
                ..plain
            },
            "private" => Self {
                control: "private, max-age=100",
                is_private: true,
                ..plain
            },
            _ => plain,
        }
    }
}

/// The content of one version of one variant: tells what it is, at any length.
pub(super) fn content(path: u64, variant: &str, version: u64) -> String {
    let line = format!("/{path} {variant} v{version}; ");
    let length = usize::try_from(20 + (path * 977 + version * 3_571) % 6_000).unwrap();
    line.chars().cycle().take(length).collect()
}
