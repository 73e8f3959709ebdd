//! Handshake health of this process: what the control thread found out, for whoever tells it.
//!
//! One [`Health`], shared: `control` writes it once a second, the admin listener reads it. Nobody holds its lock for long,
//! and no worker ever takes it. The diagnosis itself is `common::kernel`.

pub mod plan; // a configuration → roles, and what the preflight wants to know
pub mod shedding; // what runs short, and who is told
pub mod control; // once a second: look, diagnose, tell
pub mod fold; // the health of cache servers, fetched
pub mod way; // the four steps from clients to origins
pub mod json; // findings, legs, settings and listeners as JSON
pub mod text; // the same in a terminal

use std::sync::Arc;

use common::kernel::diagnosis::Engine;
use common::kernel::diagnosis::context::Roles;
use common::kernel::diagnosis::finding::Whose;
use common::kernel::diagnosis::settings::Thresholds;
use common::kernel::preflight::finding::Finding;
use common::kernel::preflight::refuses;
use common::kernel::root::ProcRoot;
use parking_lot::{Mutex, MutexGuard};
use shedding::Budgets;

/// What is known about the handshakes of this process.
pub struct Health {
    /// Below which directory the kernel's files are read.
    pub root: ProcRoot,
    state: Mutex<State>,
}

/// The state of the last look.
pub struct State {
    /// Legs, open findings, events, counters and what they grew by.
    pub engine: Engine,
    /// What the preflight says of the kernel's settings as they are now.
    pub settings: Vec<Finding>,
    /// How often it was looked.
    pub looks: u64,
    /// Whether memory or descriptors run short.
    pub budgets: Budgets,
}

/// All in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No finding is open, but for such as are about other programs only.
    Ok,
    /// A finding is open, a backend takes no connections, or new clients are turned away because something runs short.
    Degraded,
    /// A setting of the kernel loses clients.
    Critical,
}

impl Health {
    /// Before the first look, with what the preflight said.
    pub fn new(root: ProcRoot, thresholds: Thresholds, roles: Roles, settings: Vec<Finding>) -> Arc<Self> {
        let engine = Engine::new(thresholds, roles);
        Arc::new(Self {
            root,
            state: Mutex::new(State {
                engine,
                settings,
                looks: 0,
                budgets: Budgets::default(),
            }),
        })
    }

    /// The state; to be let go of before anything is awaited.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// The word for settings and open findings.
    pub fn status(&self) -> Status {
        if refuses(&self.settings) {
            Status::Critical
        } else if self.budgets.scarce().is_some() || self.engine.open().any(|open| open.finding.whose != Whose::Others)
        {
            Status::Degraded
        } else {
            Status::Ok
        }
    }
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Degraded, Self::Critical];

    /// The word in /health, metrics and headers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }

    /// The status of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}
