//! What every source file must be: headed by a doc, short, free of words that confuse, with nothing left to do.

use std::path::Path;

use tests::binary::workspace;
use tests::source::{code, sources, without_strings, words};

/// Lines of a source file; of a file of tests.
const LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 800;
/// Lines of a head doc.
const HEAD_DOC_LINES_MAX: usize = 10;

#[test]
fn every_file_has_a_head_doc_and_a_bounded_length() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(workspace()).unwrap().display();
        let head_doc = text.lines().take_while(|line| line.starts_with("//!")).count();
        if head_doc == 0 {
            wrong.push(format!("{name}: has no head doc"));
        } else if head_doc > HEAD_DOC_LINES_MAX {
            wrong.push(format!(
                "{name}: its head doc has {head_doc} lines, {HEAD_DOC_LINES_MAX} are enough"
            ));
        }
        let max = if is_test(&file) { TEST_LINES_MAX } else { LINES_MAX };
        let lines = text.lines().count();
        if lines > max {
            wrong.push(format!("{name}: has {lines} lines, more than {max}: split it"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Whole files of tests, by their place or name.
fn is_test(file: &Path) -> bool {
    const NAMES: [&str; 3] = ["tests.rs", "scenarios.rs", "testing.rs"];
    let is_named = |name: &str| {
        file.file_name()
            .is_some_and(|own| own.to_string_lossy().ends_with(name))
    };
    file.components().any(|part| part.as_os_str() == "tests") || NAMES.into_iter().any(is_named)
}

/// RFC 9110 and nginx use these words in opposite senses (docs/glossary.md).
#[test]
fn no_identifier_uses_the_words_of_two_meanings() {
    let banned = |word: &str| {
        ["upstream", "downstream"]
            .iter()
            .any(|bad| word.to_lowercase().contains(bad))
    };
    expect_no_line("says upstream or downstream", code, |line| words(line).any(banned));
}

#[test]
fn nothing_is_left_to_do() {
    // In pieces, so that a search of the sources for them finds none here.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("unimple", "mented"),
    ];
    expect_no_line("is left to do", without_strings, |line| {
        words(line).any(|word| marks.contains(&word))
    });
}

#[test]
fn lints_are_expected_and_never_allowed() {
    let silences = |line: &str| line.contains("#[allow(") || line.contains("#![allow(");
    expect_no_line(
        "silences a lint without a check that it is needed: use expect",
        code,
        silences,
    );
}

fn expect_no_line(what: &str, seen: fn(&str) -> String, is_wrong: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let seen = seen(&text);
        let found = seen.lines().enumerate().filter(|(_, line)| is_wrong(line));
        wrong.extend(found.map(|(index, line)| format!("{}:{}: {}", file.display(), index + 1, line.trim())));
    }
    assert!(wrong.is_empty(), "{what}:\n{}\n", wrong.join("\n"));
}

/// README's first command is `cargo run --release -- demo`: with two binaries in the workspace it has to know which.
#[test]
fn cargo_run_without_a_package_runs_tidegate() {
    let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("default-members = [\"proxy\"]"), "{manifest}");
}
