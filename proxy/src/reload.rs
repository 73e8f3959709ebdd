//! A thread that reads files again: now and then those that have changed, and all of them on order (SIGHUP, `POST
//! /reload`). Neither workers nor the admin thread may wait for a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use common::net::reload::{Occasion, Reload, Reloaded};
use common::net::tls::connector;
use common::time::{Clock, MonoTime, mono_now};
use tokio::sync::oneshot;

use crate::assemble::Parts;
use crate::exit::{Code, Failure};

/// How often files of passwords and tokens are looked at.
const SECRETS_EVERY: Duration = Duration::from_secs(1);
/// How long the thread sleeps where there are no files.
const IDLE: Duration = Duration::from_secs(3600);

/// What is read from files, and how often it is looked whether they have changed.
#[derive(Default)]
pub struct Sources(Vec<(Arc<dyn Reload>, Duration)>);

impl Sources {
    /// Those of a process; lists are looked at as often as `lists_every` says.
    pub fn new(parts: &Parts, lists_every: Duration) -> Self {
        let mut sources = Self::default();
        for context in &parts.tls {
            sources.add(context, context.settings().reload_every);
        }
        for acceptor in parts.acceptors.iter().flatten().chain(&parts.admin.tls) {
            sources.add(acceptor, acceptor.reload_every());
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
        if let Some(gate) = &parts.admin.gate {
            sources.add(gate, SECRETS_EVERY);
        }
        sources
    }

    fn add<T: Reload + 'static>(&mut self, source: &Arc<T>, every: Duration) {
        self.0.push((Arc::clone(source) as Arc<dyn Reload>, every));
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn Reload>> {
        self.0.iter().map(|(source, _)| source)
    }

    /// Looks at the files of those whose time has come; until when there is nothing to do then.
    fn look(&self, due: &mut [MonoTime], now: MonoTime) -> Option<MonoTime> {
        for ((source, every), due) in self.0.iter().zip(&mut *due) {
            if *due <= now {
                source.reload(Occasion::Change, Clock::System.wall());
                *due = now + *every;
            }
        }
        due.iter().min().copied()
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
    sources: Arc<Sources>,
}

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
            sources: Arc::new(sources),
        };
        let of_thread = desk.clone();
        let thread = std::thread::Builder::new()
            .name("tidegate-files".to_owned())
            .spawn(move || of_thread.work(&ordered));
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
    pub fn counts(&self) -> BTreeMap<&'static str, (u64, u64)> {
        let mut counts = BTreeMap::new();
        let sets = self.sources.all().flat_map(|source| source.file_sets());
        for set in sets.filter(|set| !set.is_empty()) {
            let (taken_over, failed) = set.counts();
            let sum = counts.entry(set.kind()).or_insert((0, 0));
            *sum = (sum.0 + taken_over, sum.1 + failed);
        }
        counts
    }

    fn work(&self, ordered: &Receiver<Order>) {
        let begun = mono_now();
        let mut due: Vec<_> = self.sources.0.iter().map(|(_, every)| begun + *every).collect();
        loop {
            let now = mono_now();
            let next = self.sources.look(&mut due, now).unwrap_or(now + IDLE);
            match ordered.recv_timeout(next.saturating_duration_since(now)) {
                Ok(Order::Reload(done)) => {
                    let all = self.read_all();
                    if done.send(all).is_err() {
                        tracing::trace!("nobody waits for what came of it");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn read_all(&self) -> Vec<Reloaded> {
        let now = Clock::System.wall();
        let all: Vec<_> = self
            .sources
            .all()
            .flat_map(|source| source.reload(Occasion::Order, now))
            .collect();
        let kept = all.iter().filter(|one| one.kept.is_some()).count();
        let taken_over = all.len() - kept;
        tracing::info!(taken_over, kept, "all files were read again, on order");
        all
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
    use common::net::reload::FileSet;
    use common::time::WallTime;

    use super::*;

    struct Source {
        files: FileSet,
        is_good: bool,
    }

    fn source(kind: &'static str, is_good: bool) -> Arc<dyn Reload> {
        let files = FileSet::new(kind, "n", vec!["/no/such/file".into()]);
        Arc::new(Source { files, is_good })
    }

    impl Reload for Source {
        fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
            let read = || self.is_good.then_some(()).ok_or("bad");
            self.files.read_again(occasion, read, drop).into_iter().collect()
        }

        fn file_sets(&self) -> Vec<&FileSet> {
            vec![&self.files]
        }
    }

    #[test]
    fn an_order_reads_everything_and_is_counted_by_kind() {
        let sources = [
            source("certificates", true),
            source("users", false),
            source("users", true),
        ];
        let sources = Sources(sources.map(|source| (source, IDLE)).into());
        let thread = FileThread::start(sources).unwrap();
        let desk = thread.desk().clone();
        let zeros = BTreeMap::from([("certificates", (0, 0)), ("users", (0, 0))]);
        assert_eq!(
            desk.counts(),
            zeros,
            "a counter that is not there from the start cannot be seen to rise"
        );
        let told = desk.order().blocking_recv().unwrap();
        assert_eq!(
            told.iter()
                .map(|one| (one.kind, one.kept.is_some()))
                .collect::<Vec<_>>(),
            [("certificates", false), ("users", true), ("users", false)]
        );
        assert_eq!(
            desk.counts(),
            BTreeMap::from([("certificates", (1, 0)), ("users", (1, 1))])
        );
        drop(thread);
        assert!(desk.order().blocking_recv().is_err(), "it has ended");
    }

    #[test]
    fn each_is_looked_at_in_its_own_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let files = || FileSet::new("users", "n", vec![file.clone()]);
        let (often, seldom) = [files(), files()]
            .map(|files| Arc::new(Source { files, is_good: true }))
            .into();
        let mut sources = Sources::default();
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        sources.add(&often, second);
        sources.add(&seldom, hour);
        let now = mono_now();
        let mut due = vec![now + second, now + hour];
        std::fs::write(&file, "changed").unwrap();
        let mut counts = |after| {
            let next = sources.look(&mut due, now + after);
            (next.unwrap(), often.files.counts().0, seldom.files.counts().0)
        };
        assert_eq!(counts(Duration::ZERO), (now + second, 0, 0));
        assert_eq!(counts(second), (now + second * 2, 1, 0));
        assert_eq!(counts(hour), (now + hour + second, 1, 1));
    }
}
