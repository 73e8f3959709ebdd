//! A thread that reads files again: now and then those that have changed, and all of them on order (SIGHUP, `POST
//! /reload`). Neither workers nor the admin thread may wait for a disk.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use common::net::reload::{Occasion, Reload, Reloaded};
use common::net::tls::connector;
use common::time::Clock;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::admin::Gate;
use crate::assemble::Parts;
use crate::exit::{Code, Failure};

/// How often files of passwords and tokens are looked at.
const SECRETS_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked where nothing says so.
const IDLE: Duration = Duration::from_secs(60);

/// What is read from files, and how often it is looked whether they have changed.
pub struct Sources {
    all: Vec<Arc<dyn Reload>>,
    every: Duration,
}

impl Sources {
    /// Those of a process; lists are looked at as often as `lists_every` says.
    pub fn new(parts: &Parts, gate: Option<&Arc<Gate>>, lists_every: Duration) -> Self {
        let mut sources = Self {
            all: Vec::new(),
            every: IDLE,
        };
        for context in &parts.tls {
            sources.add(context, context.settings().reload_every);
        }
        for connector in &parts.connectors {
            sources.add(connector, connector::RELOAD_EVERY);
        }
        for list in &parts.guards.lists {
            sources.add(list, lists_every);
        }
        for users in &parts.users {
            sources.add(users, SECRETS_EVERY);
        }
        if let Some(gate) = gate {
            sources.add(gate, SECRETS_EVERY);
        }
        sources
    }

    fn add<T: Reload + 'static>(&mut self, source: &Arc<T>, every: Duration) {
        self.all.push(Arc::clone(source) as Arc<dyn Reload>);
        self.every = self.every.min(every);
    }

    fn reload(&self, occasion: Occasion) -> Vec<Reloaded> {
        let now = Clock::System.wall();
        let sources = self.all.iter();
        sources.flat_map(|source| source.reload(occasion, now)).collect()
    }
}

/// The thread; dropped, it ends.
pub struct FileThread {
    desk: Reloads,
    thread: Option<JoinHandle<()>>,
}

/// Where files are ordered to be read again, and what came of it so far. Clones are one.
#[derive(Clone)]
pub struct Reloads {
    orders: Sender<Order>,
    counts: Arc<Mutex<Counts>>,
}

/// How often files of each kind were taken over, and how often they could not be used.
type Counts = Vec<(&'static str, [u64; 2])>;

enum Order {
    /// To read all files again, and tell what came of it.
    Reload(oneshot::Sender<Vec<Reloaded>>),
    End,
}

impl FileThread {
    /// Starts it.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(sources: Sources) -> Result<Self, Failure> {
        let (orders, ordered) = mpsc::channel();
        let desk = Reloads {
            orders,
            counts: Arc::default(),
        };
        let of_thread = desk.clone();
        let thread = std::thread::Builder::new()
            .name("tidegate-files".to_owned())
            .spawn(move || of_thread.work(&sources, &ordered));
        let thread = thread.map_err(|error| Failure::new(Code::System, format_args!("thread: {error}")))?;
        Ok(Self {
            desk,
            thread: Some(thread),
        })
    }

    /// Where it takes orders.
    pub const fn desk(&self) -> &Reloads {
        &self.desk
    }
}

impl Reloads {
    /// Has all files read again; what comes of it is there when the thread has done so. Nobody has to wait for that.
    pub fn order(&self) -> oneshot::Receiver<Vec<Reloaded>> {
        let (done, coming) = oneshot::channel();
        if self.orders.send(Order::Reload(done)).is_err() {
            tracing::debug!("an order to read files again came too late");
        }
        coming
    }

    /// How often files of each kind were taken over, and how often they could not be used.
    pub fn counts(&self) -> Vec<(&'static str, [u64; 2])> {
        self.counts.lock().clone()
    }

    fn work(&self, sources: &Sources, ordered: &Receiver<Order>) {
        loop {
            match ordered.recv_timeout(sources.every) {
                Ok(Order::Reload(done)) => {
                    let all = sources.reload(Occasion::Order);
                    self.count(&all);
                    let kept = all.iter().filter(|one| one.kept.is_some()).count();
                    tracing::info!(
                        taken_over = all.len() - kept,
                        kept,
                        "all files were read again, on order"
                    );
                    if done.send(all).is_err() {
                        tracing::trace!("nobody waits for what came of it");
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.count(&sources.reload(Occasion::Change)),
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn count(&self, all: &[Reloaded]) {
        let mut counts = self.counts.lock();
        for one in all {
            let place = counts.iter().position(|(kind, _)| *kind == one.kind);
            let place = place.unwrap_or_else(|| {
                counts.push((one.kind, [0; 2]));
                counts.len() - 1
            });
            counts[place].1[usize::from(one.kept.is_some())] += 1;
        }
    }
}

impl Drop for FileThread {
    fn drop(&mut self) {
        // Where that does not get through, the thread has ended already.
        drop(self.desk.orders.send(Order::End));
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that reads files panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use common::time::WallTime;

    use super::*;

    /// Good and bad by turns.
    struct Source(&'static str, Option<&'static str>);

    impl Reload for Source {
        fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
            let told = Reloaded {
                kind: self.0,
                name: "n".to_owned(),
                kept: self.1.map(str::to_owned),
            };
            (occasion == Occasion::Order).then_some(told).into_iter().collect()
        }
    }

    #[test]
    fn an_order_reads_everything_and_is_counted_by_kind() {
        let sources = Sources {
            all: vec![
                Arc::new(Source("certificates", None)),
                Arc::new(Source("users", Some("bad"))),
                Arc::new(Source("users", None)),
            ],
            every: IDLE,
        };
        let thread = FileThread::start(sources).unwrap();
        let told = thread.desk().order().blocking_recv().unwrap();
        assert_eq!(
            told.iter()
                .map(|one| (one.kind, one.kept.is_some()))
                .collect::<Vec<_>>(),
            [("certificates", false), ("users", true), ("users", false)]
        );
        assert_eq!(thread.desk().counts(), [("certificates", [1, 0]), ("users", [1, 1])]);
        let desk = thread.desk().clone();
        drop(thread);
        assert!(desk.order().blocking_recv().is_err(), "it has ended");
    }
}
