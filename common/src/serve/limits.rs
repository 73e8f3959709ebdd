//! How many client connections there are, at most: in the whole process, and from each source.
//!
//! A connection is counted after accept and shed when there are too many: a queue that nobody accepts from would show
//! as ListenOverflows, and its clients would wait for a timeout instead of seeing a close.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::settings::{ShedBy, SheddingSettings, SourceSettings};
use super::shedding::Scarce;
use super::source::{Source, SourceTable};
use super::turn_away;
use crate::telemetry::metrics::Counter;

/// The limit of client connections, shared by all workers.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: usize,
    // INVARIANT: never above `max`, and back at 0 when all connections have ended.
    open: AtomicUsize,
    /// No connection is let in while there are so many, because something runs short: written by the control thread.
    ceiling: AtomicUsize,
    /// Whether memory is what runs short.
    is_memory: AtomicBool,
    /// What clients that are not let in for that are told; `None` where they are told nothing.
    words: Option<Box<[u8]>>,
    /// They wait in the accept queue.
    waits: bool,
    sources: Option<SourceTable>,
}

/// Why a connection is not let in; the same word in log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// The process has as many as it may have.
    Connections,
    /// Its source has as many as it may have.
    Source,
    /// The listener's lists do not let it in.
    Denied,
    /// Memory runs short.
    Memory,
    /// File descriptors run short.
    Descriptors,
}

