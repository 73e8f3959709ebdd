//! A child process: its log as it comes, its listeners, its memory, its end.
//!
//! Killed by its own pid when dropped; a failing test prints its log.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::sys;
use crate::wait::{Deadline, eventually};

/// A running `tidegate`.
pub struct Process {
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
    ended: Option<i32>,
}

/// A listener, as the log line that announces it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `front`, `cache` or `admin`.
    pub role: String,
    /// The address as configured.
    pub name: String,
    /// The address that was bound.
    pub address: String,
}

/// What a process that ran to its end left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Both outputs, for messages that may stand in either.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Outcome {
    /// Checks that the complaint is one line that names the culprit, without a backtrace.
    #[track_caller]
    pub fn expect_one_line_about(&self, culprit: &str) {
        let text = self.text();
        let count = text.lines().filter(|line| line.contains(culprit)).count();
        assert_eq!(count, 1, "{culprit} in one line of\n{text}");
        assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// When it cannot be started or does not end.
#[track_caller]
pub fn run_to_end(command: Command) -> Outcome {
    let mut process = Process::spawn(command);
    let code = process.wait_for_exit();
    Outcome {
        code,
        stdout: process.stdout.whole(),
        stderr: process.stderr.whole(),
    }
}

impl Process {
    /// Starts `command` with its outputs captured.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG");
        sys::die_with_parent(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::collect(child.stdout.take().unwrap());
        let stderr = Lines::collect(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            ended: None,
        }
    }

    /// Waits for the log line that says that everything is bound and running; returns all listeners.
    ///
    /// # Panics
    /// When the process ends before, or takes too long.
    #[track_caller]
    pub fn wait_until_ready(&mut self) -> Vec<Listener> {
        self.wait_for_line("ready", |line| words(line).any(|word| word == "ready"));
        self.stderr
            .state
            .lock()
            .0
            .iter()
            .filter_map(|line| Listener::parse(line))
            .collect()
    }

    /// Waits for a line on stderr.
    ///
    /// # Panics
    /// When the output ends without it, or it takes too long.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, matches: impl Fn(&str) -> bool) {
        if let Err(why) = self.stderr.wait_for(matches) {
            panic!("no line with {what:?}: {why}\n{}", self.log());
        }
    }

    /// Waits for the process to end; its exit code, or 128 + the signal that ended it.
    ///
    /// # Panics
    /// When it goes on.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> i32 {
        eventually("the process has ended", || self.has_ended());
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        self.ended.unwrap()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        if self.ended.is_none() {
            let status = self.child.try_wait().unwrap();
            self.ended = status.map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        self.ended.is_some()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: i32) {
        sys::signal(self.child.id(), signal);
    }

    /// Everything that came on stderr so far.
    pub fn log(&self) -> String {
        self.stderr.whole()
    }

    /// Everything that came on stdout so far.
    pub fn output(&self) -> String {
        self.stdout.whole()
    }

    /// Bytes of memory in use now (`VmRSS`).
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most bytes of memory that were ever in use (`VmHWM`).
    pub fn memory_peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The CPU time that its main thread has used so far.
    pub fn main_thread_cpu(&self) -> std::time::Duration {
        let id = self.child.id();
        let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/schedstat")).unwrap();
        // Documentation/scheduler/sched-stats.rst: "time spent on the cpu (in nanoseconds)" comes first.
        let nanos = text.split(' ').next().unwrap().parse().unwrap();
        std::time::Duration::from_nanos(nanos)
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        self.stderr.wait_for_end();
        if std::thread::panicking() {
            self.print_log();
        }
    }
}

impl Process {
    #[expect(clippy::print_stderr, reason = "shown with the failing test that it belongs to")]
    fn print_log(&self) {
        eprintln!("--- log of process {} ---\n{}---", self.child.id(), self.log());
    }
}

impl Listener {
    /// Reads `… listening … role=front listener=127.0.0.1:0 address=127.0.0.1:43117`, in any order.
    pub fn parse(line: &str) -> Option<Self> {
        if !words(line).any(|word| word == "listening") {
            return None;
        }
        let value = |key: &str| {
            let found = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            found.map(|value| value.trim_matches('"').to_owned())
        };
        Some(Self {
            role: value("role")?,
            name: value("listener")?,
            address: value("address")?,
        })
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// The lines of a pipe, collected by a thread.
struct Lines {
    /// The lines so far, and whether there will be no more.
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Lines {
    fn collect(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let for_thread = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                for_thread.state.lock().0.push(line);
                for_thread.changed.notify_all();
            }
            for_thread.state.lock().1 = true;
            for_thread.changed.notify_all();
        });
        lines
    }

    fn wait_for(&self, matches: impl Fn(&str) -> bool) -> Result<(), &'static str> {
        let deadline = Deadline::soon();
        let mut state = self.state.lock();
        while !state.0.iter().any(|line| matches(line)) {
            if state.1 {
                return Err("the output ended");
            }
            if self.changed.wait_until(&mut state, deadline.instant()).timed_out() {
                return Err("time is over");
            }
        }
        Ok(())
    }

    fn wait_for_end(&self) {
        let deadline = Deadline::soon();
        let mut state = self.state.lock();
        while !state.1 && !self.changed.wait_until(&mut state, deadline.instant()).timed_out() {}
    }

    fn whole(&self) -> String {
        self.state.lock().0.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.child.id()).finish()
    }
}
