//! Which server is asked next: the standings, the load and the settings, brought to `balance`. Called by `send`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::balance::{self, Candidates};
use super::send::Backend;
use super::settings::{Balance, ExchangeLimits, HashBy};
use crate::time::{MonoTime, mono_now};
use crate::worker::Worker;

impl Backend {
    /// What of a request is to be hashed into the key of [`Self::send`]; `None` where nobody looks at that.
    pub fn hash_by(&self) -> Option<&HashBy> {
        (self.settings.balance == Balance::ConsistentHash).then_some(&self.settings.hash_by)
    }

    /// The limits of an exchange as they are configured for these servers.
    pub const fn limits(&self) -> &ExchangeLimits {
        &self.settings.limits
    }

    /// The server that owns `key`, if it may be asked now and has no more than its share to do; `None` where keys have none.
    pub fn owner(&self, key: u64) -> Option<Arc<str>> {
        let now = self.since_made(mono_now());
        let candidates = Candidates::new(&self.standings, &[], now, self.settings.slow_start, self.is_panic())?;
        let owner = match self.settings.balance {
            _ if self.servers.len() == 1 => 0,
            Balance::ConsistentHash if self.settings.hash_by == HashBy::Key => {
                balance::owner(&candidates, key, self.settings.hash_load_percent, |_| 0)
            }
            _ => return None,
        };
        Some(self.servers[owner].name())
    }

    /// Whether so few servers are well that all are asked alike.
    pub fn is_panic(&self) -> bool {
        self.is_panic.load(Ordering::Relaxed)
    }

    /// Requests in flight and in line, of all servers.
    pub(super) fn load(&self) -> usize {
        self.servers.iter().map(|server| server.pool.load()).sum()
    }

    pub(super) fn pick(&self, key: u64, tried: &[usize], worker: &Worker, now: MonoTime) -> Option<usize> {
        let now = self.since_made(now);
        let candidates = Candidates::new(&self.standings, tried, now, self.settings.slow_start, self.is_panic())?;
        let load = |server: usize| self.servers[server].pool.load();
        Some(match self.settings.balance {
            _ if self.servers.len() == 1 => 0,
            Balance::RoundRobin => balance::round_robin(&candidates, &mut self.credits.lock()),
            Balance::LeastLoaded => balance::least_loaded(&candidates, worker.next_id(), load),
            Balance::LeastConnections => balance::least_connections(&candidates, worker.next_id(), load),
            Balance::ConsistentHash => match &self.hot {
                // A retry goes where any other request for the key would go next.
                Some(hot) if tried.is_empty() && hot.count(key) => {
                    balance::one_of_owners(&candidates, key, self.settings.hot_key_servers, worker.next_id())
                }
                _ => balance::owner(&candidates, key, self.settings.hash_load_percent, load),
            },
        })
    }
}
