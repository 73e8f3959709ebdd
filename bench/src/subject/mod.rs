//! What is measured: programs, driven as a stranger would drive them, by a configuration file and a port.

mod tidegate; // ours
mod nginx; // nginx with proxy_cache
mod haproxy; // HAProxy with its small-object cache
mod varnish; // Varnish with malloc storage
mod traffic_server; // Traffic Server with its RAM cache

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::certificate::Files;
use crate::clock;
use crate::machine::in_path;
use crate::process::Process;
use crate::usage;
pub(crate) use tidegate::site;

/// How long a subject has to be ready.
const READY: Duration = Duration::from_secs(20);
/// A port found free may be taken by the time it is used: how often another one is tried.
const STARTS_MAX: usize = 3;

/// A program that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Subject {
    /// This project's proxy.
    Tidegate,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Varnish.
    Varnish,
    /// Apache Traffic Server.
    TrafficServer,
    /// Canned responses from a bare epoll loop.
    Floor,
}

impl Subject {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 6] = [
        Self::Tidegate,
        Self::Nginx,
        Self::Haproxy,
        Self::Varnish,
        Self::TrafficServer,
        Self::Floor,
    ];

    /// Its name in tables and messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
            Self::TrafficServer => "Traffic Server",
            Self::Floor => "floor",
        }
    }

    /// Whether it writes an access log by itself, into a file.
    ///
    /// HAProxy hands lines to syslog and Varnish to varnishncsa: another process' work, not comparable.
    pub(crate) fn writes_access_log(self) -> bool {
        matches!(self, Self::Tidegate | Self::Nginx | Self::TrafficServer)
    }

    /// Whether it cuts ranges out of what it has stored: HAProxy answers with the whole.
    pub(crate) fn cuts_ranges(self) -> bool {
        matches!(self, Self::Tidegate | Self::Nginx | Self::Varnish | Self::TrafficServer)
    }

    /// Whether it speaks TLS to clients by itself: Varnish leaves that to others.
    pub(crate) fn speaks_tls(self) -> bool {
        matches!(self, Self::Tidegate | Self::Nginx | Self::Haproxy | Self::TrafficServer)
    }

    /// Whether it takes a new certificate over while it runs; Traffic Server does so by a manager that is not there.
    pub(crate) fn reloads(self) -> bool {
        matches!(self, Self::Tidegate | Self::Nginx | Self::Haproxy)
    }

    /// Whether it has an origin behind it.
    pub(crate) fn has_origin(self) -> bool {
        self != Self::Floor
    }

    fn launch(self, setup: &Setup<'_>, port: u16) -> Launch {
        match self {
            Self::Tidegate => tidegate::launch(setup),
            Self::Nginx => nginx::launch(setup, port),
            Self::Haproxy => haproxy::launch(setup, port),
            Self::Varnish => varnish::launch(setup, port),
            Self::TrafficServer => traffic_server::launch(setup, port),
            Self::Floor => canned("floor"),
        }
    }
}

/// A subject that is on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) subject: Subject,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

impl Installed {
    /// Looks for it in `PATH` and where daemons lie; ours at `tidegate`.
    pub(crate) fn find(subject: Subject, tidegate: &Path) -> Result<Option<Self>> {
        let (program, flag) = match subject {
            Subject::Tidegate => (tidegate.is_file().then(|| tidegate.to_owned()), "--version"),
            Subject::Nginx => (in_path("nginx"), "-v"),
            Subject::Haproxy => (in_path("haproxy"), "-v"),
            Subject::Varnish => (in_path("varnishd"), "-V"),
            Subject::TrafficServer => (in_path("traffic_server"), "--version"),
            Subject::Floor => (Some(std::env::current_exe()?), "--version"),
        };
        let Some(program) = program else {
            return Ok(None);
        };
        let version = first_line(&program, flag)?;
        Ok(Some(Self {
            subject,
            program,
            version,
        }))
    }

    /// Starts it on `cpus` and waits until it is ready.
    pub(crate) fn start(&self, cpus: &[usize], setup: &Setup<'_>) -> Result<Running> {
        self.start_behind(&[], cpus, setup)
    }

    /// The same with arguments before its own: where the program is one that runs it.
    pub(crate) fn start_behind(&self, prefix: &[OsString], cpus: &[usize], setup: &Setup<'_>) -> Result<Running> {
        let mut tries = 1;
        loop {
            match self.try_start(prefix, cpus, setup) {
                Err(error) if tries == STARTS_MAX || crate::sys::interrupted() => return Err(error),
                Err(_) => tries += 1,
                running => return running,
            }
        }
    }