impl ConnectionLimit {
    /// At most `max` connections, from wherever they come.
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            open: AtomicUsize::new(0),
            ceiling: AtomicUsize::new(usize::MAX),
            is_memory: AtomicBool::new(false),
            words: None,
            waits: false,
            sources: None,
        }
    }

    /// Says what becomes of connections while something runs short.
    #[must_use]
    pub fn shedding(mut self, settings: &SheddingSettings) -> Self {
        self.words = (settings.by == ShedBy::Answer).then(|| turn_away::words(settings.retry_after));
        self.waits = settings.by == ShedBy::Wait;
        self
    }

    /// Lets nobody in from now on, because this runs short.
    pub fn shed(&self, scarce: Scarce) {
        self.is_memory.store(scarce == Scarce::Memory, Ordering::Relaxed);
        self.ceiling.store(0, Ordering::Relaxed);
    }

    /// Nothing runs short: as many more may come as there are descriptors for.
    pub fn leave_room(&self, connections: usize) {
        self.is_memory.store(false, Ordering::Relaxed);
        self.ceiling
            .store(self.open().saturating_add(connections), Ordering::Relaxed);
    }

    /// Whether connections are to be left in the accept queue now.
    pub(super) fn holds_back(&self) -> bool {
        self.waits && self.open() >= self.ceiling.load(Ordering::Relaxed)
    }

    /// What a client that is not let in for this reason is told.
    pub(super) fn words(&self, reason: Shed) -> Option<&[u8]> {
        let is_passing = matches!(reason, Shed::Memory | Shed::Descriptors);
        self.words.as_deref().filter(|_| is_passing)
    }

    /// Also limits what one source may have; costs nothing where that is not less.
    #[must_use]
    pub fn per_source(mut self, settings: &SourceSettings) -> Self {
        self.sources = (settings.connections_max < self.max).then(|| SourceTable::new(settings));
        self
    }

    /// Takes a place for a connection from `peer`, if there is one.
    pub(super) fn take(&self, peer: Option<IpAddr>) -> Result<Option<Source>, Shed> {
        let ceiling = if self.waits {
            usize::MAX
        } else {
            self.ceiling.load(Ordering::Relaxed)
        };
        let most = self.max.min(ceiling);
        let one_more = |open| (open < most).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|open| self.shed_at(open))?;
        let Some(peer) = peer else { return Ok(None) };
        self.enter(peer).inspect_err(|_| self.give_back(None))
    }

    /// Why there is no room for another than these.
    fn shed_at(&self, open: usize) -> Shed {
        if open >= self.max {
            Shed::Connections
        } else if self.is_memory.load(Ordering::Relaxed) {
            Shed::Memory
        } else {
            Shed::Descriptors
        }
    }

    /// Takes a place among those of this source, if there is one.
    pub(super) fn enter(&self, peer: IpAddr) -> Result<Option<Source>, Shed> {
        let sources = self.sources.as_ref();
        sources.map_or(Ok(None), |sources| sources.enter(peer).map_err(|_| Shed::Source))
    }

    /// Gives a place among those of a source back.
    pub(super) fn left(&self, source: Option<Source>) {
        if let (Some(sources), Some(source)) = (&self.sources, source) {
            sources.left(source);
        }
    }

    /// Gives one place back.
    pub(super) fn give_back(&self, source: Option<Source>) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place was given back twice");
        self.left(source);
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Shed {
    /// How many reasons there are.
    pub(super) const COUNT: usize = 5;

    /// The word in log lines and metric labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Source => "source",
            Self::Denied => "denied",
            Self::Memory => Scarce::Memory.word(),
            Self::Descriptors => Scarce::Descriptors.word(),
        }
    }

    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Connections => Counter::ShedConnections,
            Self::Source => Counter::ShedSource,
            Self::Denied => Counter::ShedDenied,
            Self::Memory => Counter::ShedMemory,
            Self::Descriptors => Counter::ShedDescriptors,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernel::usage::Budget;
    use crate::serve::source::SourcePrefixes;

    fn sources(connections_max: usize) -> SourceSettings {
        SourceSettings {
            connections_max,
            prefixes: SourcePrefixes { v4: 32, v6: 64 },
            exempt: Vec::new(),
        }
    }

    #[test]
    fn no_more_places_are_given_than_there_are() {
        let limit = ConnectionLimit::new(2);
        assert!(limit.take(None).is_ok() && limit.take(None).is_ok());
        assert_eq!(limit.take(None), Err(Shed::Connections));
        assert_eq!(limit.open(), 2, "a refusal takes nothing");
        limit.give_back(None);
        assert!(limit.take(None).is_ok());
    }

    #[test]
    fn a_source_that_is_refused_takes_no_place_of_others() {
        let limit = ConnectionLimit::new(3).per_source(&sources(1));
        let (greedy, modest) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
        let place = limit.take(greedy).unwrap();
        for _ in 0..10 {
            assert_eq!(limit.take(greedy), Err(Shed::Source));
        }
        assert_eq!(limit.open(), 1);
        assert!(limit.take(modest).is_ok());
        limit.give_back(place);
        assert!(limit.take(greedy).is_ok());
    }

    #[test]
    fn nobody_new_is_let_in_while_something_runs_short() {
        let settings = |by| SheddingSettings {
            memory: Budget::Auto,
            descriptors: Budget::Auto,
            begin: 0.9,
            end: 0.8,
            by,
            retry_after: Duration::from_secs(7),
        };
        for by in [ShedBy::Answer, ShedBy::Close] {
            let limit = ConnectionLimit::new(9).shedding(&settings(by));
            assert!(limit.take(None).is_ok());
            limit.shed(Scarce::Memory);
            assert_eq!(limit.take(None), Err(Shed::Memory));
            assert_eq!(limit.words(Shed::Memory).is_some(), by == ShedBy::Answer);
            assert_eq!(limit.words(Shed::Source), None, "he has enough of them");
            limit.leave_room(1);
            assert!(limit.take(None).is_ok());
            assert_eq!(
                limit.take(None),
                Err(Shed::Descriptors),
                "until somebody has looked again"
            );
            assert!(!limit.holds_back());
        }
        let limit = ConnectionLimit::new(9).shedding(&settings(ShedBy::Wait));
        assert!(!limit.holds_back());
        limit.shed(Scarce::Descriptors);
        assert!(limit.holds_back());
        assert!(limit.take(None).is_ok(), "what was accepted is served");
        limit.leave_room(1);
        assert!(!limit.holds_back());
    }

    #[test]
    fn nothing_is_counted_per_source_where_that_limits_nothing() {
        assert!(ConnectionLimit::new(3).per_source(&sources(3)).sources.is_none());
    }

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let limit = ConnectionLimit::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if limit.take(None).is_ok() {
                            assert!(limit.open() <= 3);
                            limit.give_back(None);
                        }
                    }
                });
            }
        });
        assert_eq!(limit.open(), 0);
    }
}
