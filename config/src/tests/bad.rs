//! Files with mistakes → exact messages.
//!
//! The cases are in text files: a file, `---`, its messages, and `===` between cases. `@front` and `@rest` stand for a
//! right `[front]` and for a right origin with its site.

use crate::{load, parse};

#[test]
fn syntax_errors_stand_at_line_and_column() {
    check(include_str!("bad/syntax.txt"));
}

#[test]
fn unknown_names_are_refused_with_what_was_meant() {
    check(include_str!("bad/names.txt"));
}

#[test]
fn values_of_another_type_are_refused() {
    check(include_str!("bad/types.txt"));
}

#[test]
fn units_are_demanded_and_bounds_are_kept() {
    check(include_str!("bad/bounds.txt"));
}

#[test]
fn addresses_are_checked_alone_and_against_each_other() {
    check(include_str!("bad/addresses.txt"));
}

#[test]
fn sites_and_routes_are_checked() {
    check(include_str!("bad/sites.txt"));
}

#[test]
fn traffic_rules_are_checked() {
    check(include_str!("bad/traffic.txt"));
}

#[test]
fn what_a_process_is_makes_sense() {
    check(include_str!("bad/roles.txt"));
}

#[test]
fn doubtful_settings_are_warned_about_and_load() {
    check(include_str!("bad/warnings.txt"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_problem() {
    let folder = tempfile::tempdir().expect("folder");
    for (name, content, message) in [
        ("absent", None, "cannot be read: No such file or directory (os error 2)"),
        (
            "not-utf8",
            Some(b"[front]\n# caf\xe9\n".to_vec()),
            "is not UTF-8 (line 2), as TOML must be",
        ),
        (
            "large",
            Some(vec![b'#'; (1 << 20) + 1]),
            "is larger than 1MiB, which no configuration is",
        ),
        (
            "full",
            Some(vec![b'#'; 1 << 20]),
            "nothing to serve: there is neither a table [front] nor a key cache.listen",
        ),
    ] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect(name);
        }
        let problems = load(&path).expect_err(name);
        assert_eq!(problems.to_string(), format!("{}: {message}", path.display()));
    }
    let problems = load(folder.path()).expect_err("a folder");
    assert!(problems.to_string().contains("cannot be read"), "{problems}");
}

fn check(cases: &str) {
    for case in cases.split("===\n") {
        let (text, expected) = case.split_once("---\n").expect("messages");
        let text = text.replace("@front\n", FRONT).replace("@rest\n", REST);
        assert_eq!(messages(&text), expected.trim_end(), "{text}");
    }
}

/// Errors first, one line each.
fn messages(text: &str) -> String {
    let (errors, warnings) = match parse(text, "t") {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(problems) => (problems.errors, problems.warnings),
    };
    let errors = errors.iter().map(ToString::to_string);
    let warnings = warnings.iter().map(|warning| format!("warning {warning}"));
    errors.chain(warnings).collect::<Vec<_>>().join("\n")
}

const FRONT: &str = "[front]\nlisten = [\"0.0.0.0:80\"]\n";

const REST: &str = "[origin.a]\nservers = [\"10.0.0.1:80\"]\n[[site]]\nhosts = [\"a.example\"]\norigin = \"a\"\n";
