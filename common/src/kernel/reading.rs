//! A value that could be read, or why it could not.
//!
//! Absent is not zero: what a kernel does not have, a container hides or a rule forbids stays visible as such all the way
//! to the health endpoint. Used by every reader of this module.

use std::fmt;
use std::io;

/// A value read from the kernel, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// The value.
    Available(T),
    /// Why there is none.
    Unavailable(Why),
}

/// Why a value is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The file, column or socket option is not there: this kernel does not have it, or the namespace hides it.
    Absent,
    /// Permission was refused.
    Denied,
    /// It was there, but not in the form it should have.
    Malformed(&'static str),
    /// It was longer than what is read at most.
    TooLong,
    /// It was not asked for, and why not.
    NotAsked(&'static str),
    /// The system call failed with this errno (0 when there was none).
    Failed(i32),
}

impl<T> Reading<T> {
    /// The value, when there is one.
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Available(value) => Some(value),
            Self::Unavailable(_) => None,
        }
    }

    /// Why there is no value.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Available(_) => None,
            Self::Unavailable(why) => Some(*why),
        }
    }

    /// The same, borrowed.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Available(value) => Reading::Available(value),
            Self::Unavailable(why) => Reading::Unavailable(*why),
        }
    }

    /// The same with the value changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Available(value) => Reading::Available(change(value)),
            Self::Unavailable(why) => Reading::Unavailable(why),
        }
    }

    /// The same with a further step that may fail.
    pub fn and_then<U>(self, step: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Available(value) => step(value),
            Self::Unavailable(why) => Reading::Unavailable(why),
        }
    }

    /// `Available` of the value, or `Malformed` with what was expected.
    pub fn expect_form(value: Option<T>, expected: &'static str) -> Self {
        value.map_or(Self::Unavailable(Why::Malformed(expected)), Self::Available)
    }
}

impl<T: Copy> Reading<T> {
    /// The value, when there is one, without taking the reading apart.
    pub fn get(&self) -> Option<T> {
        match self {
            Self::Available(value) => Some(*value),
            Self::Unavailable(_) => None,
        }
    }
}

impl<T> From<io::Result<T>> for Reading<T> {
    fn from(result: io::Result<T>) -> Self {
        match result {
            Ok(value) => Self::Available(value),
            Err(error) => Self::Unavailable(Why::from(&error)),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available(value) => value.fmt(f),
            Self::Unavailable(why) => write!(f, "unavailable, because {why}"),
        }
    }
}

impl From<&io::Error> for Why {
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error() {
            // A process, a file or a socket option that does not exist. EOPNOTSUPP: TCP_INFO of a unix socket.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Self::Absent,
            Some(libc::EACCES | libc::EPERM) => Self::Denied,
            Some(errno) => Self::Failed(errno),
            None => match error.kind() {
                io::ErrorKind::InvalidData => Self::Malformed("the kernel's form"),
                _ => Self::Failed(0),
            },
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it does not exist here"),
            Self::Denied => f.write_str("permission was denied"),
            Self::Malformed(expected) => write!(f, "it is not {expected}"),
            Self::TooLong => f.write_str("it is longer than what is read"),
            Self::NotAsked(reason) => f.write_str(reason),
            Self::Failed(0) => f.write_str("reading failed"),
            Self::Failed(errno) => write!(f, "reading failed: {}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_value_says_why() {
        let denied = Reading::<u64>::from(Err::<u64, _>(io::Error::from_raw_os_error(libc::EACCES)));
        assert_eq!(denied.to_string(), "unavailable, because permission was denied");
        let absent = Reading::<u64>::from(Err::<u64, _>(io::Error::from_raw_os_error(libc::ENOENT)));
        assert_eq!(absent.why(), Some(Why::Absent));
        assert_eq!(Reading::Available(0_u64).to_string(), "0");
    }
}
