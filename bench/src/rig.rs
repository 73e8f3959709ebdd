//! tidegate in the shapes that the long runs want: so many workers, so much memory, TLS, tiers; and its origin.
//!
//! Configuration and addresses only; everything not named here is as it is by default. The cases of `compare` have `subject`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock;
use crate::machine::{Cores, scratch_root};
use crate::process::Process;
use crate::subject::{Running, start_origin};
use crate::usage;

/// How long tidegate has to be ready.
const READY: Duration = Duration::from_secs(20);

/// A busy machine may take minutes to make ten thousand connections: none of them is given up meanwhile.
pub(crate) const PATIENCE: &str = "idle_timeout = \"1h\"\nsend_timeout = \"1h\"\n";

/// The binary, its origin, and a directory for both.
pub(crate) struct Rig {
    program: PathBuf,
    pub(crate) cores: Cores,
    dir: tempfile::TempDir,
    origin: Running,
}

/// What a tidegate is told.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) workers: usize,
    /// Of the store; 0: none.
    pub(crate) memory_mib: u64,
    /// Lines for the table of the front.
    pub(crate) listen: String,
    /// Further tables.
    pub(crate) tables: String,
}

impl Shape {
    /// One worker, a store of so many MiB, plain HTTP.
    pub(crate) fn store(memory_mib: u64) -> Self {
        Self {
            workers: 1,
            memory_mib,
            listen: format!("listen = [\"127.0.0.1:0\"]\n{PATIENCE}"),
            tables: String::new(),
        }
    }
}

/// A tidegate that runs.
pub(crate) struct Tidegate {
    pub(crate) process: Process,
    pub(crate) front: SocketAddr,
    admin: SocketAddr,
}

impl Rig {
    /// The canned origin, started on the core of the load.
    pub(crate) fn new(program: &Path, cores: Cores) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("tidegate-bench-")
            .tempdir_in(scratch_root())?;
        let origin = start_origin(cores.load, dir.path()).context("the origin")?;
        Ok(Self {
            program: program.to_owned(),
            cores,
            dir,
            origin,
        })
    }

    /// A directory for files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn origin(&self) -> SocketAddr {
        self.origin.address
    }

    /// Starts one on the subject's core.
    pub(crate) fn start(&self, shape: &Shape) -> Result<Tidegate> {
        self.start_on(&[self.cores.subject], &configuration(shape, self.origin.address))
    }

    /// Starts one with this configuration on these cores.
    pub(crate) fn start_on(&self, cpus: &[usize], configuration: &str) -> Result<Tidegate> {
        let file = self.dir.path().join("tidegate.toml");
        fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(&self.program);
        command.args(["run", "-c"]).arg(&file);
        let mut process = Process::start_on("tidegate", command, cpus, self.dir.path())?;
        let addresses = clock::poll_until("ready", READY, || {
            process.check_alive()?;
            let told = process.stderr();
            let is_ready = told
                .lines()
                .any(|line| line.split_whitespace().any(|word| word == "ready"));
            let front = address(&told, "front").or_else(|| address(&told, "cache"));
            Ok(front.zip(address(&told, "admin")).filter(|_| is_ready))
        });
        let (front, admin) = addresses.with_context(|| format!("it said: {}", process.last_words()))?;
        Ok(Tidegate { process, front, admin })
    }

    /// How many requests have reached the origin.
    pub(crate) fn asked_of_origin(&self) -> Result<u64> {
        Ok(get(self.origin.address, "/count")?.trim().parse()?)
    }
}

impl Tidegate {
    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        usage::resident_bytes(self.process.pid())
    }

    /// The sum of a metric's samples whose line begins so; 0 where there is none.
    pub(crate) fn metric(&self, start: &str) -> Result<f64> {
        let text = get(self.admin, "/metrics")?;
        let of_line = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
        Ok(text
            .lines()
            .filter(|line| line.starts_with(start))
            .filter_map(of_line)
            .sum())
    }
}

/// The configuration of one that is front and store.
pub(crate) fn configuration(shape: &Shape, origin: SocketAddr) -> String {
    let Shape {
        workers,
        memory_mib,
        listen,
        tables,
    } = shape;
    let cache = if *memory_mib == 0 {
        String::new()
    } else {
        format!("[cache]\nmemory = \"{memory_mib}MiB\"\n")
    };
    format!(
        r#"[process]
workers = {workers}

[front]
{listen}

{cache}
[origin.o]
servers = ["{origin}"]

[[site]]
hosts = ["bench.test"]
default = true
origin = "o"

[[site.route]]
prefix = "/pass"
cache = false

[admin]
listen = "127.0.0.1:0"

{tables}"#
    )
}

/// The configuration of one that serves its store to fronts.
pub(crate) fn cache_server(shape: &Shape, origin: SocketAddr) -> String {
    let (workers, memory_mib) = (shape.workers, shape.memory_mib);
    format!(
        r#"[process]
workers = {workers}

[cache]
memory = "{memory_mib}MiB"
listen = ["127.0.0.1:0"]

[origin.o]
servers = ["{origin}"]

[[site]]
hosts = ["bench.test"]
default = true
origin = "o"

[admin]
listen = "127.0.0.1:0"
"#
    )
}

/// The configuration of a front whose cache tier is a cache server.
pub(crate) fn front_before(server: SocketAddr, origin: SocketAddr) -> String {
    format!(
        r#"[process]
workers = 1

[front]
listen = ["127.0.0.1:0"]

[cache]
servers = ["{server}"]

[origin.o]
servers = ["{origin}"]

[[site]]
hosts = ["bench.test"]
default = true
origin = "o"

[admin]
listen = "127.0.0.1:0"
"#
    )
}

/// The address of the first listener of that role.
fn address(stderr: &str, role: &str) -> Option<SocketAddr> {
    let role = format!("role=\"{role}\"");
    let is_it = |line: &&str| line.contains("listening") && line.split_whitespace().any(|word| word == role);
    let mut words = stderr.lines().find(is_it)?.split_whitespace();
    words
        .find_map(|word| word.strip_prefix("address="))?
        .trim_matches('"')
        .parse()
        .ok()
}

/// The body of a small answer.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("{address} is gone"))?;
    stream.set_read_timeout(Some(READY))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .with_context(|| format!("{address}{path}"))?;
    let (_, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address}{path}: no answer"))?;
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_its_role() {
        let told =
            "INFO listening role=\"admin\" address=127.0.0.1:1\nINFO listening role=\"front\" address=127.0.0.1:2\n";
        assert_eq!(address(told, "front"), Some(([127, 0, 0, 1], 2).into()));
        assert_eq!(address(told, "cache"), None);
    }
}
