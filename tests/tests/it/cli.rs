//! The command line apart from `run` and `check`: version, completions, help, demo.

use tests::client::once;
use tests::tidegate::{Node, run};

#[test]
fn the_version_is_told() {
    let outcome = run(&["--version"]);
    assert_eq!(outcome.code, 0);
    let text = outcome.stdout.trim();
    assert!(text.starts_with("tidegate 0.") && text.lines().count() == 1, "{text}");
    assert!(text.contains('('), "with the revision: {text}");
}

#[test]
fn every_command_has_help() {
    for command in [
        "run",
        "check",
        "doctor",
        "demo",
        "purge",
        "explain",
        "reload",
        "backend",
        "completions",
    ] {
        let outcome = run(&[command, "--help"]);
        assert_eq!(outcome.code, 0, "{command}");
        assert!(
            outcome.stdout.contains("Usage: tidegate"),
            "{command}: {}",
            outcome.stdout
        );
    }
    let help = run(&["--help"]).stdout;
    assert!(
        [
            "run",
            "check",
            "doctor",
            "demo",
            "purge",
            "explain",
            "reload",
            "backend",
            "completions"
        ]
        .iter()
        .all(|command| help.contains(command)),
        "{help}"
    );
}

#[test]
fn completions_are_written_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&["completions", shell]);
        assert_eq!(outcome.code, 0, "{shell}");
        assert!(
            outcome.stdout.contains("tidegate") && outcome.stdout.contains("check"),
            "{shell}: {}",
            outcome.stdout
        );
    }
    assert_ne!(run(&["completions", "no-such-shell"]).code, 0);
}

#[test]
fn the_demo_answers_and_needs_nothing_else() {
    let node = Node::run(&["demo", "--listen", "127.0.0.1:0"]);
    let address = node.address("front");
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let first = once(address, &request);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(
        first.field("content-type").starts_with("text/html") && first.content.bytes > 100,
        "{first:?}"
    );
    let second = once(address, &request);
    assert!(second.is_hit(), "{second:?}");
    let told = node.process.output() + &node.process.log();
    assert!(
        told.contains("curl") && told.contains("wrk") && told.contains(address),
        "what to try:\n{told}"
    );
}
