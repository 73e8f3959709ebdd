//! File descriptors: `RLIMIT_NOFILE` raised to the hard limit, and compared with what the configuration may need.
//!
//! Called once, at the start (getrlimit(2)).

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `RLIMIT_NOFILE`, in descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// What the process may open now.
    pub soft: u64,
    /// What the soft limit can be raised to without privilege.
    pub hard: u64,
}

/// What a configuration can have open at one time, in descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorNeed {
    /// Client connections (`limits.connections_max`).
    pub clients: u64,
    /// Connections to the servers of all backends together.
    pub backends: u64,
    /// Listening sockets: listeners times workers.
    pub listening: u64,
}

/// The limit is lower than the configuration may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RLIMIT_NOFILE is {have}, but the configured limits of connections can need {need} descriptors")]
pub struct TooFewDescriptors {
    /// Descriptors that can be needed.
    pub need: u64,
    /// Descriptors there can be.
    pub have: u64,
}

/// Raises the soft limit to the hard one; the limit as it is then.
///
/// # Errors
/// The system's, when the limit can be neither read nor set.
pub fn raise() -> io::Result<DescriptorLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(DescriptorLimit { soft: hard, hard })
}

impl DescriptorLimit {
    /// Whether `need` fits below the soft limit.
    ///
    /// # Errors
    /// It does not.
    pub fn check(self, need: DescriptorNeed) -> Result<(), TooFewDescriptors> {
        let need = need.total();
        if need <= self.soft {
            Ok(())
        } else {
            Err(TooFewDescriptors { need, have: self.soft })
        }
    }
}

impl DescriptorNeed {
    /// All of it, with what the process needs for itself.
    pub fn total(self) -> u64 {
        // Each listening socket is there twice: owned by `net::listener::Bound`, and as the duplicate of its worker.
        let listening = self.listening.saturating_mul(2);
        [self.clients, self.backends, listening]
            .into_iter()
            .fold(OWN_DESCRIPTORS, u64::saturating_add)
    }
}

/// Standard streams, logs, epoll instances and wakers, files under /proc, certificates while they are read.
const OWN_DESCRIPTORS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_is_compared_with_the_soft_limit() {
        let need = DescriptorNeed {
            clients: 10_000,
            backends: 1_000,
            listening: 8,
        };
        let limit = |soft| DescriptorLimit { soft, hard: u64::MAX };
        for (soft, expected) in [
            (11_272, Ok(())),
            (
                11_271,
                Err(TooFewDescriptors {
                    need: 11_272,
                    have: 11_271,
                }),
            ),
        ] {
            assert_eq!(limit(soft).check(need), expected);
        }
    }

    #[test]
    fn an_absurd_need_is_refused_and_does_not_overflow() {
        let need = DescriptorNeed {
            clients: u64::MAX,
            backends: u64::MAX,
            listening: u64::MAX,
        };
        let limit = DescriptorLimit { soft: 1024, hard: 1024 };
        assert!(limit.check(need).is_err());
    }

    #[test]
    fn raising_brings_the_soft_limit_to_the_hard_one() {
        let limit = raise().unwrap();
        assert_eq!(limit.soft, limit.hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit.hard, limit.hard));
    }
}
