//! The report for a terminal: `/health?format=text` and `tidegate doctor`. Pure.

use std::fmt::Write as _;

use common::kernel::diagnosis::Engine;
use common::kernel::preflight::finding::Finding;
use common::kernel::report;

/// Legs, open findings, harmless explanations, settings.
pub fn diagnosis(engine: &Engine, settings: &[Finding]) -> String {
    let mut text = String::new();
    if let Some(why) = engine.blind() {
        let written = writeln!(
            text,
            "handshakes cannot be watched, because netstat is unavailable: {why}"
        );
        debug_assert!(written.is_ok(), "writing to a String");
    }
    text.push_str(&report::diagnosis_text(engine));
    if engine.open().next().is_none() {
        text.push_str("no handshake finding is open\n");
    }
    text.push('\n');
    text.push_str(&report::preflight_text(settings));
    text
}
