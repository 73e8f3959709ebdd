//! Runs one test alone in a process of its own: for tests that change limits or users of their process.
//!
//! Between fork and exec the new process holds every descriptor of this one, so that a socket which a test just closed
//! lives on for a moment; tests that mind hold [`none_starts`].

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use parking_lot::{RwLock, RwLockReadGuard};

/// Whether this is the process of its own. If not, runs the test `name` (its path in the crate) in one, as the user
/// `uid` where that is given, and fails if it fails there.
pub(crate) fn in_own_process(name: &str, uid: Option<u32>) -> bool {
    if env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(MARK, "1");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = {
        let _starting = STARTING.write();
        command.spawn().unwrap()
    };
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complained}");
    assert!(told.contains("1 passed"), "no test named {name}:\n{told}");
    false
}

/// No process starts while this is held.
pub(crate) fn none_starts() -> RwLockReadGuard<'static, ()> {
    STARTING.read()
}

static STARTING: RwLock<()> = RwLock::new(());

const MARK: &str = "TIDEGATE_TEST_OWN_PROCESS";
