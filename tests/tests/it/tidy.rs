//! The shape of the house, as a test: layers, borders, the order of steps, papers.
//!
//! Reads `cargo metadata` and the sources; runs nothing of tidegate. What single files look like: `tidy_files.rs`.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::binary::{cargo, workspace};
use tests::source::{code, sources, words};

/// The crates, and which of them each may depend on: `common ← config ← cache ← proxy`; bench and tests drive the binary
/// as strangers.
const LAYERS: [(&str, &[&str]); 6] = [
    ("common", &[]),
    ("config", &["common"]),
    ("cache", &["common", "config"]),
    ("proxy", &["common", "config", "cache"]),
    ("bench", &[]),
    ("tests", &[]),
];

/// Dependencies that stay behind a border, and the crates that may have them.
const BORDERS: [(&str, &[&str]); 9] = [
    ("hyper", &["common"]),
    ("h2", &["common", "tests"]),
    ("httparse", &["common"]),
    ("socket2", &["common", "bench", "tests"]),
    ("nix", &["common"]),
    ("libc", &["common", "bench", "tests"]),
    ("serde", &["config"]),
    ("toml", &["config"]),
    ("anyhow", &["proxy", "bench", "tests"]),
];

/// The modules of `proxy/src/exchange/`, each after all that it may use: first the words that steps answer with, then the
/// steps in the order in which a request meets them.
const STEPS: [&str; 8] = [
    "refusal", "intake", "guard", "traffic", "door", "purge", "record", "respond",
];

#[test]
fn crates_depend_only_on_lower_layers() {
    let crates = dependencies();
    let names: Vec<_> = crates.keys().map(String::as_str).collect();
    let mut known: Vec<_> = LAYERS.iter().map(|layer| layer.0).collect();
    known.sort_unstable();
    assert_eq!(names, known, "a new crate is a decision: give it its layer");
    for (name, may) in LAYERS {
        for dependency in &crates[name] {
            let is_ours = known.contains(&dependency.as_str());
            assert!(
                !is_ours || may.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn dependencies_stay_behind_their_borders() {
    let crates = dependencies();
    for (dependency, may) in BORDERS {
        for (name, has) in &crates {
            let has = has.iter().any(|found| found == dependency);
            assert!(
                !has || may.contains(&name.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

/// Direct dependencies of each crate of the workspace, those of its tests too.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            (
                name(package),
                package["dependencies"].as_array().unwrap().iter().map(name).collect(),
            )
        })
        .collect()
}

#[test]
fn a_step_uses_only_what_stands_before_it() {
    let folder = workspace().join("proxy/src/exchange");
    for (position, step) in STEPS.iter().enumerate() {
        for file in [folder.join(format!("{step}.rs")), folder.join(step).join("mod.rs")] {
            let Ok(text) = std::fs::read_to_string(&file) else {
                continue;
            };
            let later = later_steps_used(&text, position);
            assert!(
                later.is_empty(),
                "{}: {step} must not use {later:?}, which stand after it",
                file.display()
            );
        }
    }
    for file in sources().iter().filter(|file| file.starts_with(&folder)) {
        let name = file
            .strip_prefix(&folder)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap();
        let name = name.trim_end_matches(".rs");
        assert!(
            STEPS.contains(&name) || name == "testing",
            "{name} is not in the list of steps: give it its place"
        );
    }
}

/// Steps after `position` that a file names.
fn later_steps_used(text: &str, position: usize) -> Vec<&'static str> {
    let later = STEPS[position + 1..].iter().copied();
    later
        .filter(|later| ["super::", "exchange::"].iter().any(|path| uses(text, path, later)))
        .collect()
}

/// Whether the code names `path` followed by `module`, alone or in braces.
fn uses(text: &str, path: &str, module: &str) -> bool {
    let code = code(text);
    code.match_indices(path).any(|(at, _)| {
        let rest = &code[at + path.len()..];
        let group = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        let mut names = group
            .unwrap_or(rest)
            .split(',')
            .take(if group.is_some() { usize::MAX } else { 1 });
        names.any(|name| words(name).next() == Some(module))
    })
}

#[test]
fn the_check_of_steps_finds_what_it_looks_for() {
    for (text, expected) in [
        ("use super::respond::Page;", &["respond"][..]),
        (
            "use super::{\n    refusal::Refusal,\n    record::Record,\n};",
            &["record"],
        ),
        ("fn f() { crate::exchange::respond::page() }", &["respond"]),
        ("use super::intake::Target; // not super::respond", &[]),
        ("use super::refusal::Refusal;", &[]),
        ("use super::responding::Page;", &[]),
    ] {
        assert_eq!(later_steps_used(text, 1), expected, "{text}");
    }
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for (name, _) in LAYERS {
        let manifest = std::fs::read_to_string(workspace().join(name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}/Cargo.toml");
    }
}

#[test]
fn every_paper_that_the_readme_names_exists() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    for target in readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
    {
        let is_file = !target.is_empty() && !target.contains("://");
        assert!(
            !is_file || workspace().join(target).exists(),
            "README.md names {target}, which is not there"
        );
    }
    let mentioned = readme.split(|c: char| !(c.is_alphanumeric() || "/._-".contains(c)));
    for paper in mentioned.filter(|word| word.starts_with("docs/") && word.ends_with(".md")) {
        assert!(
            workspace().join(paper).exists(),
            "README.md names {paper}, which is not there"
        );
    }
}

#[test]
fn every_test_that_security_md_names_exists() {
    let page = std::fs::read_to_string(workspace().join("docs/security.md")).unwrap();
    let mut code = String::new();
    for folder in ["tests/tests/it", "common/src/http", "common/src/http1"] {
        for entry in std::fs::read_dir(workspace().join(folder)).unwrap() {
            code += &std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        }
    }
    let mut tests = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let is_name = word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_name && word.matches('_').count() >= 3 && !word.starts_with("tidegate_") {
            assert!(
                code.contains(&format!("fn {word}(")),
                "docs/security.md: no test {word}"
            );
            tests += 1;
        }
    }
    assert!(tests > 40, "docs/security.md names {tests} tests only");
}
