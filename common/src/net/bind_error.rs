//! Why a listener could not be made: one line for the operator, and the exit code of the process (sysexits.h).
//!
//! Made by `net::listener`, printed by whoever starts the process.

use std::io;

use nix::errno::Errno;

/// One listener could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listener}: {cause}")]
pub struct BindError {
    /// The listener, as configured.
    pub listener: String,
    /// What was in the way.
    pub cause: BindCause,
}

/// What was in the way of a listener.
#[derive(Debug, thiserror::Error)]
pub enum BindCause {
    /// Somebody listens there.
    #[error("the address is in use by another process or listener")]
    InUse,
    /// A port below `net.ipv4.ip_unprivileged_port_start`, or a firewall of the kernel.
    #[error("no permission; ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE")]
    PortPermission,
    /// The directory of a unix socket does not let us.
    #[error("no permission to make or replace the socket file")]
    FilePermission,
    /// The address is another machine's.
    #[error("no interface of this machine has the address")]
    AddressNotHere,
    /// A kernel without IPv6, most often.
    #[error("this machine does not have the address family")]
    FamilyMissing,
    /// Something that is not a socket stands at the path; it is left alone.
    #[error("the path exists and is not a socket")]
    NotASocket,
    /// The directory of the path does not exist.
    #[error("the directory of the path does not exist")]
    NoDirectory,
    /// `sun_path` holds 107 bytes.
    #[error("the path is longer than a unix socket's may be")]
    PathTooLong,
    /// Anything else.
    #[error("{step}: {source}")]
    Other {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    /// The exit code of a process that ends because of this (sysexits.h).
    pub const fn exit_code(&self) -> u8 {
        match self.cause {
            BindCause::InUse => EX_UNAVAILABLE,
            BindCause::PortPermission | BindCause::FilePermission => EX_NOPERM,
            BindCause::AddressNotHere
            | BindCause::FamilyMissing
            | BindCause::NotASocket
            | BindCause::NoDirectory
            | BindCause::PathTooLong => EX_CONFIG,
            BindCause::Other { .. } => EX_OSERR,
        }
    }
}

impl BindCause {
    /// What `error`, met while doing `step` for a TCP socket, means.
    pub(super) fn tcp(step: &'static str, error: io::Error) -> Self {
        match errno(&error) {
            Some(Errno::EADDRINUSE) => Self::InUse,
            Some(Errno::EACCES | Errno::EPERM) => Self::PortPermission,
            Some(Errno::EADDRNOTAVAIL) => Self::AddressNotHere,
            Some(Errno::EAFNOSUPPORT) => Self::FamilyMissing,
            _ => Self::Other { step, source: error },
        }
    }

    /// What `error`, met while doing `step` for a unix socket, means.
    pub(super) fn unix(step: &'static str, error: io::Error) -> Self {
        match errno(&error) {
            Some(Errno::EADDRINUSE) => Self::InUse,
            Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Self::FilePermission,
            Some(Errno::ENOENT | Errno::ENOTDIR) => Self::NoDirectory,
            Some(Errno::ENAMETOOLONG) => Self::PathTooLong,
            _ => Self::Other { step, source: error },
        }
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

const EX_UNAVAILABLE: u8 = 69;
const EX_OSERR: u8 = 71;
const EX_NOPERM: u8 = 77;
const EX_CONFIG: u8 = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_line_and_its_exit_code() {
        type Classify = fn(&'static str, io::Error) -> BindCause;
        let tcp: Classify = BindCause::tcp;
        let unix: Classify = BindCause::unix;
        for (classify, errno, exit_code, part) in [
            (tcp, Errno::EADDRINUSE, 69, "in use"),
            (tcp, Errno::EACCES, 77, "ip_unprivileged_port_start"),
            (tcp, Errno::EADDRNOTAVAIL, 78, "no interface of this machine"),
            (tcp, Errno::EAFNOSUPPORT, 78, "address family"),
            (tcp, Errno::EMFILE, 71, "socket: Too many open files"),
            (unix, Errno::EADDRINUSE, 69, "in use"),
            (unix, Errno::EACCES, 77, "socket file"),
            (unix, Errno::EROFS, 77, "socket file"),
            (unix, Errno::ENOENT, 78, "directory"),
            (unix, Errno::ENOMEM, 71, "socket: Cannot allocate memory"),
        ] {
            let error = BindError {
                listener: "here".to_owned(),
                cause: classify("socket", errno.into()),
            };
            assert_eq!(error.exit_code(), exit_code, "{error}");
            let line = error.to_string();
            assert!(
                line.starts_with("cannot listen on here: ") && line.contains(part),
                "{line}"
            );
            assert!(!line.contains('\n'));
        }
    }
}
