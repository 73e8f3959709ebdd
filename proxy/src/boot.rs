//! The start-up list, read aloud: configuration → preflight → parts → bind → drop privileges → confine → run → print
//! addresses → drain.

mod confine; // what the process gives up
mod preflight; // settings of the kernel that lose clients
mod signals; // drain, cut, reopen, reload; and the look at the kernel each second

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::backend::{Backend, Control as BackendControl};
use common::kernel::sample::{Leg, Moment};
use common::net::listener::{self, Bound};
use common::net::settings::ListenSettings;
use common::net::tls::connector::TlsConnector;
use common::process::confine::Layer;
use common::process::rlimit;
use common::process::user::{self, Identity};
use common::serve::endpoint::{Endpoint, HttpEndpoint};
use common::serve::limits::ConnectionLimit;
use common::serve::workers::{self, Plan, Running, Tick};
use common::telemetry::access_log::{AccessLog, AccessLogWriter};
use common::telemetry::log;
use common::time::{Clock, mono_now};
use common::worker::Worker;
use config::{Config, Problem};
use tracing::{info, warn};

use crate::admin::{Admin, Watched};
use crate::allocator;
use crate::assemble::{self, Parts};
use crate::exchange::{Exchange, door::Door};
use crate::exit::{Code, Failure};
use crate::health::control::Control;
use crate::health::fold::{FoldThreads, Folded};
use crate::health::shedding::Shedding;
use crate::health::{Health, plan};
use crate::reload::{FileThread, Sources};

/// How often each worker looks after its access log, its idle connections and what it has freed.
const TICK: Duration = Duration::from_millis(100);

/// How long the access log may take for its last lines.
const LOG_CLOSE: Duration = Duration::from_secs(5);
/// Connections to the admin listener.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// What has been started.
pub struct Started {
    /// Every listener.
    pub addresses: Vec<Listening>,
}

/// One listener that is open.
#[derive(Clone)]
pub struct Listening {
    /// `front`, `cache` or `admin`.
    pub role: &'static str,
    /// As configured.
    pub name: String,
    /// As the kernel has it.
    pub address: String,
}

/// Serves what the configuration says until a signal ends it; `ready` is told when everything is open.
///
/// # Errors
/// What kept it from serving; nothing is left half started.
pub fn run(config: &Config, warnings: &[Problem], ready: impl FnOnce(&Started)) -> Result<(), Failure> {
    log::init(&config.log.level, config.log.format).map_err(|error| Failure::new(Code::Config, error))?;
    for warning in warnings {
        warn!("{warning}");
    }
    raise_descriptors()?;
    let health = preflight::preflight(config)?;
    let identity = identity(config)?;
    let parts = assemble::assemble(config)?;
    for warning in assemble::warnings(&parts.tls) {
        warn!("{warning}");
    }
    let log_writer = access_log(config)?;
    let open = bind(config)?;
    if let Some(identity) = identity {
        identity
            .assume()
            .map_err(|error| Failure::new(Code::Permission, error))?;
    }
    let confined = confine::confine(config)?;
    // From here on threads are started, which have what this one has left.
    start_access_log(log_writer.as_deref())?;
    let started = Started {
        addresses: open.iter().map(listening).collect(),
    };
    let process = Process::start(config, parts, open, log_writer.as_ref(), &health, confined)?;
    let mut control = process.control(config, health);
    // The first look is the baseline that all others are compared with.
    control.look();
    for listener in &started.addresses {
        info!(role = listener.role, listener = %listener.name, address = %listener.address, "listening");
    }
    let signals = signals::Watch::new()?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("TIDEGATE_REVISION"),
        "ready"
    );
    ready(&started);
    signals.until_told(
        &process,
        &mut control,
        config.process.workers.drain_timeout,
        log_writer.as_deref(),
    );
    for worker in &process.workers {
        worker.access_log.flush(&worker.metrics);
    }
    if let Some(Err(error)) = log_writer.as_ref().map(|writer| writer.close(LOG_CLOSE)) {
        warn!("{error}");
    }
    info!("ended");
    Ok(())
}

/// A listener that is bound, and what it is for.
struct Open {
    role: Role,
    /// Its place among the listeners of its role.
    index: usize,
    bound: Bound,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Front,
    Cache,
    Admin,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Cache => "cache",
            Self::Admin => "admin",
        }
    }

    /// The leg whose server end it is.
    const fn leg(self) -> Option<Leg> {
        match self {
            Self::Front => Some(Leg::ClientFront),
            Self::Cache => Some(Leg::FrontCache),
            Self::Admin => None,
        }
    }
}

fn identity(config: &Config) -> Result<Option<Identity>, Failure> {
    let Some(user) = &config.process.user else {
        return Ok(None);
    };
    let identity = user::resolve(user, config.process.group.as_deref());
    identity
        .map(Some)
        .map_err(|error| Failure::new(Code::Config, format_args!("process.user: {error}")))
}

