//! The report for a terminal: `/health?format=text` and `tidegate doctor`. Pure.

use common::kernel::diagnosis::Engine;
use common::kernel::preflight::finding::{Finding, Severity};
use common::kernel::report;

/// Legs, open findings, harmless explanations, settings.
pub fn diagnosis(engine: &Engine, settings: &[Finding]) -> String {
    let mut text = String::new();
    if let Some(why) = engine.blind() {
        text.push_str(&format!(
            "handshakes cannot be watched, because netstat is unavailable: {why}\n"
        ));
    }
    text.push_str(&report::diagnosis_text(engine));
    if engine.open().next().is_none() {
        text.push_str("no handshake finding is open\n");
    }
    text.push('\n');
    text.push_str(&report::preflight_text(settings));
    text
}

/// Whether a setting asks for something to be done.
pub fn is_complaint(finding: &Finding) -> bool {
    finding.severity > Severity::Note
}
