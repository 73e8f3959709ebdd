//! A reload under load: the certificate changes, and requests go on, on kept connections and on new ones.
//!
//! Each subject reloads in its own way; whether it did is seen by a new connection that gets the new certificate.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certificate::{self, Files, Identity};
use crate::clock;
use crate::load::{Generator, Outcome, Pace, Target, Transport};
use crate::measure::Bench;
use crate::subject::{Running, Setup, Subject};
use crate::sys;

/// Requests per second on kept connections, and on a new one each.
const KEPT_RATE: f64 = 2000.0;
const NEW_RATE: f64 = 100.0;
/// How long requests go on, and when the reload is asked for.
const TIME: Duration = Duration::from_secs(3);
const ORDER_AFTER: Duration = Duration::from_millis(500);
/// How long a subject has to show the new certificate.
const SHOWN: Duration = Duration::from_secs(10);

/// What came of the requests meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct ReloadSample {
    pub(crate) kept: Outcome,
    pub(crate) new: Outcome,
}

impl ReloadSample {
    pub(crate) fn failed(&self) -> u64 {
        self.kept.fault_count() + self.new.fault_count()
    }
}

/// One round.
pub(crate) fn measure(bench: &Bench<'_>) -> Result<ReloadSample> {
    let (old_dir, new_dir) = (tempfile::tempdir_in(bench.dir)?, tempfile::tempdir_in(bench.dir)?);
    let (old, new) = (Identity::make(old_dir.path())?, Identity::make(new_dir.path())?);
    let files = Files::within(bench.dir);
    install(&old.files, &files)?;
    let setup = Setup {
        tls: Some(&files),
        reloads: true,
        ..Setup::new(bench.dir, bench.origin)
    };
    let running = bench.installed.start(&bench.cores(), &setup)?;
    let either = certificate::client(&[&old.certificate, &new.certificate], b"http/1.1")?;
    let kept = Target {
        transport: Transport::Tls(either),
        ..bench.target(&running)
    };
    let once = Target {
        close: true,
        ..kept.clone()
    };
    let (mut kept, mut once) = (Generator::new(kept)?, Generator::new(once)?);
    // Filled, and all connections made.
    kept.run(Pace::count(u32::try_from(bench.case.connections)?))?;
    let sample = std::thread::scope(|scope| {
        let ordered = scope.spawn(|| {
            clock::pause(ORDER_AFTER)?;
            install(&new.files, &files)?;
            order(bench.installed.subject, &running);
            anyhow::Ok(())
        });
        let once = scope.spawn(move || once.run(Pace::open(NEW_RATE, TIME)));
        let kept = kept.run(Pace::open(KEPT_RATE, TIME));
        let new = once.join().ok().context("the second load generator panicked")??;
        ordered.join().ok().context("the reload was not asked for")??;
        anyhow::Ok(ReloadSample { kept: kept?, new })
    })?;
    shows(&new, bench, &running).context("the new certificate is not used")?;
    Ok(sample)
}

/// Puts certificate and key where the subject looks for them.
fn install(from: &Files, to: &Files) -> Result<()> {
    for (from, to) in [
        (&from.both, &to.both),
        (&from.key, &to.key),
        (&from.certificate, &to.certificate),
    ] {
        let next = to.with_extension("next");
        fs::copy(from, &next)?;
        fs::rename(&next, to)?;
    }
    Ok(())
}

/// Has the subject read its files again; tidegate looks at them by itself, each second.
fn order(subject: Subject, running: &Running) {
    match subject {
        Subject::Nginx => sys::hang_up(running.process.pid()),
        Subject::Haproxy => sys::user_signal_2(running.process.pid()),
        Subject::Tidegate | Subject::Varnish | Subject::TrafficServer | Subject::Floor => {}
    }
}

/// Waits until a new connection gets the new certificate.
fn shows(new: &Identity, bench: &Bench<'_>, running: &Running) -> Result<()> {
    clock::poll_until("the new certificate", SHOWN, || {
        let target = Target {
            close: true,
            connections: 1,
            transport: Transport::Tls(Arc::clone(&new.http1)),
            ..bench.target(running)
        };
        let outcome = Generator::new(target)?.run(Pace::count(1))?;
        Ok((outcome.responses == 1).then_some(()))
    })
}
