//! What is packaged beside the binary: each metric that a file names exists, each alert says what to do.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tests::binary::workspace;

#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap()
}

/// Words of a text that are names of tidegate's metrics, without what Prometheus adds to histograms.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let base = |word: &str| {
        let without = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        without.unwrap_or(word).to_owned()
    };
    words.filter(|word| word.starts_with("tidegate_")).map(base).collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    let known = metrics(&read("docs/metrics.md"));
    assert!(known.len() > 20, "{known:?}");
    for file in [
        "packaging/grafana/tidegate.json",
        "packaging/prometheus/tidegate.rules.yml",
    ] {
        let named = metrics(&read(file));
        assert!(named.len() > 5, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "{file} names {unknown:?}, which docs/metrics.md does not know"
        );
    }
}

#[test]
fn every_label_value_that_is_named_is_one_that_a_metric_has() {
    let known = read("docs/metrics.md") + &read("docs/tcp-health.md") + &read("docs/health.schema.json");
    let texts = [
        read("packaging/grafana/tidegate.json").replace("\\\"", "\""),
        read("packaging/prometheus/tidegate.rules.yml"),
    ];
    for (text, label) in texts
        .iter()
        .flat_map(|text| ["class=\"", "outcome=\"", "kind=\"", "impact=\"", "status=\""].map(|label| (text, label)))
    {
        for value in text.split(label).skip(1).filter_map(|rest| rest.split('"').next()) {
            let is_known = [format!("\"{value}\""), format!("`{value}`")]
                .iter()
                .any(|word| known.contains(word));
            assert!(is_known, "{label}{value}\" is in no document");
        }
    }
}

#[test]
fn every_alert_has_a_severity_and_a_runbook() {
    let rules = read("packaging/prometheus/tidegate.rules.yml");
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 10, "{} alerts", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap_or_default();
        let severity = ["page", "ticket"]
            .iter()
            .any(|word| alert.contains(&format!("severity: {word}}}")));
        assert!(severity, "{name} has no severity");
        for part in ["expr: ", "summary: ", "description: ", "runbook: |\n"] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_for_something_and_none_covers_another() {
    let dashboard: Value = serde_json::from_str(&read("packaging/grafana/tidegate.json")).unwrap();
    let mut covered = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let asks = panel["targets"]
            .as_array()
            .is_some_and(|targets| targets.iter().all(|target| target["expr"].is_string()));
        assert!(panel["type"] == "row" || asks, "{panel:#}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            let (x, y) = (x + place("x"), y + place("y"));
            assert!(
                x < 24 && covered.insert((x, y)),
                "{} covers another panel at {x}, {y}",
                panel["title"]
            );
        }
    }
}

/// systemd refuses a call that is not in the sets which a unit names, and then `landlock` and `seccomp` are "unavailable".
#[test]
fn the_unit_lets_the_process_confine_itself() {
    let unit = read("packaging/systemd/tidegate.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let allowed: BTreeSet<_> = lines.flat_map(str::split_whitespace).collect();
    let own = [
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
    ];
    // capset() and prctl() are of these.
    for call in own.iter().chain(&["@system-service"]) {
        assert!(allowed.contains(call), "{call}");
    }
}

/// docs/exit-codes.md says which ends a service manager should not answer by starting again.
#[test]
fn the_unit_does_not_restart_what_cannot_start() {
    let rule = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("RestartPreventExitStatus="))
            .map(str::to_owned)
    };
    let documented = rule(&read("docs/exit-codes.md"));
    assert!(documented.is_some());
    assert_eq!(rule(&read("packaging/systemd/tidegate.service")), documented);
}