/// Raises the limit of file descriptors as far as it goes; the preflight says when that is not enough.
fn raise_descriptors() -> Result<(), Failure> {
    rlimit::raise()
        .map(drop)
        .map_err(|error| Failure::new(Code::System, format_args!("RLIMIT_NOFILE: {error}")))
}

fn access_log(config: &Config) -> Result<Option<Arc<AccessLogWriter>>, Failure> {
    let Some(settings) = &config.log.access else {
        return Ok(None);
    };
    let writer = AccessLogWriter::open(settings.clone());
    writer
        .map(Arc::new)
        .map(Some)
        .map_err(|error| Failure::new(Code::Io, format_args!("log.access: {error}")))
}

fn start_access_log(log: Option<&AccessLogWriter>) -> Result<(), Failure> {
    let started = log.map_or(Ok(()), AccessLogWriter::start);
    started.map_err(|error| Failure::new(Code::System, format_args!("log.access: {error}")))
}

/// Binds everything, or nothing.
fn bind(config: &Config) -> Result<Vec<Open>, Failure> {
    let workers = config.process.workers.workers;
    let front = config.front.iter().flat_map(|front| &front.listen).enumerate();
    let front = front.map(|(index, listen)| (Role::Front, index, &listen.socket, workers));
    let cache = config
        .cache
        .listen
        .iter()
        .enumerate()
        .map(|(index, listen)| (Role::Cache, index, listen, workers));
    let admin = config.admin.iter().map(|admin| (Role::Admin, 0, &admin.listen, 1));
    let bind = |(role, index, settings, shards): (Role, usize, &ListenSettings, usize)| {
        let bound = listener::bind(settings, shards);
        bound
            .map(|bound| {
                bound.accepts.look_at_each(config.health.accepts_looked_at);
                Open { role, index, bound }
            })
            .map_err(|error| Failure::coded(error.exit_code(), error))
    };
    front.chain(cache).chain(admin).map(bind).collect()
}

fn listening(open: &Open) -> Listening {
    let name = open.bound.settings.name.clone();
    let address = open
        .bound
        .local_addr
        .map_or_else(|| name.clone(), |address| address.to_string());
    Listening {
        role: open.role.word(),
        name,
        address,
    }
}

/// What runs: the workers, and the admin listener's thread.
pub struct Process {
    /// Front and cache listeners.
    pub serving: Running,
    /// The admin listener, on a thread of its own, so that health answers while the workers are saturated.
    pub admin: Option<Running>,
    /// Looks after the backends until the process ends.
    _backend_control: BackendControl,
    /// The workers that serve.
    workers: Vec<Arc<Worker>>,
    /// Counts their connections.
    limit: Arc<ConnectionLimit>,
    /// Whether the process is draining, as `/ready` tells it.
    pub draining: Arc<AtomicBool>,
    /// Reads files again.
    files: FileThread,
    /// Asks the cache servers for their health.
    _fold: FoldThreads,
    /// The legs of the listeners that serve, in their order.
    legs: Vec<Leg>,
    /// Origins, then cache servers.
    backends: Vec<Arc<Backend>>,
}

impl Process {
    fn start(
        config: &Config,
        parts: Parts,
        open: Vec<Open>,
        log: Option<&Arc<AccessLogWriter>>,
        health: &Arc<Health>,
        confined: Vec<Layer>,
    ) -> Result<Self, Failure> {
        let no_verifier =
            |error| Failure::new(Code::System, format_args!("the threads that verify passwords: {error}"));
        parts.verifying.start().map_err(no_verifier)?;
        let count = config.process.workers.workers;
        let log_end = |_| log.map_or_else(AccessLog::disabled, |log| log.worker_end());
        let workers: Vec<_> = (0..count)
            .map(|index| Worker::new(index, Clock::System, log_end(index)))
            .collect();
        let limit = ConnectionLimit::new(config.process.workers.connections_max);
        let limit = limit.shedding(&config.limits.shedding);
        let limit = Arc::new(limit.per_source(&config.limits.sources));
        let draining = Arc::new(AtomicBool::new(false));
        let (admin, serving): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|open| open.role == Role::Admin);
        let listening = serving.iter().map(listening).collect();
        let legs = serving.iter().filter_map(|open| open.role.leg()).collect();
        let backends = parts.backends.clone();
        let endpoint = |open: Open| (open.bound, endpoint(config, &parts, open.role, open.index));
        let listeners = serving.into_iter().map(endpoint).collect();
        let lists_every = config.limits.lists_reload_every;
        let files = FileThread::start(Sources::new(&parts, lists_every))?;
        let plan = Plan {
            thread_name: "tidegate-w",
            pin: config.process.workers.pin,
            limit: Arc::clone(&limit),
            tick_every: TICK,
            ticks: housekeeping(&parts, &limit),
        };
        let no_thread = |error| Failure::new(Code::System, format_args!("the thread of the backends: {error}"));
        let backend_control = BackendControl::start(&parts.backends).map_err(no_thread)?;
        let serving = workers::start(plan, listeners, workers.clone()).map_err(not_started)?;
        let (folded, fold) = fold(config, parts.asking.clone())?;
        let watched = Watched {
            parts,
            reloads: files.desk().clone(),
            workers: workers.clone(),
            limit: Arc::clone(&limit),
            draining: Arc::clone(&draining),
            confined,
            log: log.cloned(),
            started: Clock::System.wall(),
            health: Arc::clone(health),
            folded: Arc::clone(&folded),
            roles: plan::role_words(config),
            listening,
            ready_when_critical: config.admin.as_ref().is_none_or(|admin| admin.ready_when_critical),
        };
        let admin = admin
            .into_iter()
            .next()
            .map(|open| start_admin(open.bound, watched, count))
            .transpose()?;
        Ok(Self {
            serving,
            admin,
            _backend_control: backend_control,
            workers,
            limit,
            draining,
            files,
            _fold: fold,
            legs,
            backends,
        })
    }

    /// What looks at the kernel each second.
    fn control(&self, config: &Config, health: Arc<Health>) -> Control {
        let listeners = self
            .legs
            .iter()
            .copied()
            .zip(self.serving.listeners().iter().cloned())
            .collect();
        let leg = |index| {
            if index < config.origins.len() {
                Leg::CacheOrigin
            } else {
                Leg::FrontCache
            }
        };
        let backends = self
            .backends
            .iter()
            .enumerate()
            .map(|(index, backend)| (leg(index), Arc::clone(backend)));
        let workers = self.workers.clone();
        let every = config.health.sample_every;
        Control::new(
            health,
            every,
            plan::context(config),
            listeners,
            workers,
            backends.collect(),
            Shedding::new(config.limits.shedding.clone(), Arc::clone(&self.limit)),
        )
    }
}

