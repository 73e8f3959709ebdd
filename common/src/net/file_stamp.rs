//! A file without its content: what changes when somebody writes or replaces it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// What a file looked like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    modified: Option<SystemTime>,
    inode: u64,
    bytes: u64,
}

impl FileStamp {
    /// Looks at a file; `None` when it cannot be looked at.
    pub fn of(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            inode: metadata.ino(),
            bytes: metadata.len(),
        })
    }
}
