//! The file of a unix socket: a stale one makes way, a live one or another kind of file does not, and ours is removed.
//!
//! Called by `net::listener`.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::bind_error::BindCause;

/// The file of a socket that this process bound.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Binds `socket` to `path` with the permission bits `mode`.
    ///
    /// Call it before `listen()`: until then nobody can connect, so nobody gets in by wider bits.
    pub(super) fn bind(socket: &Socket, path: &Path, mode: u32) -> Result<Self, BindCause> {
        let address = SockAddr::unix(path).map_err(|_| BindCause::PathTooLong)?;
        make_way(path, &address)?;
        socket.bind(&address).map_err(|e| BindCause::unix("bind", e))?;
        let metadata = fs::symlink_metadata(path).map_err(|e| BindCause::unix("stat", e))?;
        let file = Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
            Ok(()) => Ok(file),
            Err(error) => {
                file.remove();
                Err(BindCause::unix("chmod", error))
            }
        }
    }

    /// Removes the file, unless something else took its place (a successor's socket, say).
    pub(super) fn remove(&self) {
        let is_ours = |metadata: &fs::Metadata| metadata.dev() == self.device && metadata.ino() == self.inode;
        if !fs::symlink_metadata(&self.path).is_ok_and(|metadata| is_ours(&metadata)) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a socket file could not be removed");
        }
    }
}

/// Removes what a dead process left at `path`.
fn make_way(path: &Path, address: &SockAddr) -> Result<(), BindCause> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindCause::NotASocket),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindCause::unix("stat", error)),
    }
    if is_live(address)? {
        return Err(BindCause::InUse);
    }
    fs::remove_file(path).map_err(|e| BindCause::unix("remove the stale socket file", e))
}

/// Whether somebody listens at `address`.
fn is_live(address: &SockAddr) -> Result<bool, BindCause> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None);
    match probe.and_then(|probe| probe.connect(address)) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            // Nobody holds the socket, or it went away meanwhile.
            Some(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
            // Its accept queue is full, or it is not a stream socket: alive either way.
            Some(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(true),
            _ => Err(BindCause::unix("connect to the socket file", error)),
        },
    }
}
