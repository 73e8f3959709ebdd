//! Children: started on a core, known by their pid, ended whatever happens.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock;
use crate::sys;
use crate::usage;

/// How long a child has to end by itself.
const END: Duration = Duration::from_secs(5);

/// How much of its stderr is worth repeating.
const LAST_LINES: usize = 5;

/// A running child (and what it started); dropping it ends all of that.
pub(crate) struct Process {
    child: Child,
    /// For messages.
    name: String,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` on `cpu`; its stderr goes to `NAME.stderr` in `dir`, stdout nowhere.
    pub(crate) fn start(name: &str, command: Command, cpu: usize, dir: &Path) -> Result<Self> {
        Self::start_on(name, command, &[cpu], dir)
    }

    /// The same on any of several.
    pub(crate) fn start_on(name: &str, mut command: Command, cpus: &[usize], dir: &Path) -> Result<Self> {
        let stderr = dir.join(format!("{name}.stderr"));
        let log = File::create(&stderr).with_context(|| format!("cannot write {}", stderr.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        sys::start_pinned(&mut command, cpus);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            stderr,
        })
    }

    /// The process it was started as; `usage` finds its children.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read(&self.stderr).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails when it is not running any more.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        bail!("{} ended ({status})", self.name);
    }

    /// The end of what it wrote to stderr, in one line.
    pub(crate) fn last_words(&self) -> String {
        let stderr = self.stderr();
        let lines: Vec<&str> = stderr.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(" / ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Taken before it ends: the children of a dead process are nobody's.
        let tree = usage::process_tree(self.pid());
        if matches!(self.child.try_wait(), Ok(None)) {
            sys::terminate(self.pid());
        }
        let deadline = clock::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && clock::now() < deadline {
            clock::nap();
        }
        for process in tree {
            if process.is_still_there() {
                sys::kill(process.pid);
            }
        }
        if let Err(error) = self.child.wait() {
            debug_assert!(false, "{}: {error}", self.name);
        }
    }
}
