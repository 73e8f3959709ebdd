//! One cause found in one window, with its evidence.

use std::fmt;
use std::time::Duration;

use super::super::counters::Counter;
use super::super::sample::{Leg, Side};
use super::cause::{Cause, Certainty, Impact};
use super::window::Window;

/// One cause, found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The leg on which it happens.
    pub leg: Leg,
    /// Whose handshakes it is about.
    pub whose: Whose,
    /// Which end of it this process is.
    pub side: Side,
    /// What is lost and why.
    pub cause: Cause,
    /// Which listener or server, when that is known.
    pub subject: Option<String>,
    /// Which members of the listener's `SO_REUSEPORT` group, when not all of them.
    pub shards: Vec<usize>,
    /// Whether it is seen happening at this very moment, and not only in the counters of the window.
    pub acute: bool,
    /// How sure.
    pub certainty: Certainty,
    /// Events in the window: discarded segments (not connections: each repeated SYN counts again), or connects.
    pub count: u64,
    /// The part of all drops of the window that this explains; `None` for what is not a drop.
    pub share: Option<f64>,
    /// Over how long.
    pub over: Duration,
    /// What it is drawn from.
    pub evidence: Vec<Evidence>,
    /// What to do: the cause's remedy, with this machine's numbers where there are any.
    pub remedy: String,
}

/// Whose handshakes a finding is about. The kernel counts for a whole network namespace; our own sockets bound our part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// This process's: its own sockets or connects show it.
    Ours,
    /// Anybody's on this machine: it is the machine's, or nobody can tell.
    Anybody,
    /// Other programs' only: our own sockets have lost nothing by it.
    Others,
}

impl Whose {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Anybody => "anybody",
            Self::Others => "others",
        }
    }
}

impl Finding {
    /// A finding without evidence yet.
    pub(super) fn new(window: &Window<'_>, cause: Cause, leg: Leg, side: Side, certainty: Certainty) -> Self {
        Self {
            leg,
            whose: Whose::Anybody,
            side,
            cause,
            subject: None,
            shards: Vec::new(),
            acute: false,
            certainty,
            count: 0,
            share: None,
            over: window.over,
            evidence: Vec::new(),
            remedy: cause.remedy().to_owned(),
        }
    }

    /// What it means for handshakes.
    pub fn impact(&self) -> Impact {
        self.cause.impact()
    }

    /// What the connecting side sees.
    pub fn symptom(&self) -> &'static str {
        self.cause.symptom()
    }

    /// What makes two findings of different moments the same.
    pub fn key(&self) -> Key {
        Key {
            leg: self.leg,
            side: self.side,
            family: self.cause.family(),
            subject: self.subject.clone().filter(|_| self.cause.is_per_subject()),
        }
    }
}

/// What makes two findings of different moments the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The leg.
    pub leg: Leg,
    /// Our end of it.
    pub side: Side,
    /// See [`Cause::family`].
    pub family: Cause,
    /// The listener or server; see [`Cause::is_per_subject`].
    pub subject: Option<String>,
}

impl fmt::Display for Finding {
    /// One line: "client-front: `accept_queue_overflow` (certain), 75 in 10 s on 0.0.0.0:80: the accept queue is full…".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs = match self.whose {
            Whose::Others => " (other programs)",
            Whose::Ours | Whose::Anybody => "",
        };
        write!(
            f,
            "{}{programs}: {} ({}",
            self.leg.word(),
            self.cause.word(),
            self.certainty.word()
        )?;
        if let Some(share) = self.share {
            write!(f, ", {:.0} % of the drops", share * 100.0)?;
        }
        write!(f, "), {} in {}", self.count, seconds(self.over))?;
        if let Some(subject) = &self.subject {
            write!(f, " on {subject}")?;
        }
        if !self.shards.is_empty() {
            write!(f, " (members {:?})", self.shards)?;
        }
        write!(f, ": {}", self.cause.title())
    }
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A counter and what it grew by; `None` when this kernel has no such counter.
    Counter {
        /// Which.
        counter: Counter,
        /// By how much.
        delta: Option<u64>,
        /// In how long.
        over: Duration,
    },
    /// A setting as it reads now.
    Setting {
        /// Such as `net.ipv4.tcp_tw_recycle`.
        name: &'static str,
        /// Its value, or why it is unavailable.
        value: String,
    },
    /// What sockets show.
    Sockets(String),
    /// What our own connects showed.
    Connects(String),
    /// A fact about this kernel that changes the reading.
    Kernel(String),
    /// What was looked at and excluded.
    Excluded(String),
}

impl Evidence {
    /// One word for what kind of evidence it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Counter { .. } => "counter",
            Self::Setting { .. } => "setting",
            Self::Sockets(_) => "sockets",
            Self::Connects(_) => "connects",
            Self::Kernel(_) => "kernel",
            Self::Excluded(_) => "excluded",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter {
                counter,
                delta: Some(delta),
                over,
            } => {
                write!(f, "{} +{delta} in {}", counter.name(), seconds(*over))
            }
            Self::Counter {
                counter, delta: None, ..
            } => write!(f, "{} unavailable", counter.name()),
            Self::Setting { name, value } => write!(f, "{name} = {value}"),
            Self::Sockets(text) | Self::Connects(text) | Self::Kernel(text) | Self::Excluded(text) => f.write_str(text),
        }
    }
}

/// "25 s", "0.5 s".
pub(in super::super) fn seconds(over: Duration) -> String {
    let seconds = over.as_secs_f64();
    if seconds < 9.95 && over.subsec_millis() >= 50 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}
