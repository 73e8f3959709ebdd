//! One running tidegate, in one process or in two tiers: where it listens, what it counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::client::{Client, once};
use crate::message::Response;
use crate::process::{Listener, Outcome, Process, run_to_end};
use crate::setup::Setup;
use crate::wait::eventually;
use crate::{binary, client, metrics};

/// A running tidegate. Dropped, its processes are killed.
pub struct Tidegate {
    /// The process that clients talk to.
    pub front: Node,
    /// Its cache servers, in the order of the front's configuration.
    pub cache_servers: Vec<Node>,
    _folder: TempDir,
}

/// One process and its listeners.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub process: Process,
    /// All its listeners.
    pub listeners: Vec<Listener>,
}

/// A command line of the binary under test.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::tidegate());
    command.args(arguments);
    command
}

/// Runs the binary to its end.
#[track_caller]
pub fn run(arguments: &[&str]) -> Outcome {
    run_to_end(command(arguments))
}

impl Tidegate {
    #[track_caller]
    pub(crate) fn start(setup: &Setup) -> Self {
        let folder = TempDir::new().unwrap();
        let cache_servers: Vec<Node> = (0..setup.cache_servers())
            .map(|i| {
                Node::start(
                    &folder.path().join(format!("cache-server-{i}.toml")),
                    &setup.cache_server(),
                )
            })
            .collect();
        let config = if cache_servers.is_empty() {
            setup.in_process()
        } else {
            let addresses: Vec<_> = cache_servers
                .iter()
                .map(|node| node.address("cache").to_owned())
                .collect();
            setup.front(&addresses)
        };
        let front = Node::start(&folder.path().join("front.toml"), &config);
        Self {
            front,
            cache_servers,
            _folder: folder,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> &str {
        self.front.address("front")
    }

    /// A client connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// A GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        once(self.address(), client::get(path))
    }

    /// An exchange on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        once(self.address(), request)
    }

    /// A metric, summed over all processes.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        self.nodes().map(|node| node.metric(name, labels)).sum()
    }

    /// Waits until a metric, summed over all processes, is `value`. An exchange is counted just after its last byte was
    /// sent, so that a client may know of it first.
    #[track_caller]
    pub fn expect_metric(&self, name: &str, labels: &str, value: u64) {
        let what = format!(
            "{name}{{{labels}}} is {value}; now:\n{}",
            metrics::page(self.front.address("admin"))
        );
        eventually(&what, || self.metric(name, labels) == value);
    }

    /// Waits until a metric, summed over all processes, has reached `value`.
    #[track_caller]
    pub fn expect_metric_of_at_least(&self, name: &str, labels: &str, value: u64) {
        let what = format!("{name}{{{labels}}} is at least {value}");
        eventually(&what, || self.metric(name, labels) >= value);
    }

    /// Waits until no connection to any backend is in use: no exchange holds one any more, and none was leaked.
    #[track_caller]
    pub fn wait_until_no_backend_is_busy(&self) {
        let busy = || self.metric("tidegate_backend_connections", r#"state="busy""#);
        eventually("no backend connection is busy", || busy() == 0);
    }

    /// All processes, the front first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.front).chain(&self.cache_servers)
    }
}

impl Node {
    /// Starts `tidegate run -c` with this file, which is written first, and waits until it is ready.
    #[track_caller]
    pub fn start(file: &Path, config: &str) -> Self {
        std::fs::write(file, config).unwrap();
        Self::run(&["run", "-c", file.to_str().unwrap()])
    }

    /// Starts the binary and waits until it is ready.
    #[track_caller]
    pub fn run(arguments: &[&str]) -> Self {
        let mut process = Process::spawn(command(arguments));
        let listeners = process.wait_until_ready();
        Self { process, listeners }
    }

    /// The address of the first listener of this role: `front`, `cache` or `admin`.
    #[track_caller]
    pub fn address(&self, role: &str) -> &str {
        let first = self.listeners.iter().find(|listener| listener.role == role);
        let first = first.unwrap_or_else(|| panic!("no {role} listener in the log:\n{}", self.process.log()));
        &first.address
    }

    /// The address that the listener configured as `name` was bound to.
    #[track_caller]
    pub fn address_of(&self, name: &str) -> &str {
        let named = self.listeners.iter().find(|listener| listener.name == name);
        let named = named.unwrap_or_else(|| panic!("no listener {name} in the log:\n{}", self.process.log()));
        &named.address
    }

    /// A metric of this process.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        metrics::read(self.address("admin"), name, labels)
    }
}

/// Writes `tidegate.toml` into `folder`; its path.
pub fn write_config(folder: &Path, config: &str) -> String {
    let file = folder.join("tidegate.toml");
    std::fs::write(&file, config).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A folder for a test's own files.
pub fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}
