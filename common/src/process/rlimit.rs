//! File descriptors: `RLIMIT_NOFILE` raised to the hard limit.
//!
//! Called once, at the start (getrlimit(2)); whether that is enough is said by the preflight (`kernel::preflight`).

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

/// The limit as it is.
///
/// # Errors
/// The system's.
pub fn read() -> io::Result<DescriptorLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(DescriptorLimit { soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_brings_the_soft_limit_to_the_hard_one() {
        let limit = raise().unwrap();
        assert_eq!(limit.soft, limit.hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit.hard, limit.hard));
    }
}
