//! The documents that are made of tidegate's own output: written with `UPDATE_DOCS=1`, compared otherwise.

use std::fmt::Write as _;
use std::path::Path;

use super::super::diagnosis::cause::Cause;
use super::super::diagnosis::fixtures::{front, recorded, trees};
use super::super::diagnosis::settings::Thresholds;
use super::super::preflight::{Machine, PreflightContext, preflight, refuses};
use super::super::root::ProcRoot;
use super::*;
use crate::time::mono_now;

const EL7: &str = "kernel-3.10.0-514.el7-tw-recycle";

fn preflight_of(tree: &str) -> String {
    let machine = Machine::read(&ProcRoot::new(&trees().join(tree)));
    let findings = preflight(&machine, &PreflightContext::default());
    let status = if refuses(&findings) {
        "tidegate does not start; exit status 78\n"
    } else {
        "tidegate starts\n"
    };
    let text = preflight_text(&findings) + status;
    // Where this checkout lies is no part of the story.
    text.replace(&format!("{}/", trees().join(tree).display()), "/")
}

fn diagnosis_of(before: &str, after: &str) -> String {
    let boot = mono_now();
    let mut engine = Engine::new(Thresholds::default(), front());
    engine.observe(recorded(before, boot));
    engine.observe(recorded(after, boot));
    diagnosis_text(&engine)
}

fn incident() -> String {
    let mut text = include_str!("incident.md.in").to_owned();
    for (mark, output) in [
        ("PREFLIGHT", preflight_of(&format!("{EL7}/before"))),
        (
            "INCIDENT",
            diagnosis_of(&format!("{EL7}/before"), &format!("{EL7}/after")),
        ),
        ("CURED_PREFLIGHT", preflight_of(&format!("{EL7}/cured"))),
        ("CURED", diagnosis_of(&format!("{EL7}/after"), &format!("{EL7}/cured"))),
        (
            "INNOCENT",
            diagnosis_of(
                "kernel-3.10.0-514.el7-accept-overflow/before",
                "kernel-3.10.0-514.el7-accept-overflow/after",
            ),
        ),
        (
            "COOKIES",
            diagnosis_of(
                "kernel-3.10.0-514.el7-syncookies/before",
                "kernel-3.10.0-514.el7-syncookies/after",
            ),
        ),
        (
            "MODERN",
            diagnosis_of("kernel-6.18/paws-time-wait/before", "kernel-6.18/paws-time-wait/after"),
        ),
    ] {
        text = text.replace(&format!("@{mark}@\n"), &output);
    }
    text
}

fn causes() -> String {
    let mut text = String::from(
        "| word | impact | what happens | what clients see | what to do |\n| --- | --- | --- | --- | --- |\n",
    );
    for cause in Cause::ALL {
        let (word, impact) = (cause.word(), cause.impact().word());
        writeln!(
            text,
            "| `{word}` | {impact} | {} | {} | {} |",
            cause.title(),
            cause.symptom(),
            cause.remedy()
        )
        .expect("text");
    }
    text
}

fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("the document");
    assert!(
        found == expected,
        "docs/{name} is not what tidegate says; run with UPDATE_DOCS=1 and read the difference"
    );
}

#[test]
fn the_incident_document_shows_what_tidegate_says_about_the_recorded_trees() {
    let text = incident();
    assert!(!text.contains('@'), "a mark was not filled in");
    check("incident-tw-recycle.md", &text);
}

#[test]
fn the_table_of_causes_in_the_document_is_the_one_of_the_program() {
    const BEGIN: &str = "<!-- causes: written by a test -->\n";
    const END: &str = "<!-- end of causes -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tcp-health.md");
    let found = std::fs::read_to_string(path).expect("the document");
    let (head, rest) = found.split_once(BEGIN).expect("the beginning of the table");
    let (_, tail) = rest.split_once(END).expect("the end of the table");
    check("tcp-health.md", &format!("{head}{BEGIN}{}{END}{tail}", causes()));
}

#[test]
fn a_healthy_machine_is_told_in_one_line_per_leg() {
    let text = diagnosis_of("kernel-6.18/healthy/before", "kernel-6.18/healthy/after");
    assert_eq!(
        text,
        "leg client-front: healthy; in 0.5 s: 100 connections, 0 SYNs and ACKs dropped, 0 of them by a full accept queue\n\
         leg cache-origin: healthy; in 0.5 s: 0 connects, 0 failed, 0 lost a SYN\n"
    );
}
