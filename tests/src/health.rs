//! What `/health` says, as a test wants to know it.

use serde_json::Value;

use crate::client::once;
use crate::wait::eventually;

/// The report of the admin listener at `admin`.
///
/// # Panics
/// When there is none, or it is no JSON.
#[track_caller]
pub fn report(admin: &str) -> Value {
    let response = page(admin, "/health");
    assert_eq!(response.status, 200, "{response:?}");
    let report: Value = serde_json::from_str(&response.text()).unwrap();
    assert_eq!(
        report["status"],
        response.field("tidegate-health"),
        "field and report agree"
    );
    report
}

/// One page of the admin listener.
#[track_caller]
pub fn page(admin: &str, path: &str) -> crate::message::Response {
    once(
        admin,
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    )
}

/// The open findings as `leg/side/cause`.
pub fn findings(report: &Value) -> Vec<String> {
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("?").to_owned();
    let findings = report["findings"].as_array().into_iter().flatten();
    findings
        .map(|finding| ["leg", "side", "cause"].map(|name| word(finding, name)).join("/"))
        .collect()
}

/// The verdict on a leg.
pub fn verdict<'a>(report: &'a Value, leg: &str) -> &'a str {
    let legs = report["legs"].as_array().into_iter().flatten();
    legs.filter(|found| found["leg"] == leg)
        .find_map(|found| found["verdict"].as_str())
        .unwrap_or("?")
}

/// Waits until the control thread has looked `more` times from now.
#[track_caller]
pub fn wait_for_looks(admin: &str, more: u64) {
    let looks = || crate::metrics::read(admin, "tidegate_health_samples_total", "");
    let until = looks() + more;
    eventually("the kernel was looked at", || looks() >= until);
}
