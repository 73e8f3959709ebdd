//! The benchmark itself, run on its own floor: does it measure, and does it leave nobody behind?

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn every_answer_of_the_floor_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args([
            "quick",
            "--subjects",
            "floor",
            "--only",
            "hit-1k,hit-1m,close-1k",
            "--rounds",
            "1",
        ])
        .args(["--seconds", "0.1", "--save"])
        .arg(dir.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{stdout}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let json = files
        .iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    for (index, case) in ["hit-1k", "hit-1m", "close-1k"].into_iter().enumerate() {
        let found = &json["cases"][index];
        let round = &found["results"][0]["rounds"][0];
        assert_eq!(found["case"], case);
        assert!(round["responses"].as_u64().unwrap() > 0, "{case}: {round}");
        assert!(
            round["faults"].as_object().unwrap().values().all(|count| count == 0),
            "{case}: {round}"
        );
        assert!(stdout.contains(&format!("| {case} | floor | ")), "{stdout}");
    }
}

#[test]
fn a_terminated_benchmark_leaves_nobody_behind() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["quick", "--subjects", "floor", "--only", "hit-1k", "--rounds", "1000"])
        .args(["--seconds", "0.1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(bench.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.starts_with("hit-1k 1/1000 floor: "), "{line}");
    let children = children_of(bench.id());
    assert!(!children.is_empty(), "the origin at least is a child");

    let terminate = format!("kill -TERM {}", bench.id());
    assert!(Command::new("sh").args(["-c", &terminate]).status().unwrap().success());
    while told.read_line(&mut line).unwrap() > 0 {}
    assert!(line.ends_with("bench: interrupted\n"), "{line}");
    assert_eq!(bench.wait().unwrap().code(), Some(1));
    for child in children {
        assert!(!fs::exists(format!("/proc/{child}")).unwrap(), "{child} is still there");
    }
}

fn children_of(pid: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}
