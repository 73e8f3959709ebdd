//! What signals do: SIGTERM and SIGINT drain, a second one cuts, SIGUSR1 reopens the access log, SIGHUP has files read
//! again. Between signals the main thread looks at the kernel, once a second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::telemetry::access_log::AccessLogWriter;
use common::time::mono_now;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::Process;
use crate::exit::{Code, Failure};
use crate::health::control::Control;

/// Signals, handled from the moment this is made.
pub struct Watch {
    runtime: Runtime,
    signals: Signals,
}

impl Watch {
    /// Starts handling signals.
    ///
    /// # Errors
    /// The system refuses to.
    pub fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(refused)?;
        let signals = runtime.block_on(async { Signals::new() }).map_err(refused)?;
        Ok(Self { runtime, signals })
    }

    /// Waits for a signal to end the process, and for the end.
    pub fn until_told(
        self,
        process: &Process,
        control: &mut Control,
        drain_timeout: Duration,
        log: Option<&AccessLogWriter>,
    ) {
        let Self { runtime, mut signals } = self;
        runtime.block_on(async {
            // Not longer than this: a look holds the listening sockets, which the drain is about to close.
            loop {
                match (signals.next_while_looking(control).await, log) {
                    (Told::End, _) => break,
                    (Told::Reload, _) => drop(process.files.desk().order()),
                    (Told::Reopen, None) => {}
                    (Told::Reopen, Some(log)) => {
                        log.reopen();
                        info!("access log reopened");
                    }
                }
            }
            info!(timeout = ?drain_timeout, "draining");
            process.draining.store(true, Ordering::Relaxed);
            process.serving.drain(mono_now() + drain_timeout);
            loop {
                tokio::select! {
                    () = process.serving.ended() => break,
                    told = signals.next() => if told.is_end() {
                        warn!("told again: ending at once");
                        process.serving.cut();
                        // A worker that is stuck cannot be waited for.
                        drop(tokio::time::timeout(CUT_TIMEOUT, process.serving.ended()).await);
                        break;
                    }
                }
            }
            if let Some(admin) = &process.admin {
                admin.cut();
            }
        });
    }
}

/// How long workers that were told to end at once may take.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn refused(error: std::io::Error) -> Failure {
    Failure::new(Code::System, format_args!("signals: {error}"))
}

/// What a signal asks for.
enum Told {
    End,
    Reopen,
    Reload,
}

impl Told {
    const fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user_1: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user_1: signal(SignalKind::user_defined1())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal; until then, a look now and then.
    async fn next_while_looking(&mut self, control: &mut Control) -> Told {
        let every = control.every;
        let mut interval = tokio::time::interval_at(mono_now() + every, every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = self.next() => return told,
                _ = interval.tick() => control.look(),
            }
        }
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.user_1.recv() => Told::Reopen,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }
}