fn endpoint(config: &Config, parts: &Parts, role: Role, index: usize) -> Arc<dyn Endpoint> {
    let (Role::Front, Some(exchange), Some(front)) = (role, &parts.front, &config.front) else {
        return Arc::new(HttpEndpoint::plain(
            Arc::clone(&parts.cache_server),
            config.cache.serve.clone(),
        ));
    };
    let listener = &front.listen[index];
    let door = Door::new(listener.redirect_https, listener.hsts).telling_certificates(front.certificate_field.clone());
    Arc::new(HttpEndpoint {
        service: Arc::new(Exchange {
            door,
            ..Exchange::clone(exchange)
        }),
        settings: Arc::new(front.serve.clone()),
        tls: parts.acceptors[index].clone(),
        http2: listener.http2.then_some(front.http2),
        proxied: listener.proxied.clone(),
        access: Some(&parts.guards.listeners[index])
            .filter(|access| !access.is_open())
            .cloned(),
    })
}

/// What each worker does now and then.
fn housekeeping(parts: &Parts, limit: &Arc<ConnectionLimit>) -> Vec<Tick> {
    let (backends, limit) = (parts.backends.clone(), Arc::clone(limit));
    vec![
        Box::new(|worker: &Arc<Worker>| worker.pulse.beat(mono_now())),
        Box::new(|worker: &Arc<Worker>| worker.compare_clocks()),
        Box::new(|worker: &Arc<Worker>| worker.access_log.flush_if_due(worker.clock.wall(), &worker.metrics)),
        Box::new(move |worker: &Arc<Worker>| {
            for backend in &backends {
                backend.sweep(worker);
                backend.warm(worker);
            }
        }),
        Box::new(move |_| allocator::give_back(limit.open())),
    ]
}

/// Begins to ask the cache servers for their health, where there is an admin listener to tell it.
fn fold(config: &Config, connector: Option<Arc<TlsConnector>>) -> Result<(Arc<Folded>, FoldThreads), Failure> {
    let settings = config.cache.servers_health.as_ref().filter(|_| config.admin.is_some());
    let folded = Folded::new(settings, connector);
    let threads = FoldThreads::start(&folded, settings).map_err(|error| {
        Failure::new(
            Code::System,
            format_args!("the threads that ask cache servers: {error}"),
        )
    })?;
    Ok((folded, threads))
}

fn start_admin(bound: Bound, watched: Watched, index: usize) -> Result<Running, Failure> {
    let worker = Worker::new(index, Clock::System, AccessLog::disabled());
    let tls = watched.parts.admin.tls.clone();
    let service = Arc::new(Admin::new(watched));
    let admin = Arc::clone(&service);
    let tick: Tick = Box::new(move |worker: &Arc<Worker>| admin.tick(Moment::now(&worker.clock)));
    let endpoint = HttpEndpoint {
        tls,
        ..HttpEndpoint::plain(service, config::SERVE)
    };
    let plan = Plan {
        thread_name: "tidegate-ctl",
        pin: false,
        limit: Arc::new(ConnectionLimit::new(ADMIN_CONNECTIONS_MAX)),
        tick_every: TICK,
        ticks: vec![tick],
    };
    workers::start(plan, vec![(bound, Arc::new(endpoint))], vec![worker]).map_err(not_started)
}

fn not_started(error: workers::StartError) -> Failure {
    Failure::coded(error.exit_code(), error)
}
