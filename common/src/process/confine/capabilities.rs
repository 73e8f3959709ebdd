//! No capabilities, and none to be had: capset(2), `PR_CAP_AMBIENT`, `PR_SET_NO_NEW_PRIVS`.

use std::io;

use nix::sys::prctl;

/// Gives up every capability of the calling thread, and the way to get new ones by running a program.
///
/// # Errors
/// The system's, with the step that it refused.
#[expect(unsafe_code, reason = "neither std nor nix has capset() and PR_CAP_AMBIENT")]
pub(super) fn drop_all() -> Result<(), String> {
    no_new_privileges()?;
    // SAFETY: this prctl() takes numbers and touches no memory of ours. Kernels before 4.3 have no ambient capabilities.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let header = Header {
        version: VERSION_3,
        pid: CALLING_THREAD,
    };
    let none = [Set::default(); 2];
    // SAFETY: both point to what capset(2) reads: a header of version 3, and the two sets that go with it; it writes to the
    // header only when that version is unknown, which it has not been since 2.6.26.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(format!("capset: {}", io::Error::last_os_error())),
    }
}

/// No program that is run from here has more privileges than this one.
///
/// # Errors
/// The system's (before 3.5).
pub(super) fn no_new_privileges() -> Result<(), String> {
    prctl::set_no_new_privs().map_err(|errno| format!("PR_SET_NO_NEW_PRIVS: {errno}"))
}

/// `_LINUX_CAPABILITY_VERSION_3`
const VERSION_3: u32 = 0x2008_0522;
const CALLING_THREAD: i32 = 0;

/// `struct __user_cap_header_struct`
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: 32 capabilities; two of them are all.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
