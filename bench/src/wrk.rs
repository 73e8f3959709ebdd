//! A second opinion: wrk, where it is installed, measures what the own generator measures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::case::Case;
use crate::machine::in_path;
use crate::sys;

/// Where wrk is, if it is.
pub(crate) fn find() -> Option<PathBuf> {
    in_path("wrk")
}

/// Lets wrk load `address` as the case says, from `cpu`; how many right answers it got.
pub(crate) fn run(case: &Case, address: SocketAddr, time: Duration, cpu: usize) -> Result<u32> {
    let program = find().context("wrk is gone")?;
    let seconds = time.as_secs().max(1);
    let mut command = Command::new(program);
    command
        .args(["-t1", &format!("-c{}", case.connections), &format!("-d{seconds}s")])
        .args(["-H", "Host: bench.test", &format!("http://{address}{}", case.path)])
        .stdin(Stdio::null());
    sys::start_pinned(&mut command, &[cpu]);
    let output = command.output().context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {}, {}", output.status, text.trim());
    parse(&text)
}

fn parse(text: &str) -> Result<u32> {
    for complaint in ["Socket errors", "Non-2xx"] {
        if let Some(line) = text.lines().find(|line| line.contains(complaint)) {
            bail!("wrk: {}", line.trim());
        }
    }
    let line = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .context("wrk gave no count")?;
    let count = line.split_whitespace().next().context("wrk gave no count")?;
    count.parse().with_context(|| format!("wrk counted {count:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_counts_only_when_it_does_not_complain() {
        let good = "Running 1s test @ http://127.0.0.1:1/1024\n  1 threads and 64 connections\n\
                    \x20 98765 requests in 1.10s, 117.74MB read\nRequests/sec:  89786.36\n";
        assert_eq!(parse(good).unwrap(), 98765);
        for bad in [
            "  Non-2xx or 3xx responses: 5\n",
            "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        ] {
            assert!(parse(&format!("{good}{bad}")).is_err(), "{bad}");
        }
        assert!(parse("").is_err());
    }
}
