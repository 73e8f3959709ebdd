//! Second opinions: wrk and h2load, where they are installed, measure what the own generator measures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::case::{Case, Protocol};
use crate::load::HTTP2_STREAMS;
use crate::machine::in_path;
use crate::sys;

/// The load generator for `protocol`, if it is installed.
pub(crate) fn find(protocol: Protocol) -> Option<PathBuf> {
    in_path(name(protocol))
}

/// Its name.
pub(crate) fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Plain | Protocol::Tls => "wrk",
        Protocol::Http2 => "h2load",
    }
}

/// Lets it load `address` as the case says, from `cpu`; how many right answers it got.
pub(crate) fn run(case: &Case, address: SocketAddr, time: Duration, cpu: usize) -> Result<u32> {
    let name = name(case.protocol);
    let program = find(case.protocol).with_context(|| format!("{name} is gone"))?;
    let (seconds, connections) = (time.as_secs().max(1), case.connections);
    let scheme = if case.protocol == Protocol::Plain {
        "http"
    } else {
        "https"
    };
    let url = format!("{scheme}://{address}{}", case.path);
    let mut command = Command::new(program);
    match case.protocol {
        Protocol::Plain | Protocol::Tls => command
            .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")])
            .args(["-H", "Host: bench.test"]),
        Protocol::Http2 => command
            .args(["-t1", &format!("-c{connections}"), &format!("-m{HTTP2_STREAMS}")])
            .arg(format!("-D{seconds}")),
    };
    command.arg(url).stdin(Stdio::null());
    sys::start_pinned(&mut command, &[cpu]);
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{name}: {}, {}", output.status, text.trim());
    match case.protocol {
        Protocol::Plain | Protocol::Tls => parse_wrk(&text),
        Protocol::Http2 => parse_h2load(&text),
    }
}

fn parse_wrk(text: &str) -> Result<u32> {
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

/// `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`
fn parse_h2load(text: &str) -> Result<u32> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("requests: "))
        .context("h2load gave no count")?;
    let count = |word: &str| {
        let counted = line.split(", ").find_map(|part| part.strip_suffix(word));
        counted.and_then(|number| number.trim().parse::<u32>().ok())
    };
    let (Some(succeeded), Some(0), Some(0), Some(0)) =
        (count("succeeded"), count("failed"), count("errored"), count("timeout"))
    else {
        bail!("h2load: {line}");
    };
    Ok(succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_counts_only_when_it_does_not_complain() {
        let good = "Running 1s test @ http://127.0.0.1:1/1024\n  1 threads and 64 connections\n\
                    \x20 98765 requests in 1.10s, 117.74MB read\nRequests/sec:  89786.36\n";
        assert_eq!(parse_wrk(good).unwrap(), 98765);
        for bad in [
            "  Non-2xx or 3xx responses: 5\n",
            "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
        ] {
            assert!(parse_wrk(&format!("{good}{bad}")).is_err(), "{bad}");
        }
        assert!(parse_wrk("").is_err());
    }

    #[test]
    fn h2load_counts_only_when_all_succeeded() {
        let report = |succeeded, failed| {
            format!(
                "finished in 1.00s, 9 req/s, 1KB/s\nrequests: 9 total, 9 started, 9 done, {succeeded} succeeded, \
                 {failed} failed, 0 errored, 0 timeout\nstatus codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx\n"
            )
        };
        assert_eq!(parse_h2load(&report(9, 0)).unwrap(), 9);
        assert!(parse_h2load(&report(8, 1)).is_err());
        assert!(parse_h2load("").is_err());
    }
}
