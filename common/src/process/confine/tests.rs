//! Each in a process of its own, since there is no way back.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::*;
use crate::process::own_process::in_own_process;

const ALL: ConfineSettings = ConfineSettings {
    privileges: Wanted::Try,
    files: Wanted::Try,
    calls: Wanted::Try,
};

fn status(line: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.trim().to_owned()
}

#[test]
fn what_is_given_up_is_gone_for_every_thread() {
    if !in_own_process(
        "process::confine::tests::what_is_given_up_is_gone_for_every_thread",
        None,
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
    for directory in [&inside, &outside] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("a"), "text").unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let access = FileAccess {
        read: vec![inside.clone(), "/proc".into(), "/no/such/path".into()],
        write: vec![inside.clone()],
        remove: Vec::new(),
    };
    let [privileges, files, calls] = confine(&ALL, &access).unwrap();
    let look = move || {
        if privileges.state == State::On {
            assert_eq!([status("CapEff:"), status("CapPrm:")], ["0000000000000000"; 2]);
            assert_eq!(status("NoNewPrivs:"), "1");
        }
        if files.state.word() == "on" {
            assert_eq!(fs::read_to_string(inside.join("a")).unwrap(), "text");
            fs::write(inside.join("b"), "new").unwrap();
            assert!(fs::remove_file(inside.join("b")).is_err(), "nothing is removed");
            assert!(fs::read_to_string(outside.join("a")).is_err());
            assert!(fs::write(outside.join("b"), "new").is_err());
            assert!(fs::read_to_string("/etc/passwd").is_err());
        }
        if calls.state == State::On {
            assert_eq!(status("Seccomp:"), "2");
            assert!(Command::new("/bin/true").status().is_err(), "no programs");
            assert!(TcpListener::bind("127.0.0.1:0").is_err(), "no further listeners");
        }
        let address = listener.local_addr().unwrap();
        let connected = TcpStream::connect(address).unwrap();
        drop((listener.accept().unwrap(), connected));
    };
    std::thread::spawn(look).join().unwrap();
}

#[test]
fn what_is_off_is_left_alone() {
    if !in_own_process("process::confine::tests::what_is_off_is_left_alone", None) {
        return;
    }
    let before = ["CapEff:", "NoNewPrivs:", "Seccomp:"].map(status);
    let off = ConfineSettings {
        privileges: Wanted::Off,
        files: Wanted::Off,
        calls: Wanted::Off,
    };
    let layers = confine(&off, &FileAccess::default()).unwrap();
    assert!(layers.iter().all(|layer| layer.state == State::Off));
    assert_eq!(["CapEff:", "NoNewPrivs:", "Seccomp:"].map(status), before);
}

#[test]
fn what_is_to_be_enforced_and_is_not_to_be_had_is_an_error() {
    let fails = || Err("the kernel is too old".to_owned());
    let tried = layer("landlock", Wanted::Try, fails).unwrap();
    assert_eq!(tried.state.to_string(), "unavailable: the kernel is too old");
    let error = layer("landlock", Wanted::Enforce, fails).unwrap_err();
    assert_eq!(error.to_string(), "landlock = \"enforce\": the kernel is too old");
}
