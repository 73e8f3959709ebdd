//! One thread per core, each with a single-threaded runtime and its own shard of every listener.
//!
//! Everything that can fail at the start is done on the calling thread, before the first worker runs. A request stays on
//! the worker that accepted it; what a worker does is in `serve::thread`. Signals are the caller's.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

pub use super::drain::DrainReport;
use super::drain::Phase;
use super::endpoint::Endpoint;
use super::limits::ConnectionLimit;
use super::seat::Floor;
use super::thread::{Door, Thread, Ticks};
use crate::net::accept::Acceptor;
use crate::net::listener::Bound;
use crate::process::affinity;
use crate::time::MonoTime;
use crate::worker::Worker;

/// Housekeeping of one worker: flush its access log, sweep its idle connections. It must not block.
pub type Tick = Box<dyn Fn(&Arc<Worker>) + Send + Sync>;

/// How workers are run.
pub struct Plan {
    /// Names of the threads, before the worker's index; at most 15 bytes with it.
    pub thread_name: &'static str,
    /// Tie worker i to the i-th CPU that the process may use.
    pub pin: bool,
    /// Counts the connections of all workers.
    pub limit: Arc<ConnectionLimit>,
    /// How often each worker calls `ticks`; once more when it ends.
    pub tick_every: Duration,
    /// What it calls then, in this order.
    pub ticks: Vec<Tick>,
}

/// Workers that run, and the listeners they accept from.
///
/// Dropping it ends them at once.
#[derive(Debug)]
pub struct Running {
    /// Each thread holds a receiver until its end.
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<DrainReport>>,
    listeners: Vec<Arc<Bound>>,
}

/// Workers could not be started; none runs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the workers: {step}: {source}")]
pub struct StartError {
    /// What was being done.
    step: &'static str,
    /// What the system said.
    source: io::Error,
}

impl StartError {
    /// The exit code of a process that ends because of this: `EX_OSERR` (sysexits.h).
    pub const fn exit_code(&self) -> u8 {
        71
    }
}

/// Starts one thread per worker; shard i of each listener goes to the i-th worker.
///
/// A listener may have fewer shards than there are workers; the first ones serve it then.
///
/// # Errors
/// A listener has more shards than there are workers to accept from them; or the system has no thread, no memory or no
/// descriptor left.
pub fn start(
    plan: Plan,
    listeners: Vec<(Bound, Arc<dyn Endpoint>)>,
    workers: Vec<Arc<Worker>>,
) -> Result<Running, StartError> {
    let listeners: Vec<_> = listeners
        .into_iter()
        .map(|(bound, endpoint)| (Arc::new(bound), endpoint))
        .collect();
    if listeners.iter().any(|(bound, _)| bound.shards() > workers.len()) {
        let source = io::ErrorKind::InvalidInput.into();
        return Err(failed("more shards of a listener than workers")(source));
    }
    let cpus = if plan.pin { cpus() } else { Vec::new() };
    let ticks = Ticks {
        every: plan.tick_every,
        calls: plan.ticks.into(),
    };
    let (phase, told) = watch::channel(Phase::Serving);
    let mut threads = Vec::with_capacity(workers.len());
    for (shard, worker) in workers.into_iter().enumerate() {
        let cpu = cpus.get(shard % cpus.len().max(1)).copied();
        let limit = Arc::clone(&plan.limit);
        threads.push(prepare(
            &listeners,
            shard,
            worker,
            limit,
            ticks.clone(),
            told.clone(),
            cpu,
        )?);
    }
    drop(told);
    let mut running = Running {
        phase,
        threads: Vec::with_capacity(threads.len()),
        listeners: listeners.into_iter().map(|(bound, _)| bound).collect(),
    };
    for thread in threads {
        let name = format!("{}{}", plan.thread_name, thread.floor.worker.index);
        let builder = std::thread::Builder::new().name(name);
        let handle = builder.spawn(move || thread.run()).map_err(failed("thread"))?;
        running.threads.push(handle);
    }
    Ok(running)
}

impl Running {
    /// The listeners, for telling where they are.
    pub fn listeners(&self) -> &[Arc<Bound>] {
        &self.listeners
    }

    /// Begins the drain: what is queued is still accepted, what runs may finish until `deadline`.
    ///
    /// Called again it moves the deadline.
    pub fn drain(&self, deadline: MonoTime) {
        for bound in &self.listeners {
            bound.retire();
        }
        self.phase.send_if_modified(|phase| {
            let is_cut = *phase == Phase::Cut;
            if !is_cut {
                *phase = Phase::Draining { deadline };
            }
            !is_cut
        });
    }

    /// Ends all workers at once.
    pub fn cut(&self) {
        for bound in &self.listeners {
            bound.retire();
        }
        self.phase.send_replace(Phase::Cut);
    }

    /// Waits until all workers have ended, without blocking the thread.
    pub async fn ended(&self) {
        self.phase.closed().await;
    }

    /// Waits until all workers have ended, blocking the thread: after [`Self::ended`] not for long.
    pub fn join(self) -> DrainReport {
        let mut all = DrainReport::default();
        for thread in self.threads {
            match thread.join() {
                Ok(report) => {
                    all.finished += report.finished;
                    all.cut += report.cut;
                }
                Err(_) => tracing::error!("a worker thread panicked"),
            }
        }
        all
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("thread_name", &self.thread_name)
            .field("pin", &self.pin)
            .field("limit", &self.limit)
            .field("tick_every", &self.tick_every)
            .finish_non_exhaustive()
    }
}

/// Everything of one worker that can fail.
fn prepare(
    listeners: &[(Arc<Bound>, Arc<dyn Endpoint>)],
    shard: usize,
    worker: Arc<Worker>,
    limit: Arc<ConnectionLimit>,
    ticks: Ticks,
    phase: watch::Receiver<Phase>,
    cpu: Option<usize>,
) -> Result<Thread, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("runtime"))?;
    let floor = Floor::new(worker, limit);
    let mut doors = Vec::with_capacity(listeners.len());
    {
        let _reactor = runtime.enter();
        for (bound, endpoint) in listeners.iter().filter(|(bound, _)| shard < bound.shards()) {
            let acceptor = Acceptor::new(bound, shard, &floor.worker).map_err(failed("listening socket"))?;
            doors.push(Door::new(acceptor, bound, Arc::clone(endpoint), &floor));
        }
    }
    Ok(Thread {
        runtime,
        floor,
        doors,
        ticks,
        phase,
        cpu,
    })
}

/// The CPUs to pin to; none when they cannot be known, which costs speed and nothing else.
fn cpus() -> Vec<usize> {
    affinity::allowed_cpus().unwrap_or_else(|error| {
        tracing::warn!(%error, "the CPUs of this process are not known; workers are not pinned");
        Vec::new()
    })
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError { step, source }
}

#[cfg(test)]
mod tests;
