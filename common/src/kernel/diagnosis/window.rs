//! The samples of the last minute, and what changed between two of them.
//!
//! Pure. A counter that went backwards, another namespace or another boot starts a new baseline: what was before says
//! nothing about what is now.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::super::connects::ConnectCounts;
use super::super::counters::{Counter, Deltas, grown};
use super::super::sample::{ListenerSample, Sample, ServerSample};
use super::super::sockets::census::HalfOpen;

/// The last samples, oldest first.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
}

/// Why earlier samples were given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewBaseline {
    /// The counters are those of another network namespace.
    Namespace,
    /// The machine has booted.
    Boot,
    /// The kernel is another one.
    Kernel,
    /// This counter went backwards.
    Backwards(Counter),
}

impl fmt::Display for NewBaseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("the network namespace is another one"),
            Self::Boot => f.write_str("the machine has booted"),
            Self::Kernel => f.write_str("the kernel is another one"),
            Self::Backwards(counter) => write!(f, "{} went backwards", counter.name()),
        }
    }
}

/// More samples than a minute and a quarter holds, for a sampler that is called more often than each second.
const SAMPLES_MAX: usize = 256;

impl History {
    /// Adds a sample and forgets those older than `keep`; says when it had to begin anew.
    pub fn push(&mut self, sample: Sample, keep: Duration) -> Option<NewBaseline> {
        let anew = self.samples.back().and_then(|last| new_baseline(last, &sample));
        if anew.is_some() {
            self.samples.clear();
        }
        // The oldest one kept is the first that is at least `keep` old.
        while self
            .samples
            .get(1)
            .is_some_and(|second| sample.at.since(second.at) >= keep)
            || self.samples.len() >= SAMPLES_MAX
        {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        anew
    }

    /// The newest sample.
    pub fn last(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// What changed over the last `length`: since the newest sample that is at least so old, or else the oldest one.
    /// `None` while there is only a baseline.
    pub fn window(&self, length: Duration) -> Option<Window<'_>> {
        let last = self.samples.back()?;
        let old_enough = self
            .samples
            .iter()
            .rposition(|sample| last.at.since(sample.at) >= length);
        Window::over(&self.samples, old_enough.unwrap_or(0))
    }
}

fn new_baseline(before: &Sample, now: &Sample) -> Option<NewBaseline> {
    const CLOCK_ERROR: Duration = Duration::from_secs(1);
    if let (Some(before), Some(now)) = (before.namespace.as_ref().ok(), now.namespace.as_ref().ok())
        && before != now
    {
        return Some(NewBaseline::Namespace);
    }
    if let (Some(before), Some(now)) = (before.uptime.get(), now.uptime.get())
        && now + CLOCK_ERROR < before
    {
        return Some(NewBaseline::Boot);
    }
    if let (Some(before), Some(now)) = (before.kernel.get(), now.kernel.get())
        && before != now
    {
        return Some(NewBaseline::Kernel);
    }
    now.counters.since(&before.counters).err().map(NewBaseline::Backwards)
}

/// What changed between two samples.
#[derive(Debug)]
pub struct Window<'a> {
    /// The sample at its beginning.
    pub first: &'a Sample,
    /// The sample at its end.
    pub last: &'a Sample,
    /// The time between.
    pub over: Duration,
    /// What the counters grew by.
    pub deltas: Deltas,
    /// The listeners that are there at the end.
    pub listeners: Vec<ListenerWindow<'a>>,
    /// Listeners that were there at some time and are gone, as they were last seen.
    pub vanished: Vec<&'a ListenerSample>,
    /// The servers that we connect to.
    pub servers: Vec<ServerWindow<'a>>,
    /// The most half-open connections seen at once.
    pub half_open_peak: Option<&'a HalfOpen>,
    /// Packets lost at the CPUs' queues.
    pub softnet_dropped: Option<u64>,
    /// By worker: the longest time in which it did not run.
    pub pauses: Vec<Duration>,
}

/// What a listener did in a window.
#[derive(Clone, Debug)]
pub struct ListenerWindow<'a> {
    /// As it is at the end.
    pub last: &'a ListenerSample,
    /// What its `sk_drops` grew by, since one sample before the window.
    pub drops: Option<u64>,
    /// The deepest accept queue that a sample saw.
    pub depth_peak: u32,
    /// Samples that saw it full.
    pub full_samples: usize,
}

impl ListenerWindow<'_> {
    /// Whether its accept queue is full now.
    pub fn is_full(&self) -> bool {
        self.last
            .queue
            .get()
            .is_some_and(super::super::sockets::tcp_info::AcceptQueue::is_full)
    }

    /// Whether connections wait at it, and nothing else is known of its queue.
    pub fn only_waits(&self) -> bool {
        self.last.waiting.is_some_and(|waiting| waiting > 0)
    }

    /// Whether it has lost something: full, or it threw something away.
    pub fn suffered(&self) -> bool {
        self.full_samples > 0 || self.drops.is_some_and(|drops| drops > 0)
    }
}

