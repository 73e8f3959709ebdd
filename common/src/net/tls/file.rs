//! Files of certificates and keys: their bytes, and what is wrong with one.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Why a file cannot be used. It is named first.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{}: {what}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A megabyte of PEM is a bundle of five hundred authorities; this is a mistake.
const BYTES_MAX: u64 = 16 << 20;

/// The bytes of a file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 > BYTES_MAX => Err(content(file, format!("larger than {} MiB", BYTES_MAX >> 20))),
        Ok(_) => Ok(bytes),
        Err(source) => Err(FileError::Read {
            file: file.to_owned(),
            source,
        }),
    }
}

/// It does not hold what it should.
pub(super) fn content(file: &Path, what: impl Into<String>) -> FileError {
    FileError::Content {
        file: file.to_owned(),
        what: what.into(),
    }
}
