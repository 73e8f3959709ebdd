//! The kernel's settings, judged before anything is bound: an unsafe one stops the start, and there is no override.

use common::kernel::preflight::finding::Severity;
use common::kernel::root::ProcRoot;
use config::Config;

use crate::exit::{Code, Failure};
use crate::health::{Health, control, plan};
use std::sync::Arc;

/// Judges the settings and says what it finds; the health that begins with it.
///
/// # Errors
/// A setting loses clients: exit status 78.
pub fn preflight(config: &Config) -> Result<Arc<Health>, Failure> {
    let root = ProcRoot::new(&config.process.proc_root);
    let findings = plan::preflight(&root, &plan::context(config));
    let (unsafe_ones, others): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.severity == Severity::Refuse);
    for finding in others {
        control::tell_setting(finding);
    }
    if !unsafe_ones.is_empty() {
        let lines: Vec<_> = unsafe_ones
            .iter()
            .map(|finding| format!("does not start: {finding}"))
            .collect();
        return Err(Failure::new(Code::Config, lines.join("\n")));
    }
    Ok(Health::new(
        root,
        config.health.thresholds.clone(),
        plan::roles(config),
        findings,
    ))
}