/// What was counted about a server in a window.
#[derive(Clone, Debug)]
pub struct ServerWindow<'a> {
    /// As it is at the end.
    pub last: &'a ServerSample,
    /// The connects of the window.
    pub counts: ConnectCounts,
}

impl<'a> Window<'a> {
    fn over(samples: &'a VecDeque<Sample>, from: usize) -> Option<Self> {
        let (first, last) = (samples.get(from)?, samples.back()?);
        let over = last.at.since(first.at);
        let inside: Vec<&Sample> = samples.range(from..).collect();
        // Sockets are read a little after the counters. What a listener threw away in between belongs to the counters of the
        // next window: its drops are taken from one sample earlier, so that a drop is never without its listener.
        let around: Vec<&Sample> = samples.range(from.saturating_sub(1)..).collect();
        if inside.len() < 2 || over.is_zero() {
            return None;
        }
        let half_open = inside.iter().filter_map(|sample| sample.half_open.as_ref().ok());
        Some(Self {
            first,
            last,
            over,
            // Backwards would have been a new baseline; two in one step cancel out at the worst.
            deltas: last.counters.since(&first.counters).ok()?,
            listeners: last
                .listeners
                .iter()
                .enumerate()
                .map(|(index, l)| listener_window(&inside, &around, l, index))
                .collect(),
            vanished: vanished(&inside),
            servers: last
                .connects
                .iter()
                .map(|server| server_window(first, server))
                .collect(),
            half_open_peak: half_open
                .max_by_key(|half_open| half_open.incoming.total)
                .map(|half_open| &**half_open),
            softnet_dropped: match (first.softnet.get(), last.softnet.get()) {
                (Some(before), Some(now)) => grown(before.dropped, now.dropped),
                _ => None,
            },
            pauses: pauses(&around),
        })
    }
}

fn listener_window<'a>(
    inside: &[&'a Sample],
    around: &[&'a Sample],
    last: &'a ListenerSample,
    index: usize,
) -> ListenerWindow<'a> {
    let seen = || inside.iter().filter_map(|sample| find(&sample.listeners, last, index));
    let mut earlier = around.iter().filter_map(|sample| find(&sample.listeners, last, index));
    let first_drops = earlier.next().and_then(|first| first.drops.get());
    ListenerWindow {
        last,
        drops: match (first_drops, last.drops.get()) {
            // sk_drops has 32 bits.
            (Some(before), Some(now)) => Some(u64::from(now.wrapping_sub(before))),
            _ => None,
        },
        depth_peak: seen()
            .filter_map(|l| l.queue.get())
            .map(|queue| queue.depth)
            .max()
            .unwrap_or(0),
        full_samples: seen()
            .filter_map(|l| l.queue.get())
            .filter(|queue| queue.is_full())
            .count(),
    }
}

/// The same socket in another sample, most likely at the same place.
fn find<'a>(listeners: &'a [ListenerSample], wanted: &ListenerSample, index: usize) -> Option<&'a ListenerSample> {
    let same = |other: &&ListenerSample| match (other.cookie.get(), wanted.cookie.get()) {
        (Some(theirs), Some(ours)) => theirs == ours,
        _ => other.name == wanted.name && other.shard == wanted.shard,
    };
    listeners
        .get(index)
        .filter(same)
        .or_else(|| listeners.iter().find(same))
}

/// The longest pause of each worker; the samples are those whose listeners are looked at.
fn pauses(samples: &[&Sample]) -> Vec<Duration> {
    let workers = samples.iter().map(|sample| sample.pauses.len()).max().unwrap_or(0);
    let longest = |worker: usize| samples.iter().filter_map(|sample| sample.pauses.get(worker)).max();
    (0..workers)
        .map(|worker| longest(worker).copied().unwrap_or_default())
        .collect()
}

fn vanished<'a>(inside: &[&'a Sample]) -> Vec<&'a ListenerSample> {
    let mut gone = Vec::new();
    for pair in inside.windows(2) {
        let (before, now) = (pair[0], pair[1]);
        for (index, listener) in before.listeners.iter().enumerate() {
            if find(&now.listeners, listener, index).is_none() {
                gone.push(listener);
            }
        }
    }
    gone
}

fn server_window<'a>(first: &Sample, last: &'a ServerSample) -> ServerWindow<'a> {
    let same =
        |other: &&ServerSample| other.leg == last.leg && other.backend == last.backend && other.server == last.server;
    let before = first
        .connects
        .iter()
        .find(same)
        .map(|server| server.counts)
        .unwrap_or_default();
    ServerWindow {
        last,
        counts: last.counts.since(&before),
    }
}
