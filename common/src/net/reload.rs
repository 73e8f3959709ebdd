//! Files that a running process reads again: when they have changed, and when somebody asks for it.
//!
//! What is read is taken over as a whole; when something is wrong with it, all stays as it was. Reads files: for the start
//! and for a thread of its own, never for a worker.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::file_stamp::FileStamp;
use crate::time::WallTime;

/// Something that is read from files.
pub trait Reload: Send + Sync {
    /// Reads its files again where there is occasion to, and tells what came of it.
    fn reload(&self, occasion: Occasion, now: WallTime) -> Vec<Reloaded>;

    /// Its files, with what came of that so far.
    fn file_sets(&self) -> Vec<&FileSet>;
}

/// Why files are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// They may have changed: they are read only then.
    Change,
    /// Somebody asks for it.
    Order,
}

/// What came of reading files again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What they hold, in one word.
    pub kind: &'static str,
    /// Whose they are: the name of a table, or the files.
    pub name: String,
    /// Why the old ones stay; `None` where the new ones were taken over.
    pub kept: Option<String>,
}

/// Some files that belong together, what they looked like when they were last read, and how often that went well.
#[derive(Debug)]
pub struct FileSet {
    kind: &'static str,
    name: String,
    files: Vec<PathBuf>,
    stamps: Mutex<Vec<Option<FileStamp>>>,
    taken_over: AtomicU64,
    failed: AtomicU64,
}

impl FileSet {
    /// Looks at these files. To be made before they are read: what changes meanwhile is then seen as a change.
    pub fn new(kind: &'static str, name: &str, files: Vec<PathBuf>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            stamps: Mutex::new(stamps(&files)),
            files,
            taken_over: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Reads them again where there is occasion to; what was read goes to `take`. Counted, and told in the log.
    pub fn read_again<T, E: Display>(
        &self,
        occasion: Occasion,
        read: impl FnOnce() -> Result<T, E>,
        take: impl FnOnce(T),
    ) -> Option<Reloaded> {
        let seen = stamps(&self.files);
        let is_changed = std::mem::replace(&mut *self.stamps.lock(), seen.clone()) != seen;
        if self.files.is_empty() || (!is_changed && occasion == Occasion::Change) {
            return None;
        }
        let (kind, name) = (self.kind, &*self.name);
        let kept = match read() {
            Ok(new) => {
                take(new);
                self.taken_over.fetch_add(1, Ordering::Relaxed);
                tracing::info!(kind, name, "files read again and taken over");
                None
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(kind, name, %error, "files cannot be used; what was read before stays");
                Some(error.to_string())
            }
        };
        Some(Reloaded {
            kind,
            name: self.name.clone(),
            kept,
        })
    }

    /// Whether there are any.
    pub const fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What they hold, in one word.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// How often they were taken over, and how often they could not be used.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.taken_over.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    files.iter().map(|file| FileStamp::of(file)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_again_when_they_changed_or_on_order_and_kept_when_bad() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        fs::write(&file, "1").unwrap();
        let set = FileSet::new("numbers", "n", vec![file.clone()]);
        let current = Cell::new(1);
        let again = |occasion| {
            let read = || fs::read_to_string(&file).unwrap().parse::<u32>();
            set.read_again(occasion, read, |number| current.set(number))
                .map(|told| told.kept.is_none())
        };
        assert_eq!(again(Occasion::Change), None);
        assert_eq!(again(Occasion::Order), Some(true));
        fs::write(&file, "22").unwrap();
        assert_eq!((again(Occasion::Change), current.get()), (Some(true), 22));
        fs::write(&file, "garbage").unwrap();
        assert_eq!((again(Occasion::Change), current.get()), (Some(false), 22));
        assert_eq!(again(Occasion::Change), None, "tried once");
        assert_eq!(again(Occasion::Order), Some(false));
        assert_eq!((set.counts(), set.kind()), ((2, 2), "numbers"));
    }

    #[test]
    fn what_has_no_files_is_never_read() {
        let set = FileSet::new("numbers", "n", Vec::new());
        let read = || -> Result<(), String> { unreachable!() };
        assert_eq!(set.read_again(Occasion::Order, read, drop), None);
    }
}
