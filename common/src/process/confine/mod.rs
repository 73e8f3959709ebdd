//! Least privilege: what the process gives up once it has bound its ports and read its files, before any thread starts.
//!
//! Three layers, each of its own: capabilities and the way to new ones, the files that it may open (landlock), the system
//! calls that it may make (seccomp). All are the calling thread's, and inherited by every thread it starts.

mod capabilities; // and no_new_privs
mod files; // landlock
mod calls; // seccomp
pub mod core_dump; // where the kernel would put one

use std::fmt;
use std::path::PathBuf;

/// Which layers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfineSettings {
    /// No capabilities, and no program that is run could have more than this one (`PR_SET_NO_NEW_PRIVS`).
    pub privileges: Wanted,
    /// Only files that the configuration needs (landlock(7), ≥ 5.13).
    pub files: Wanted,
    /// Only system calls that a proxy needs (seccomp(2)).
    pub calls: Wanted,
}

/// How much a layer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The process does not start without it.
    Enforce,
    /// Where the kernel has it.
    Try,
    /// Not at all.
    Off,
}

/// What the process may do with files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAccess {
    /// Files, and directories with all below them, that are read.
    pub read: Vec<PathBuf>,
    /// The same that are written; in directories files are made, too.
    pub write: Vec<PathBuf>,
    /// Directories in which files are removed.
    pub remove: Vec<PathBuf>,
}

/// One layer, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// `drop_privileges`, `landlock` or `seccomp`.
    pub name: &'static str,
    /// What came of it.
    pub state: State,
}

/// What came of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    On,
    /// It holds; the kernel knows this version of landlock.
    OnAbi(i32),
    /// It is not wanted.
    Off,
    /// The kernel does not have it, or does not let us, and why.
    Unavailable(String),
}

/// A layer that is to be enforced is not to be had; the process must end, it may be half confined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = \"enforce\": {why}")]
pub struct ConfineError {
    name: &'static str,
    why: String,
}

/// Confines the calling thread and those it will start, for good.
///
/// # Errors
/// A layer that is to be enforced is not to be had.
pub fn confine(settings: &ConfineSettings, access: &FileAccess) -> Result<[Layer; 3], ConfineError> {
    // In this order: system calls that confine are not among those that a proxy needs.
    Ok([
        layer("drop_privileges", settings.privileges, || {
            capabilities::drop_all().map(|()| State::On)
        })?,
        layer("landlock", settings.files, || files::restrict(access))?,
        layer("seccomp", settings.calls, || calls::restrict().map(|()| State::On))?,
    ])
}

fn layer(
    name: &'static str,
    wanted: Wanted,
    apply: impl FnOnce() -> Result<State, String>,
) -> Result<Layer, ConfineError> {
    let state = match wanted {
        Wanted::Off => State::Off,
        Wanted::Enforce => apply().map_err(|why| ConfineError { name, why })?,
        Wanted::Try => apply().unwrap_or_else(State::Unavailable),
    };
    Ok(Layer { name, state })
}

impl State {
    /// The word in log and health.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::On | Self::OnAbi(_) => "on",
            Self::Off => "off",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On | Self::Off => f.write_str(self.word()),
            Self::OnAbi(abi) => write!(f, "on (ABI {abi})"),
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