    fn try_start(&self, prefix: &[OsString], cpus: &[usize], setup: &Setup<'_>) -> Result<Running> {
        let launch = self.subject.launch(setup, free_port()?);
        for (path, text) in &launch.files {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut command = Command::new(&self.program);
        command
            .args(prefix)
            .args(&launch.arguments)
            .envs(launch.environment.iter().copied());
        let process = Process::start_on(self.subject.name(), command, cpus, setup.dir)?;
        let running = Running::when_ready(process, launch.ready)?;
        // Where it chose cores by itself, what follows would compare nothing.
        let strays = usage::threads_outside(running.process.pid(), cpus)?;
        ensure!(strays == 0, "{strays} threads are not on the cores {cpus:?}");
        Ok(running)
    }

    /// Its configuration as `compare` keeps it with the results.
    pub(crate) fn configuration(&self, setup: &Setup<'_>) -> String {
        let launch = self.subject.launch(setup, 8080);
        let mut text: String = launch.files.iter().map(|(_, text)| text.as_str()).collect();
        let arguments: Vec<_> = launch
            .arguments
            .iter()
            .map(|argument| argument.to_string_lossy())
            .collect();
        let environment: String = launch
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect();
        text.push_str(&format!("# started with: {environment}{}\n", arguments.join(" ")));
        text
    }
}

/// Starts the canned origin on `cpu`.
pub(crate) fn start_origin(cpu: usize, dir: &Path) -> Result<Running> {
    let launch = canned("origin");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&launch.arguments);
    Running::when_ready(Process::start("origin", command, cpu, dir)?, launch.ready)
}

/// What a subject is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    /// An empty directory of its own, in memory where the machine allows it.
    pub(crate) dir: &'a Path,
    pub(crate) origin: SocketAddr,
    pub(crate) access_log: bool,
    /// Processes or threads that serve.
    pub(crate) workers: usize,
    /// MiB that its store may take.
    pub(crate) store_mib: u32,
    /// Certificate and key, where it is to speak TLS (HTTP/1.1 and HTTP/2).
    pub(crate) tls: Option<&'a Files>,
    /// It will have to take another certificate over.
    pub(crate) reloads: bool,
    /// It watches the kernel, as tidegate does by default.
    pub(crate) watches: bool,
}

impl<'a> Setup<'a> {
    /// Plain HTTP, no access log, room for everything.
    pub(crate) fn new(dir: &'a Path, origin: SocketAddr) -> Self {
        Self {
            dir,
            origin,
            access_log: false,
            workers: 1,
            store_mib: 1024,
            tls: None,
            reloads: false,
            watches: true,
        }
    }
}

/// How a subject is started.
struct Launch {
    arguments: Vec<OsString>,
    environment: &'static [(&'static str, &'static str)],
    files: Vec<(PathBuf, String)>,
    ready: Ready,
}

/// How one knows that it is ready.
#[derive(Clone, Copy)]
enum Ready {
    /// It says `listening … address=A` and `ready` on stderr.
    Announced,
    /// It accepts connections there.
    Accepts(SocketAddr),
}

/// A subject that is ready.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// One that tells where it listens, and when it is ready.
    pub(crate) fn announcing(process: Process) -> Result<Self> {
        Self::when_ready(process, Ready::Announced)
    }

    /// One that is ready as soon as it accepts connections.
    pub(crate) fn accepting(process: Process, address: SocketAddr) -> Result<Self> {
        Self::when_ready(process, Ready::Accepts(address))
    }

    fn when_ready(mut process: Process, ready: Ready) -> Result<Self> {
        let address = clock::poll_until("ready", READY, || {
            process.check_alive()?;
            Ok(match ready {
                Ready::Announced => announced(&process.stderr(), |role| role != "admin"),
                Ready::Accepts(address) => TcpStream::connect(address).is_ok().then_some(address),
            })
        });
        let address = address.with_context(|| format!("it said: {}", process.last_words()))?;
        Ok(Self { process, address })
    }
}

fn canned(role: &str) -> Launch {
    Launch {
        arguments: vec![role.into()],
        environment: &[],
        files: Vec::new(),
        ready: Ready::Announced,
    }
}

/// The address in `listening … role=front address=127.0.0.1:4711` of the first role that `is_it`, once `ready` was said too.
pub(crate) fn announced(stderr: &str, is_it: impl Fn(&str) -> bool) -> Option<SocketAddr> {
    let has_word = |line: &str, expected: &str| line.split_whitespace().any(|word| word == expected);
    stderr.lines().find(|line| has_word(line, "ready"))?;
    let mut listening = stderr.lines().filter(|line| has_word(line, "listening"));
    let line = listening.find(|line| value(line, "role=").is_some_and(&is_it))?;
    value(line, "address=")?.parse().ok()
}

/// What stands after `name` in a line, with or without quotes.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
    Some(found.trim_matches('"'))
}

fn first_line(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {} {flag}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    match String::from_utf8_lossy(&text).lines().next() {
        Some(line) => Ok(line.trim().to_owned()),
        None => bail!("{} {flag} says nothing", program.display()),
    }
}

/// A port that nobody listens on now; who takes it may still be too late.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_its_role_once_all_is_ready() {
        let listening = "2026-11-22T12:00:00Z  INFO listening role=\"admin\" address=127.0.0.1:1\n\
                         2026-11-22T12:00:00Z  INFO listening role=front address=\"127.0.0.1:4711\" backlog=4096\n";
        let front = |stderr: &str| announced(stderr, |role| role != "admin");
        assert_eq!(front(listening), None);
        let ready = format!("{listening}2026-11-22T12:00:00Z  INFO ready\n");
        assert_eq!(front(&ready), Some(([127, 0, 0, 1], 4711).into()));
        assert_eq!(
            announced(&ready, |role| role == "admin"),
            Some(([127, 0, 0, 1], 1).into())
        );
        assert_eq!(announced(&ready, |role| role == "cache"), None);
        assert_eq!(front("already ready\n"), None);
    }
}
