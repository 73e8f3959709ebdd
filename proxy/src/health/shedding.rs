//! Once a second: how much of memory and descriptors is taken, and whether new connections are still let in.
//!
//! Read by the control thread; workers see one number per connection (`serve::limits`).

use std::sync::Arc;

use common::kernel::usage;
use common::serve::limits::ConnectionLimit;
use common::serve::settings::SheddingSettings;
use common::serve::shedding::{Gauge, Scarce, room_for_connections};
use tracing::{info, warn};

use super::Health;

/// What is measured against the budgets, as of the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budgets {
    /// Bytes.
    pub memory: Gauge,
    /// File descriptors.
    pub descriptors: Gauge,
}

impl Budgets {
    /// What runs short; memory goes first, since nobody is killed for want of descriptors.
    pub fn scarce(&self) -> Option<Scarce> {
        Scarce::ALL.into_iter().find(|scarce| self.gauge(*scarce).is_scarce)
    }

    /// One of them.
    pub const fn gauge(&self, scarce: Scarce) -> &Gauge {
        match scarce {
            Scarce::Memory => &self.memory,
            Scarce::Descriptors => &self.descriptors,
        }
    }
}

/// Looks, and tells the workers.
pub struct Shedding {
    settings: SheddingSettings,
    limit: Arc<ConnectionLimit>,
}

impl Shedding {
    /// For these connections.
    pub const fn new(settings: SheddingSettings, limit: Arc<ConnectionLimit>) -> Self {
        Self { settings, limit }
    }

    /// Looks once; `to_servers` connections to servers are known to be open.
    pub fn look(&self, health: &Health, to_servers: u64) {
        let own = self.limit.open() as u64 + to_servers + OTHERS;
        let memory = usage::memory(&health.root, self.settings.memory);
        let descriptors = usage::descriptors(&health.root, self.settings.descriptors, own);
        let (budgets, changed) = {
            let budgets = &mut health.lock().budgets;
            let changed = [
                (Scarce::Memory, budgets.memory.observe(memory, &self.settings)),
                (
                    Scarce::Descriptors,
                    budgets.descriptors.observe(descriptors, &self.settings),
                ),
            ];
            (*budgets, changed)
        };
        match budgets.scarce() {
            Some(scarce) => self.limit.shed(scarce),
            None => {
                let room = |level| room_for_connections(level, self.settings.begin);
                self.limit.leave_room(descriptors.map_or(usize::MAX, room));
            }
        }
        for (scarce, change) in changed {
            tell(scarce, budgets.gauge(scarce), change);
        }
    }
}

/// Descriptors that are neither clients' nor servers': listeners, runtimes, logs, the admin listener's.
const OTHERS: u64 = 64;

/// One line when something runs short, and when it does no more.
fn tell(scarce: Scarce, gauge: &Gauge, change: Option<bool>) {
    let (used, budget) = gauge.level.map_or((0, 0), |level| (level.used, level.budget));
    let resource = scarce.word();
    match change {
        Some(true) => warn!(resource, used, budget, "new connections are shed: this runs short"),
        Some(false) => info!(resource, used, budget, "new connections are let in again"),
        None => {}
    }
}
