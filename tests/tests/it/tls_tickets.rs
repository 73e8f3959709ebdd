//! Session tickets whose keys are in files: nodes that share them resume each other's sessions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tests::certificates::{Files, Made};
use tests::origin::Origin;
use tests::programs::installed;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder, run, write_config};
use tests::tls::Tls;

const ASK: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
const TICKETS: &str = "tidegate_tls_tickets_total";

/// A key of its own, as `openssl rand 80` would make it.
fn key(folder: &Path, name: &str, seed: u8) -> PathBuf {
    let file = folder.join(name);
    let bytes: Vec<u8> = (0..80).map(|i: u8| i.wrapping_mul(7).wrapping_add(seed)).collect();
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// A node with this certificate and these keys.
fn setup(origin: &Origin, certificate: &Files, keys: &[&PathBuf]) -> Setup {
    let keys: Vec<_> = keys.iter().map(|key| format!("'{}'", key.display())).collect();
    Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{}]", certificate.entry()))
        .set("tls.test.reload_every", "'100ms'")
        .set("tls.test.ticket_keys", &format!("[{}]", keys.join(", ")))
}

/// Asks once; whether an earlier session was resumed.
#[track_caller]
fn is_resumed(client: &Tls, tidegate: &Tidegate) -> bool {
    let connection = client.connect(tidegate.address(), "www.example.com").unwrap();
    let is_resumed = connection.is_resumed();
    assert!(connection.ask_once(ASK).ends_with("hello"));
    is_resumed
}

#[track_caller]
fn counted(tidegate: &Tidegate, result: &str, count: u64) {
    let labels = format!(r#"result="{result}""#);
    assert_eq!(tidegate.metric(TICKETS, &labels), count, "{result}");
}

#[test]
fn nodes_with_the_same_keys_resume_each_others_sessions() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let (old, new, strange) = (key(&path, "old", 1), key(&path, "new", 2), key(&path, "strange", 3));
    let before = setup(&origin, &certificate, &[&old]).start();
    let during = setup(&origin, &certificate, &[&new, &old]).start();
    let stranger = setup(&origin, &certificate, &[&strange]).start();
    for (client, version) in [(Tls::offering(&[]), "1.3"), (Tls::old(), "1.2")] {
        assert!(!is_resumed(&client, &before), "{version}: the first time");
        // Another process, for which that key is the older one already.
        assert!(is_resumed(&client, &during), "{version}");
        // It has given the client another ticket, by the newer key: unknown here, which means a full handshake.
        assert!(is_resumed(&client, &during), "{version}");
        assert!(
            !is_resumed(&client, &before),
            "{version}: sealed by a key that is not here"
        );
        assert!(!is_resumed(&client, &stranger), "{version}");
        let of_version = |resumed: &str| format!(r#"version="{version}",resumed="{resumed}""#);
        let handshakes =
            |tidegate: &Tidegate, resumed: &str| tidegate.metric("tidegate_tls_handshakes_total", &of_version(resumed));
        assert_eq!(
            (handshakes(&during, "yes"), handshakes(&during, "no")),
            (2, 0),
            "{version}"
        );
        assert_eq!(
            (handshakes(&before, "yes"), handshakes(&before, "no")),
            (0, 2),
            "{version}"
        );
        assert_eq!(handshakes(&stranger, "no"), 1, "{version}");
    }
    counted(&during, "older_key", 2);
    counted(&during, "current_key", 2);
    counted(&before, "unknown_key", 2);
    counted(&stranger, "unknown_key", 2);
    counted(&stranger, "bad", 0);
}

#[test]
fn keys_that_change_are_taken_over_and_bad_ones_are_not() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let file = key(&path, "current", 1);
    let tidegate = setup(&origin, &certificate, &[&file]).start();
    let reloads = |result: &str, count: u64| {
        let labels = format!(r#"kind="ticket_keys",result="{result}""#);
        tidegate.expect_metric_of_at_least("tidegate_file_reloads_total", &labels, count);
    };
    let client = Tls::offering(&[]);
    assert!(!is_resumed(&client, &tidegate));
    fs::write(&file, "short").unwrap();
    reloads("failed", 1);
    tidegate.front.process.wait_for_line("what is wrong is told", |line| {
        line.contains("current: has 5 bytes; a key is 48 or 80 random ones")
    });
    assert!(is_resumed(&client, &tidegate), "the old key stays");
    key(&path, "current", 2);
    reloads("taken_over", 1);
    assert!(
        !is_resumed(&client, &tidegate),
        "nothing opens what the old key has sealed"
    );
    assert!(is_resumed(&client, &tidegate));
}

#[test]
fn keys_that_cannot_be_used_are_named_before_anything_is_bound() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let (good, short) = (key(&path, "good", 1), path.join("short"));
    fs::write(&short, [7; 47]).unwrap();
    let missing = path.join("missing");
    for (keys, told) in [
        (vec![&good, &short], "short: has 47 bytes"),
        (vec![&missing], "missing: No such file"),
    ] {
        let config = write_config(&path, &setup(&origin, &certificate, &keys).in_process());
        for (arguments, code) in [(["check", "-c", &config], 1), (["run", "-c", &config], 78)] {
            let outcome = run(&arguments);
            assert_eq!(outcome.code, code, "{}", outcome.text());
            assert!(outcome.stderr.contains(told), "{}", outcome.text());
        }
    }
    let without = setup(&origin, &certificate, &[&good]).set("tls.test.session_tickets", "false");
    let outcome = run(&["check", "-c", &write_config(&path, &without.in_process())]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("tls.test.ticket_keys"), "{}", outcome.text());

    let config = write_config(&path, &setup(&origin, &certificate, &[&good]).in_process());
    assert_eq!(run(&["check", "-c", &config]).stderr, "");
    fs::set_permissions(&good, fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = run(&["check", "-c", &config]);
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    assert!(
        outcome.stderr.contains("warning: tls.test.ticket_keys") && outcome.stderr.contains("chmod o-r"),
        "{}",
        outcome.text()
    );
}

#[test]
fn openssl_resumes_at_another_node() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let certificate = Made::ecdsa(&["www.example.com"]).write(&path, "www");
    let key = key(&path, "key", 1);
    let nodes = [(); 2].map(|()| setup(&origin, &certificate, &[&key]).start());
    let session = path.join("session").display().to_string();
    for (version, expected) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for (node, option, kind) in [(&nodes[0], "-sess_out", "New"), (&nodes[1], "-sess_in", "Reused")] {
            let Some(mut openssl) = installed("openssl") else {
                return;
            };
            openssl.args(["s_client", version, "-servername", "www.example.com", "-ign_eof"]);
            openssl.args(["-connect", node.address(), option, &session]);
            let text = piped(openssl, ASK);
            let line = format!("{kind}, {expected}");
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
}

/// What a program says when it is told `input`.
fn piped(mut command: std::process::Command, input: &str) -> String {
    use std::io::Write as _;
    use std::process::Stdio;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}
