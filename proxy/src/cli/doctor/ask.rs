//! The report of a running tidegate: one GET of its `/health`, over TCP, TLS or a unix socket.

use super::{Verdict, WATCH_EVERY, show, wait};
use crate::admin;
use crate::cli::ask::{Access, Asker};
use crate::exit::{Code, Failure};
use crate::health::Status;

/// Fetches and prints; with `watch` again and again.
pub fn run(admin: &str, access: &Access, as_json: bool, watch: bool) -> Result<Verdict, Failure> {
    let asker = access.to(admin)?;
    loop {
        let report = fetch(&asker, as_json);
        let (status, text) =
            report.map_err(|error| Failure::new(Code::CannotTell, format_args!("--admin {admin}: {error}")))?;
        if !watch {
            super::super::say(&text);
            return Ok(match status {
                Status::Ok => Verdict::Healthy,
                Status::Degraded | Status::Critical => Verdict::Findings,
            });
        }
        show(&text);
        wait(WATCH_EVERY);
    }
}

fn fetch(asker: &Asker, as_json: bool) -> Result<(Status, String), String> {
    let format = if as_json { "json" } else { "text" };
    let target = format!("/health?format={format}");
    let answer = asker.once("GET", &target).map_err(|error| error.to_string())?;
    // The status is in a field that every report has.
    let status = answer.field(admin::HEALTH_STATUS.as_str()).and_then(Status::of_word);
    match status {
        Some(status) => Ok((status, answer.text())),
        None if answer.status == 401 => Err(answer.text().trim_end().to_owned()),
        None => Err("that is no health report of a tidegate".to_owned()),
    }
}
