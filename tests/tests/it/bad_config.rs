//! Configurations and command lines that cannot be: every problem at once with its place, and the right exit code.
//!
//! What only shows when tidegate starts on this machine: `bad_start.rs`.

use tests::process::Outcome;
use tests::setup::Setup;
use tests::tidegate::{folder, run, write_config};

/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: i32 = 78;

fn good() -> String {
    Setup::of("127.0.0.1:9").in_process()
}

#[test]
fn check_accepts_a_good_file_and_prints_what_holds() {
    let (_folder, path) = folder();
    let file = write_config(&path, &good());
    let outcome = run(&["check", "-c", &file]);
    assert_eq!(outcome.code, 0, "{}", outcome.text());

    let printed = run(&["check", "-c", &file, "--print"]);
    assert_eq!(printed.code, 0, "{}", printed.text());
    for key in [
        "workers = 2",
        "header_timeout",
        "idle_timeout",
        "connect_timeout",
        "www.example.com",
        "64MiB",
    ] {
        assert!(printed.stdout.contains(key), "{key} in\n{}", printed.stdout);
    }
    // What is printed is a configuration again, and the same one.
    let again = run(&["check", "-c", &write_config(&path, &printed.stdout), "--print"]);
    assert_eq!((again.code, again.stdout), (0, printed.stdout), "{}", again.stderr);
}

#[test]
#[rustfmt::skip]
fn each_problem_is_told_with_its_place() {
    let site = "[[site]]\nhosts = ['a.example']\norigin = 'o'\n";
    let origin = "[origin.o]\nservers = ['127.0.0.1:1']\n";
    let front = "[front]\nlisten = ['127.0.0.1:0']\n";
    let whole = format!("{front}{origin}{site}");
    // Lines of `whole`: 1 [front], 2 listen, 3 [origin.o], 4 servers, 5 [[site]], 6 hosts, 7 origin.
    for (name, config, line, parts) in [
        ("syntax", whole.replace("hosts = [", "hosts == ["), 6, &[][..]),
        ("unknown section", format!("{whole}[frnt]\n"), 8, &["frnt", "front"]),
        ("unknown key", whole.replace("listen =", "listn ="), 2, &["listn", "listen"]),
        ("unknown origin", whole.replace("origin = 'o'", "origin = 'p'"), 7, &["site[0].origin", "p"]),
        ("number without a unit", format!("{whole}[cache]\nmemory = 64\n"), 9, &["cache.memory", "64"]),
        ("wrong unit", format!("{whole}[cache]\nmemory = '64MB'\n"), 9, &["cache.memory", "MiB"]),
        ("time without a unit", whole.replace("[origin.o]", "idle_timeout = 30\n[origin.o]"), 3, &["front.idle_timeout"]),
        ("not an address", whole.replace("127.0.0.1:0", "127.0.0.1"), 2, &["front.listen", "127.0.0.1"]),
        ("not a server", whole.replace("127.0.0.1:1", "127.0.0.1:99999"), 4, &["origin.o.servers", "99999"]),
        ("no servers", whole.replace("['127.0.0.1:1']", "[]"), 4, &["origin.o.servers"]),
        ("bad expression", format!("{whole}[[site.route]]\nregex = '('\n"), 9, &["site[0].route[0].regex"]),
        ("same host twice", format!("{whole}{site}"), 9, &["site[1].hosts", "a.example"]),
        ("two defaults", format!("{whole}default = true\n[[site]]\nhosts = ['b']\norigin = 'o'\ndefault = true\n"), 12, &["site[1].default"]),
        ("zero workers", format!("{whole}[process]\nworkers = 0\n"), 9, &["process.workers"]),
        ("not a choice", whole.replace("[origin.o]", "unknown_host = 'sometimes'\n[origin.o]"), 3, &["front.unknown_host", "misdirected"]),
    ] {
        let (_folder, path) = folder();
        let file = write_config(&path, &config);
        let outcome = run(&["check", "-c", &file]);
        assert_eq!(outcome.code, 1, "{name}: {}", outcome.text());
        expect_in_one_line(name, &outcome, &format!("{file}:{line}"), parts);

        let outcome = run(&["run", "-c", &file]);
        assert_eq!(outcome.code, CONFIGURATION, "{name}: {}", outcome.text());
        expect_in_one_line(name, &outcome, &format!("{file}:{line}"), parts);
    }
}

fn expect_in_one_line(name: &str, outcome: &Outcome, place: &str, parts: &[&str]) {
    let text = outcome.text();
    let is_there = |line: &str| {
        let after = line
            .split(place)
            .nth(1)
            .filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        after.is_some() && parts.iter().all(|part| line.contains(part))
    };
    let found = text.lines().any(is_there);
    assert!(found, "{name}: {place} and {parts:?} in one line of\n{text}");
}

#[test]
fn all_problems_are_told_at_once() {
    let (_folder, path) = folder();
    let config = "[front]\nlisten = ['nowhere']\nidle_timeout = 5\n[origin.o]\nserver = ['127.0.0.1:1']\n\
                  [[site]]\nhosts = ['a.example']\norigin = 'p'\n[cache]\nmemory = '1GB'\n";
    let file = write_config(&path, config);
    let outcome = run(&["check", "-c", &file]);
    assert_eq!(outcome.code, 1, "{}", outcome.text());
    for line in [2, 3, 5, 8, 10] {
        assert!(
            outcome.text().contains(&format!("{file}:{line}")),
            "line {line} in\n{}",
            outcome.text()
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (_folder, path) = folder();
    for bad in [path.join("missing.toml"), path.clone()] {
        for (command, code) in [("check", 1), ("run", CONFIGURATION)] {
            let outcome = run(&[command, "-c", bad.to_str().unwrap()]);
            assert!(
                outcome.code == code || outcome.code == 66,
                "{command}: {} {}",
                outcome.code,
                outcome.text()
            );
            outcome.expect_one_line_about(bad.to_str().unwrap());
        }
    }
    std::fs::write(path.join("binary.toml"), b"\xff\xfe").unwrap();
    assert_eq!(
        run(&["check", "-c", path.join("binary.toml").to_str().unwrap()]).code,
        1
    );
}

#[test]
fn a_command_line_that_cannot_be_is_refused() {
    for arguments in [
        &["run"][..],
        &["run", "--listen", "127.0.0.1:0"],
        &["run", "--listen", "nowhere", "--origin", "http://127.0.0.1:1"],
        &["run", "--listen", "127.0.0.1:0", "--origin", "ftp://127.0.0.1:1"],
        &["run", "-c"],
        &["no-such-command"],
        &[],
    ] {
        let outcome = run(arguments);
        assert!(
            [2, 64, CONFIGURATION].contains(&outcome.code),
            "{arguments:?}: {} {}",
            outcome.code,
            outcome.text()
        );
        assert!(
            !outcome.stderr.is_empty() && !outcome.stderr.contains("panicked"),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn warnings_are_apart_from_errors() {
    let (_folder, path) = folder();
    // An origin that no site uses is no error, but surely a mistake.
    let config = Setup::of("127.0.0.1:9").origin("unused", "127.0.0.1:10").in_process();
    let outcome = run(&["check", "-c", &write_config(&path, &config)]);
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    assert!(
        outcome
            .text()
            .lines()
            .any(|line| line.contains("warning") && line.contains("origin.unused")),
        "{}",
        outcome.text()
    );
}
