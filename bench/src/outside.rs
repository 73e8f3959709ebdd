//! Second opinions: wrk, h2load and oha, where they are installed, measure what the own generator measures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::case::{Case, Protocol};
use crate::load::HTTP2_STREAMS;
use crate::machine::in_path;
use crate::sys;

/// A load generator that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Wrk,
    H2load,
    Oha,
}

impl Tool {
    /// Its program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
            Self::Oha => "oha",
        }
    }

    /// Those for `protocol` that are installed.
    pub(crate) fn installed(protocol: Protocol) -> Vec<Self> {
        let first = match protocol {
            Protocol::Plain | Protocol::Tls => Self::Wrk,
            Protocol::Http2 => Self::H2load,
        };
        let mut tools = vec![first, Self::Oha];
        tools.retain(|tool| in_path(tool.name()).is_some());
        tools
    }

    /// Lets it load `address` as the case says, from `cpu`; how many right answers it got.
    pub(crate) fn run(self, case: &Case, address: SocketAddr, time: Duration, cpu: usize) -> Result<u32> {
        let name = self.name();
        let mut command = Command::new(in_path(name).with_context(|| format!("{name} is gone"))?);
        let (seconds, connections) = (time.as_secs().max(1), format!("-c{}", case.connections));
        let streams = format!("-m{HTTP2_STREAMS}");
        match self {
            Self::Wrk => command
                .args(["-t1", &connections, &format!("-d{seconds}s")])
                .args(["-H", "Host: bench.test"]),
            Self::H2load => command.args(["-t1", &connections, &streams, &format!("-D{seconds}")]),
            Self::Oha => command
                .args([&connections, &format!("-z{seconds}s"), "-w", "--no-tui", "--insecure"])
                .args(["--output-format", "json", "--disable-compression"]),
        };
        if self == Self::Oha && case.protocol == Protocol::Http2 {
            command.args(["--http2", &format!("-p{HTTP2_STREAMS}")]);
        }
        let scheme = if case.protocol == Protocol::Plain {
            "http"
        } else {
            "https"
        };
        command
            .arg(format!("{scheme}://{address}{}", case.path))
            .stdin(Stdio::null());
        sys::start_pinned(&mut command, &[cpu]);
        let output = command.output().with_context(|| format!("cannot run {name}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{name}: {}, {}", output.status, text.trim());
        match self {
            Self::Wrk => parse_wrk(&text),
            Self::H2load => parse_h2load(&text),
            Self::Oha => parse_oha(&text),
        }
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

/// `{"statusCodeDistribution": {"200": 9}, "errorDistribution": {}, …}`
fn parse_oha(text: &str) -> Result<u32> {
    let told: Value = serde_json::from_str(text).context("oha gave no JSON")?;
    let counts = |name: &str| -> Result<BTreeMap<String, u32>> {
        let counts = told.get(name).with_context(|| format!("oha gave no {name}"))?;
        Ok(serde_json::from_value(counts.clone())?)
    };
    let (mut statuses, errors) = (counts("statusCodeDistribution")?, counts("errorDistribution")?);
    let right = statuses.remove("200").unwrap_or_default();
    ensure!(statuses.is_empty() && errors.is_empty(), "oha: {statuses:?} {errors:?}");
    Ok(right)
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

    #[test]
    fn oha_counts_only_200_and_no_errors() {
        let good = r#"{"summary": {}, "statusCodeDistribution": {"200": 9}, "errorDistribution": {}}"#;
        assert_eq!(parse_oha(good).unwrap(), 9);
        for bad in [
            r#"{"statusCodeDistribution": {"200": 9, "502": 1}, "errorDistribution": {}}"#,
            r#"{"statusCodeDistribution": {"200": 9}, "errorDistribution": {"connection reset": 1}}"#,
            r#"{"statusCodeDistribution": {"200": 9}}"#,
            "",
        ] {
            assert!(parse_oha(bad).is_err(), "{bad}");
        }
    }
}
