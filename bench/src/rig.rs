//! tidegate in the shapes that the long runs want: so many workers, so much memory, TLS, tiers; and its origin.
//!
//! Configuration and addresses only; everything not named here is as it is by default. The cases of `compare` have `subject`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::ask;
use crate::machine::{Cores, scratch_root};
use crate::process::Process;
use crate::subject::{Running, announced, site, start_origin};
use crate::usage;

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
        let process = Process::start_on("tidegate", command, cpus, self.dir.path())?;
        let Running { process, address } = Running::announcing(process)?;
        Ok(Tidegate {
            admin: announced(&process.stderr(), |role| role == "admin").context("no admin listener")?,
            front: address,
            process,
        })
    }

    /// How many requests have reached the origin.
    pub(crate) fn asked_of_origin(&self) -> Result<u64> {
        ask::count_of(self.origin.address)
    }
}

impl Tidegate {
    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        usage::resident_bytes(self.process.pid())
    }

    /// The sum of a metric's samples whose line begins so; 0 where there is none.
    pub(crate) fn metric(&self, start: &str) -> Result<f64> {
        let text = ask::get(self.admin, "/metrics")?;
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
    let Shape { listen, tables, .. } = shape;
    let cache = match shape.memory_mib {
        0 => String::new(),
        memory_mib => format!("[cache]\nmemory = \"{memory_mib}MiB\"\n"),
    };
    let served = format!("[front]\n{listen}\n\n{cache}\n{tables}");
    whole(shape.workers, &served, origin)
}

/// The configuration of one that serves its store to fronts.
pub(crate) fn cache_server(shape: &Shape, origin: SocketAddr) -> String {
    let memory_mib = shape.memory_mib;
    let served = format!("[cache]\nmemory = \"{memory_mib}MiB\"\nlisten = [\"127.0.0.1:0\"]\n");
    whole(shape.workers, &served, origin)
}

/// The configuration of a front whose cache tier is a cache server.
pub(crate) fn front_before(server: SocketAddr, origin: SocketAddr) -> String {
    let served = format!("[front]\nlisten = [\"127.0.0.1:0\"]\n\n[cache]\nservers = [\"{server}\"]\n");
    whole(1, &served, origin)
}

fn whole(workers: usize, served: &str, origin: SocketAddr) -> String {
    let site = site(origin);
    format!("[process]\nworkers = {workers}\n\n{served}\n{site}")
}
