//! What is understood of another process's `/health`. Pure; it comes from the network, so everything may be missing.

use std::fmt::Write as _;

use serde_json::Value;

use crate::health::Status;
use crate::health::json::SCHEMA;

/// Another process's report.
#[derive(Debug)]
pub struct Report {
    /// Its status.
    pub status: Status,
    /// Its legs with their verdicts, as they said it.
    legs: Vec<(String, String)>,
    /// Its open findings, one line each.
    pub findings: Vec<String>,
    /// The whole report as JSON, without reports that it has folded in itself.
    pub json: Vec<u8>,
}

/// Why a report cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReportError {
    /// It is no JSON object.
    #[error("the answer is not JSON")]
    NotJson,
    /// Its form is another one.
    #[error("its report has schema {0}, not {SCHEMA}")]
    Schema(String),
    /// It says no status that is known.
    #[error("its report has no status")]
    NoStatus,
}

impl Report {
    /// Reads the content of a `/health`.
    ///
    /// # Errors
    /// It is none.
    pub fn read(content: &[u8]) -> Result<Self, ReportError> {
        let mut value: Value = serde_json::from_slice(content).map_err(|_| ReportError::NotJson)?;
        let members = value.as_object_mut().ok_or(ReportError::NotJson)?;
        // A process that was told to watch itself, or another that does, would grow without end.
        members.remove("cache_servers");
        let schema = members.get("schema").cloned().unwrap_or_default();
        if schema != SCHEMA {
            return Err(ReportError::Schema(schema.to_string()));
        }
        let status = members.get("status").and_then(Value::as_str).and_then(Status::of_word);
        let word = |of: &Value, name: &str| of[name].as_str().unwrap_or("?").to_owned();
        let list = |name: &str| value[name].as_array().into_iter().flatten();
        Ok(Self {
            status: status.ok_or(ReportError::NoStatus)?,
            legs: list("legs")
                .map(|leg| (word(leg, "leg"), word(leg, "verdict")))
                .collect(),
            findings: list("findings").map(line).collect(),
            json: serde_json::to_vec(&value).map_err(|_| ReportError::NotJson)?,
        })
    }

    /// Its verdict on a leg, where it has one.
    pub fn verdict(&self, leg: &str) -> Option<&str> {
        let found = self.legs.iter().find(|(name, _)| name == leg);
        found.map(|(_, verdict)| &**verdict)
    }
}

/// "cache-origin: `connect_timeout` (high): no connect to this server is answered; remedy: …".
fn line(finding: &Value) -> String {
    let word = |name: &str| finding[name].as_str().unwrap_or("?");
    let mut line = format!("{}: {} ({})", word("leg"), word("cause"), word("certainty"));
    if let Some(subject) = finding["subject"].as_str() {
        push(&mut line, format_args!(" on {subject}"));
    }
    push(
        &mut line,
        format_args!(": {}; remedy: {}", word("what"), word("remedy")),
    );
    // It is printed in a terminal.
    line.retain(|letter| !letter.is_control());
    line
}

fn push(line: &mut String, more: std::fmt::Arguments<'_>) {
    let written = line.write_fmt(more);
    debug_assert!(written.is_ok(), "writing to a String");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        for (content, expected) in [
            ("", ReportError::NotJson),
            ("[1]", ReportError::NotJson),
            ("{\"schema\":1,", ReportError::NotJson),
            ("{}", ReportError::Schema("null".to_owned())),
            ("{\"schema\":2}", ReportError::Schema("2".to_owned())),
            ("{\"schema\":1,\"status\":\"fine\"}", ReportError::NoStatus),
        ] {
            assert_eq!(Report::read(content.as_bytes()).unwrap_err(), expected, "{content}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Report::read(deep.as_bytes()).unwrap_err(), ReportError::NotJson);
    }

    #[test]
    fn a_report_has_its_verdicts_and_findings_and_nobody_elses_report() {
        let content = r#"{"schema":1,"status":"degraded","cache_servers":[{"report":{}}],
            "legs":[{"leg":"front-cache","verdict":"healthy"},{"leg":"cache-origin"}],
            "findings":[{"leg":"cache-origin","cause":"connect_refused","certainty":"certain",
                         "subject":"o/10.0.0.1:80","what":"w","remedy":"r\u001b[31m"}]}"#;
        let report = Report::read(content.as_bytes()).unwrap();
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(
            (
                report.verdict("front-cache"),
                report.verdict("cache-origin"),
                report.verdict("x")
            ),
            (Some("healthy"), Some("?"), None)
        );
        assert_eq!(
            report.findings,
            ["cache-origin: connect_refused (certain) on o/10.0.0.1:80: w; remedy: r[31m"]
        );
        assert!(!String::from_utf8_lossy(&report.json).contains("cache_servers"));
    }
}
