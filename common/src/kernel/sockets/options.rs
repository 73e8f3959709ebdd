//! Reading socket options that socket2 has no word for, and the limit of open files.
//!
//! With `unsafe`, for two system calls that write into memory of ours. What the bytes mean is said elsewhere (`tcp_info.rs`).
#![expect(
    unsafe_code,
    reason = "getsockopt(TCP_INFO, SO_MEMINFO, SO_COOKIE) and getrlimit have no safe wrapper here"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SO_MEMINFO` (≥ 4.12): nine 32-bit numbers, the last of them `sk_drops` (`include/uapi/linux/sock_diag.h`).
const SO_MEMINFO: libc::c_int = 55;
const SK_MEMINFO_DROPS: usize = 8;

/// The bytes of `TCP_INFO`, as many as this kernel gives (104 on 3.10, more on later ones).
///
/// # Errors
/// The system's; `EOPNOTSUPP` on a unix socket.
pub fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<([u8; 256], usize)> {
    let mut bytes = [0; 256];
    let length = get(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
    Ok((bytes, length))
}

/// `sk_drops`: what this socket threw away, a superset of lost handshakes on a listener (HANDSHAKE §3).
///
/// # Errors
/// The system's; `ENOPROTOOPT` before 4.12.
pub fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes = [0; 64];
    let length = get(socket, libc::SOL_SOCKET, SO_MEMINFO, &mut bytes)?;
    let at = SK_MEMINFO_DROPS * 4;
    let word = bytes
        .get(at..at + 4)
        .filter(|_| length >= at + 4)
        .and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number that names this socket for its whole life, the same as in `sock_diag`.
///
/// # Errors
/// The system's; `ENOPROTOOPT` before 4.12.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = [0; 8];
    match get(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut bytes)? {
        8 => Ok(u64::from_ne_bytes(bytes)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Limits of open files of this process (`RLIMIT_NOFILE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What counts now.
    pub soft: u64,
    /// How far the process may raise it itself.
    pub hard: u64,
}

/// The limits of open files.
///
/// # Errors
/// The system's.
pub fn open_files() -> io::Result<OpenFiles> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a whole `rlimit` that outlives the call, which writes no more than that.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(OpenFiles {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

/// Reads an option into `bytes`; gives how many of them the kernel wrote.
fn get<const N: usize>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    bytes: &mut [u8; N],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(N).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open while it is borrowed; `bytes` has room for `length` = N bytes and both outlive the
    // call, which writes at most `length` bytes, all of them valid as `u8`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            bytes.as_mut_ptr().cast::<libc::c_void>(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(length).map_err(io::Error::other)?.min(N))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    use super::super::super::reading::{Reading, Why};
    use super::*;

    #[test]
    fn a_tcp_listener_has_all_options_and_a_unix_one_says_that_it_has_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let (_, length) = tcp_info(listener.as_fd()).expect("TCP_INFO");
        assert!(length >= 104, "{length}");
        assert_eq!(drops(listener.as_fd()).expect("SO_MEMINFO"), 0);
        assert_eq!(
            cookie(listener.as_fd()).expect("a cookie"),
            cookie(listener.as_fd()).expect("a cookie")
        );

        let dir = tempfile::tempdir().expect("a directory");
        let unix = UnixListener::bind(dir.path().join("s")).expect("bound");
        let reading = Reading::from(tcp_info(unix.as_fd())).map(|_| ());
        assert_eq!(reading, Reading::Unavailable(Why::Absent));
    }

    #[test]
    fn the_limit_of_open_files_is_read() {
        let limit = open_files().expect("a limit");
        assert!(limit.soft > 0 && limit.soft <= limit.hard);
    }
}
