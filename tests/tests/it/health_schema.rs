//! `/health` is what docs/health.schema.json says, in every state that a test can bring about.

use serde_json::Value;
use tests::binary::workspace;
use tests::client::once;
use tests::origin::Origin;
use tests::ports::RefusingPort;
use tests::schema::problems;
use tests::setup::{Setup, Shape};
use tests::tidegate::Node;
use tests::wait::eventually;

#[track_caller]
fn health(node: &Node) -> Value {
    let admin = node.address("admin");
    let response = once(
        admin,
        format!("GET /health HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"),
    );
    assert_eq!(
        (response.status, response.field("content-type")),
        (200, "application/json"),
        "{response:?}"
    );
    serde_json::from_str(&response.text()).unwrap()
}

#[track_caller]
fn expect_valid(health: &Value) {
    let schema = std::fs::read_to_string(workspace().join("docs/health.schema.json")).unwrap();
    let problems = problems(&serde_json::from_str(&schema).unwrap(), health);
    assert!(problems.is_empty(), "{}\n{health:#}", problems.join("\n"));
}

fn has_window(health: &Value) -> bool {
    let legs = health["legs"].as_array().unwrap();
    legs.iter()
        .all(|leg| leg["verdict"] == "absent" || leg["server"].is_object() || leg["client"].is_object())
}

#[test]
fn health_keeps_to_its_schema_in_every_process() {
    for shape in [Shape::InProcess, Shape::TwoTier(1)] {
        let origin = Origin::saying("hello");
        let tidegate = Setup::of(&origin.address()).shape(shape).start();
        for node in tidegate.nodes() {
            expect_valid(&health(node));
        }
        assert_eq!(tidegate.get("/").status, 200);
        for node in tidegate.nodes() {
            eventually("the legs have numbers", || has_window(&health(node)));
            expect_valid(&health(node));
        }
    }
}

#[test]
fn an_open_finding_keeps_to_the_schema() {
    let refusing = RefusingPort::reserve();
    let tidegate = Setup::of(&refusing.address()).start();
    eventually("connects that are refused are a finding", || {
        assert!(tidegate.get("/").status >= 500);
        let findings = health(&tidegate.front)["findings"].clone();
        findings
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["cause"] == "connect_refused")
    });
    let health = health(&tidegate.front);
    expect_valid(&health);
    assert_eq!(
        (&health["status"], &health["legs"][2]["verdict"]),
        (&"degraded".into(), &"lossy".into()),
        "{health:#}"
    );
}

#[test]
fn the_schema_refuses_what_it_does_not_name() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let mut health = health(&tidegate.front);
    health["status"] = "fine".into();
    health["surprise"] = true.into();
    let schema = std::fs::read_to_string(workspace().join("docs/health.schema.json")).unwrap();
    assert_eq!(problems(&serde_json::from_str(&schema).unwrap(), &health).len(), 2);
}
