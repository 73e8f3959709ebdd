//! The control thread of all backends: health checks, names, ends of ejections, windows of failures.
//!
//! A thread of its own, so that checks go on while the workers are saturated, and cost them nothing. Started by boot.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::check;
use super::dns;
use super::names;
use super::send::Backend;
use super::services;
use crate::time::mono_now;

/// How often ejections and windows are looked at.
const TICK: Duration = Duration::from_millis(500);

/// The running thread; dropping it ends and joins it.
#[derive(Debug)]
pub struct Control {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Looks after these backends from now on.
    ///
    /// # Errors
    /// The thread, or its reactor, could not be made.
    pub fn start(backends: &[Arc<Backend>]) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let backends = backends.to_vec();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                for backend in &backends {
                    look_after(backend);
                }
                drop(stopped.await);
            });
        };
        let thread = std::thread::Builder::new().name("tidegate-bk".to_owned()).spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Tasks that end with the runtime.
fn look_after(backend: &Arc<Backend>) {
    let ticking = Arc::clone(backend);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TICK).await;
            ticking.tick(mono_now());
        }
    });
    for number in 0..backend.servers.len() {
        tokio::spawn(look_up(Arc::clone(backend), number));
    }
    for number in 0..backend.services.len() {
        tokio::spawn(look_up_service(Arc::clone(backend), number));
    }
    if let Some(health) = &backend.settings.health {
        for number in 0..backend.servers.len() {
            tokio::spawn(check::watch(Arc::clone(backend), number, health.clone()));
        }
    }
}

/// The name of one server, again and again.
async fn look_up(backend: Arc<Backend>, number: usize) {
    let asked = |host: String| {
        let name_servers = &backend.settings.name_servers;
        async move { dns::addresses(&host, name_servers).await }
    };
    names::watch(Arc::clone(&backend), number, asked).await;
}

/// The servers of one service, again and again.
async fn look_up_service(backend: Arc<Backend>, number: usize) {
    let asked = |name: String| {
        let settings = &backend.settings;
        async move { dns::service(&name, &settings.name_servers, settings.service_servers_max).await }
    };
    services::watch(Arc::clone(&backend), number, asked).await;
}
