//! Who may use the admin listener: with a token file, who shows one of its tokens (RFC 6750).
//!
//! The file is read at the start, and again as `reload` says; a bad one leaves the tokens as they were. `/live` and `/ready`
//! say one word to anybody: orchestrators have no tokens. Client certificates are the TLS acceptor's business.

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use common::net::reload::{FileSet, Occasion, Reload, Reloaded};
use common::time::WallTime;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;

/// Says who may come in.
#[derive(Debug)]
pub struct Gate {
    file: PathBuf,
    files: FileSet,
    tokens: Mutex<Vec<String>>,
    refused: AtomicU64,
}

/// Why a file has no tokens to offer.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No line has a token.
    #[error("{}: there is no token in it", .0.display())]
    Empty(PathBuf),
    /// A token is easily guessed, or cannot stand in a field.
    #[error("{}: line {line} is no token of {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 1024;

impl Gate {
    /// Reads the tokens.
    ///
    /// # Errors
    /// There are none, or one is unfit.
    pub fn open(file: &Path) -> Result<Self, TokenError> {
        let files = FileSet::new("tokens", "admin", vec![file.to_owned()]);
        Ok(Self {
            file: file.to_owned(),
            files,
            tokens: Mutex::new(read(file)?),
            refused: AtomicU64::new(0),
        })
    }

    /// Whether a request with these fields may come in; counted when not.
    pub fn admits(&self, fields: &HeaderMap<HeaderValue>) -> bool {
        let shown = fields.get(AUTHORIZATION).and_then(bearer);
        let admits = shown.is_some_and(|shown| {
            let tokens = self.tokens.lock();
            // All of them are looked at, so that time does not tell which one is alike.
            tokens
                .iter()
                .fold(false, |found, token| found | same(token.as_bytes(), shown))
        });
        if !admits {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }

    /// Requests that were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Reload for Gate {
    fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
        let take = |tokens| *self.tokens.lock() = tokens;
        let read = || read(&self.file);
        self.files.read_again(occasion, read, take).into_iter().collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        vec![&self.files]
    }
}

/// "`credentials = "Bearer" 1*SP b64token`" (RFC 6750 §2.1); the scheme's name is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that depends on the lengths only.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    one.len() == other.len() && differences == 0
}

fn read(file: &Path) -> Result<Vec<String>, TokenError> {
    let text = fs::read_to_string(file).map_err(|source| TokenError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    let mut tokens = Vec::new();
    for (index, token) in text.lines().map(str::trim).enumerate() {
        let fits = (TOKEN_MIN..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        match (token.is_empty(), fits) {
            (true, _) => {}
            (false, true) => tokens.push(token.to_owned()),
            (false, false) => {
                return Err(TokenError::Unfit {
                    file: file.to_owned(),
                    line: index + 1,
                });
            }
        }
    }
    if tokens.is_empty() {
        return Err(TokenError::Empty(file.to_owned()));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0123456789abcdef";
    const NEW: &str = "fedcba9876543210-newer";

    fn fields(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_token_of_the_file_lets_in_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        fs::write(&file, format!("\n{OLD}\n{NEW}\n")).unwrap();
        let gate = Gate::open(&file).unwrap();
        for (value, admits) in [
            (format!("Bearer {OLD}"), true),
            (format!("bearer   {NEW} "), true),
            (format!("Basic {OLD}"), false),
            (OLD.to_owned(), false),
            (format!("Bearer {OLD}x"), false),
            (format!("Bearer {}", &OLD[1..]), false),
            ("Bearer ".to_owned(), false),
            ("Bearer".to_owned(), false),
            (format!("Bearer {OLD} {NEW}"), false),
        ] {
            assert_eq!(gate.admits(&fields(&value)), admits, "{value:?}");
        }
        assert!(!gate.admits(&HeaderMap::new()));
        assert_eq!(gate.refused(), 8);
    }

    #[test]
    fn a_changed_file_is_taken_over_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        fs::write(&file, OLD).unwrap();
        let gate = Gate::open(&file).unwrap();
        let change = |text: &str| {
            fs::write(&file, text).unwrap();
            gate.reload(Occasion::Change, WallTime::from_unix_secs(0));
            [OLD, NEW].map(|token| gate.admits(&fields(&format!("Bearer {token}"))))
        };
        assert_eq!(change("short"), [true, false]);
        assert_eq!(change(NEW), [false, true]);
        assert_eq!(change(""), [false, true]);
        for bad in ["", "\n\n", "short", "with a space in the middle"] {
            fs::write(&file, bad).unwrap();
            assert!(Gate::open(&file).is_err(), "{bad:?}");
        }
        assert!(Gate::open(Path::new("/nowhere")).is_err());
    }
}
