//! The health of cache servers, fetched from their admin listeners: one thread per server, which asks, waits and asks again.
//!
//! What they said last is kept with its age; why nothing newer is known stands beside it. Workers never come here.

pub mod report; // what is understood of another process's /health

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use common::net::tls::connector::{ConnectorError, TlsConnector};
use common::net::tls::settings::ConnectorSettings;
use common::time::{MonoTime, WallTime, mono_now};
use config::ServersHealth;
use parking_lot::Mutex;

use crate::ask::{self, AdminAddress, Question};
use report::Report;

/// The cache servers, as they said they are.
#[derive(Debug, Default)]
pub struct Folded {
    servers: Vec<CacheServer>,
    /// What handshakes are made with, where one of them speaks TLS.
    connector: Option<Arc<TlsConnector>>,
}

/// One cache server.
#[derive(Debug)]
struct CacheServer {
    admin: AdminAddress,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    report: Option<(Arc<Report>, MonoTime)>,
    /// Why the last question had no answer.
    failure: Option<String>,
}

/// What is known of one cache server now.
#[derive(Debug)]
pub struct Snapshot {
    /// Its admin listener.
    pub admin: String,
    /// What it said last, and how long ago.
    pub report: Option<(Arc<Report>, Duration)>,
    /// Why there is nothing newer.
    pub unavailable: Option<String>,
}

impl Folded {
    /// These servers, none of which has been asked yet.
    pub fn new(settings: Option<&ServersHealth>, connector: Option<Arc<TlsConnector>>) -> Arc<Self> {
        let addresses = settings.into_iter().flat_map(|settings| &settings.admin);
        let server = |address: &_| CacheServer {
            admin: AdminAddress::of(address),
            known: Mutex::new(Known {
                report: None,
                failure: Some("it has not answered yet".to_owned()),
            }),
        };
        Arc::new(Self {
            servers: addresses.map(server).collect(),
            connector,
        })
    }

    /// What is known now, in the order of the configuration.
    pub fn snapshots(&self, now: MonoTime) -> Vec<Snapshot> {
        let snapshot = |server: &CacheServer| {
            let known = server.known.lock();
            let aged =
                |(report, at): &(Arc<Report>, MonoTime)| (Arc::clone(report), now.saturating_duration_since(*at));
            Snapshot {
                admin: server.admin.to_string(),
                report: known.report.as_ref().map(aged),
                unavailable: known.failure.clone(),
            }
        };
        self.servers.iter().map(snapshot).collect()
    }

    fn refresh(&self, index: usize, settings: &ServersHealth) {
        let server = &self.servers[index];
        let fetched = fetch(&server.admin, settings, self.connector.as_deref());
        let mut known = server.known.lock();
        match fetched {
            Ok(report) => {
                if known.failure.take().is_some() {
                    tracing::info!(cache_server = %server.admin, "its health is known");
                }
                known.report = Some((Arc::new(report), mono_now()));
            }
            Err(why) => {
                if known.failure.as_ref() != Some(&why) {
                    tracing::warn!(cache_server = %server.admin, "its health is unavailable: {why}");
                }
                known.failure = Some(why);
            }
        }
    }
}

/// Reads what handshakes with admin listeners are made with; `None` where none of them speaks TLS.
///
/// # Errors
/// What is wrong with the files.
pub fn connector(settings: &ServersHealth, now: WallTime) -> Result<Option<Arc<TlsConnector>>, ConnectorError> {
    let load =
        |tls: &ConnectorSettings| TlsConnector::load("cache.servers_health", tls.clone(), &[], now).map(Arc::new);
    settings.tls.as_ref().map(load).transpose()
}

fn fetch(admin: &AdminAddress, settings: &ServersHealth, tls: Option<&TlsConnector>) -> Result<Report, String> {
    let token = settings.token_file.as_deref().map(read_token).transpose()?;
    let question = Question {
        method: "GET",
        target: "/health?format=json",
        token: token.as_deref(),
        tls,
        timeout: settings.timeout,
        bytes_max: settings.report_bytes_max,
    };
    let answer = ask::ask(admin, &question).map_err(|error| error.to_string())?;
    match answer.status {
        200 => Report::read(&answer.content).map_err(|error| error.to_string()),
        401 => Err("it demands another token (401)".to_owned()),
        other => Err(format!("it answered {other}")),
    }
}

fn read_token(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// The threads that ask. Dropped, each ends after the question that it is at; nobody waits for that.
pub struct FoldThreads {
    _stop: Vec<Sender<()>>,
}

impl FoldThreads {
    /// Starts one thread per server.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(folded: &Arc<Folded>, settings: Option<&ServersHealth>) -> std::io::Result<Self> {
        let mut stops = Vec::new();
        let Some(settings) = settings else {
            return Ok(Self { _stop: stops });
        };
        for index in 0..folded.servers.len() {
            let (stop, stopped) = mpsc::channel();
            let (folded, settings) = (Arc::clone(folded), settings.clone());
            let asking = move || {
                loop {
                    folded.refresh(index, &settings);
                    if stopped.recv_timeout(settings.every) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            };
            stops.push(stop);
            let builder = std::thread::Builder::new().name("tidegate-fold".to_owned());
            drop(builder.spawn(asking)?);
        }
        Ok(Self { _stop: stops })
    }
}
