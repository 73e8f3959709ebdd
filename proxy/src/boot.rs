//! The start-up list, read aloud: configuration → parts → bind → drop privileges → run → print addresses → drain.

use std::sync::Arc;
use std::time::Duration;

use common::net::listener::{self, Bound};
use common::net::settings::ListenSettings;
use common::process::{rlimit, user};
use common::serve::endpoint::{Endpoint, HttpEndpoint};
use common::serve::limits::ConnectionLimit;
use common::serve::workers::{self, Plan, Running, Tick};
use common::telemetry::access_log::{AccessLog, AccessLogWriter};
use common::telemetry::log;
use common::time::{Clock, mono_now};
use common::worker::Worker;
use config::{Config, Problem};
use tracing::{info, warn};

use crate::admin::Admin;
use crate::assemble::{self, Parts};
use crate::exchange::Exchange;
use crate::exit::{Code, Failure};

/// How often each worker looks after its access log and its idle connections.
const TICK: Duration = Duration::from_millis(100);

/// What has been started.
pub struct Started {
    /// Every listener.
    pub addresses: Vec<Listening>,
}

/// One listener that is open.
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
    let identity = identity(config)?;
    descriptors(config)?;
    let parts = assemble::assemble(config)?;
    let (log_writer, new_log) = access_log(config)?;
    let bound = bind(config)?;
    let admin_bound = config.admin.as_ref().map(|admin| bind_one(&admin.listen, 1)).transpose()?;
    if let Some(identity) = identity {
        identity.assume().map_err(|error| Failure::new(Code::Permission, error))?;
    }
    let workers: Vec<Arc<Worker>> =
        (0..config.process.workers.workers).map(|index| Worker::new(index, Clock::System, new_log(index))).collect();
    let limit = ConnectionLimit::new(config.process.workers.connections_max);
    let started = Started { addresses: bound.iter().map(|(role, bound)| listening(role, bound)).chain(admin_bound.as_ref().map(|bound| listening("admin", bound))).collect() };
    let listeners = bound.into_iter().map(|(role, bound)| (bound, endpoint(config, &parts, role))).collect();
    let plan = plan(config, &parts, &limit);
    let running = workers::start(plan, listeners, workers.clone()).map_err(|error| Failure::coded(error.exit_code(), error))?;
    for listener in &started.addresses {
        info!(role = listener.role, listener = %listener.name, address = %listener.address, "listening");
    }
    let admin = Admin::new(config, &parts, workers, limit, &started);
    let outcome = control(config, &running, admin, admin_bound, &log_writer, || {
        info!(version = env!("CARGO_PKG_VERSION"), revision = env!("TIDEGATE_REVISION"), "ready");
        ready(&started);
    });
    if let Some(writer) = log_writer {
        writer.finish();
    }
    outcome
}
