//! Starts that fail on this machine: one clear line, the right exit code, nothing half-started.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use tests::process::{Outcome, run_to_end};
use tests::programs::skipped;
use tests::setup::Setup;
use tests::sys::is_root;
use tests::tidegate::{folder, run, write_config};

/// Exit codes of sysexits.h that tidegate documents.
const UNAVAILABLE: i32 = 69;
const NO_PERMISSION: i32 = 77;
const CONFIGURATION: i32 = 78;

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let Some((_folder, path)) = folder_of_nobody() else {
        return;
    };
    let file = write_config(&path, &Setup::of("127.0.0.1:9").in_process());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    let outcome = run_as_nobody(&path, &["run", "-c", &file]);
    assert!(
        [NO_PERMISSION, CONFIGURATION, 66].contains(&outcome.code),
        "{} {}",
        outcome.code,
        outcome.text()
    );
    outcome.expect_one_line_about(&file);
}

#[test]
fn a_port_in_use_is_told() {
    let (_folder, path) = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["front.listen", "admin.listen"] {
        let value = if key == "front.listen" {
            format!("['127.0.0.1:0', '{address}']")
        } else {
            format!("'{address}'")
        };
        let outcome = run(&[
            "run",
            "-c",
            &write_config(&path, &Setup::of("127.0.0.1:9").set(key, &value).in_process()),
        ]);
        assert_eq!(outcome.code, UNAVAILABLE, "{key}: {}", outcome.text());
        outcome.expect_one_line_about(&address);
        assert!(
            !outcome.stderr.contains(" ready"),
            "nothing is half-started: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_port_without_permission_is_told() {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if start.trim().parse().unwrap_or(1024) < 2 {
        return skipped("no permission for a port: this machine lets everybody bind every port");
    }
    let Some((_folder, path)) = folder_of_nobody() else {
        return;
    };
    let file = write_config(
        &path,
        &Setup::of("127.0.0.1:9")
            .set("front.listen", "['127.0.0.1:1']")
            .in_process(),
    );
    let outcome = run_as_nobody(&path, &["run", "-c", &file]);
    assert_eq!(outcome.code, NO_PERMISSION, "{}", outcome.text());
    outcome.expect_one_line_about("127.0.0.1:1");
}

#[test]
fn an_address_of_another_machine_is_told() {
    let (_folder, path) = folder();
    let file = write_config(
        &path,
        &Setup::of("127.0.0.1:9")
            .set("front.listen", "['192.0.2.1:0']")
            .in_process(),
    );
    let outcome = run(&["run", "-c", &file]);
    assert!(
        [UNAVAILABLE, CONFIGURATION].contains(&outcome.code),
        "{} {}",
        outcome.code,
        outcome.text()
    );
    outcome.expect_one_line_about("192.0.2.1:0");
}

#[test]
fn an_unknown_user_is_told() {
    if !is_root() {
        return skipped("an unknown user: only root can become another");
    }
    let (_folder, path) = folder();
    let file = write_config(
        &path,
        &Setup::of("127.0.0.1:9")
            .set("process.user", "'no-such-user'")
            .in_process(),
    );
    let outcome = run(&["run", "-c", &file]);
    assert!(
        [CONFIGURATION, 67].contains(&outcome.code),
        "{} {}",
        outcome.code,
        outcome.text()
    );
    outcome.expect_one_line_about("no-such-user");
}

#[test]
fn an_origin_name_without_an_address_is_told() {
    let (_folder, path) = folder();
    let file = write_config(&path, &Setup::of("nonexistent.invalid:80").in_process());
    let outcome = run(&["run", "-c", &file]);
    assert!(
        [UNAVAILABLE, CONFIGURATION].contains(&outcome.code),
        "{} {}",
        outcome.code,
        outcome.text()
    );
    outcome.expect_one_line_about("nonexistent.invalid");
    assert_eq!(run(&["check", "-c", &file]).code, 0, "check asks no name server");
}

/// A folder with the binary in it that the user `nobody` can get at.
fn folder_of_nobody() -> Option<(tempfile::TempDir, PathBuf)> {
    if !is_root() {
        skipped("what an unprivileged user may not do: the tests are not run by root, who could become one");
        return None;
    }
    let (folder, path) = folder();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let binary = path.join("tidegate");
    // By another process: one that a test beside this forks now would hold a file open for writing that we write, and what
    // is open for writing cannot be run (ETXTBSY).
    let copied = std::process::Command::new("cp")
        .arg(tests::binary::tidegate())
        .arg(&binary)
        .status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    Some((folder, path))
}

fn run_as_nobody(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = std::process::Command::new(folder.join("tidegate"));
    command.args(arguments).uid(65534).gid(65534).current_dir(folder);
    run_to_end(command)
}
