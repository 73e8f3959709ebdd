//! Metrics in Prometheus' text format 0.0.4.
//!
//! The admin listener makes one [`Exposition`] per scrape: the workers' counters summed, then each [`Family`] by whoever
//! owns its facts. Only what `metrics` declares can be exposed, each family once.

use std::fmt::Write as _;
use std::time::Duration;

use super::metrics::{BUCKETS_MICROS, Counter, Descriptor, Family, Histogram, Kind, Metrics};

/// The `Content-Type` of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One answer to a scrape.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    exposed: [bool; Family::ALL.len()],
}

/// The samples of one family, being written.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut String,
    family: Family,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// Any other number.
    Float(f64),
    /// A time in seconds, to the microsecond.
    Seconds(Duration),
}

impl Default for Exposition {
    fn default() -> Self {
        Self {
            text: String::new(),
            exposed: [false; _],
        }
    }
}

impl Exposition {
    /// Appends all counters and histograms, summed over `workers`.
    pub fn workers<'m>(&mut self, workers: impl IntoIterator<Item = &'m Metrics>) {
        let workers: Vec<_> = workers.into_iter().collect();
        let mut previous = "";
        for counter in Counter::ALL {
            let row = counter.descriptor();
            if row.name != previous {
                write_head(&mut self.text, row.name, row.help, "counter");
                previous = row.name;
            }
            let sum = workers
                .iter()
                .fold(0, |sum: u64, metrics| sum.wrapping_add(metrics.get(*counter)));
            write_sample(&mut self.text, row.name, "", row.labels, sum);
        }
        for histogram in Histogram::ALL {
            write_histogram(&mut self.text, &histogram.descriptor(), *histogram, &workers);
        }
    }

    /// Begins a family; a family is exposed once, with all its samples.
    pub fn family(&mut self, family: Family) -> Samples<'_> {
        let row = family.descriptor();
        debug_assert!(!self.exposed[family as usize], "{} is exposed twice", row.name);
        self.exposed[family as usize] = true;
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        write_head(&mut self.text, row.name, row.help, kind);
        Samples {
            text: &mut self.text,
            family,
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}

impl Samples<'_> {
    /// Appends one sample; the labels are those that the family declares, in its order.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        let row = self.family.descriptor();
        debug_assert!(
            labels.iter().map(|(name, _)| name).eq(row.labels),
            "{} has labels {:?}",
            row.name,
            row.labels
        );
        let mut rendered = String::new();
        for (name, value) in labels {
            if !rendered.is_empty() {
                rendered.push(',');
            }
            rendered.push_str(name);
            rendered.push_str("=\"");
            push_label_value(&mut rendered, value);
            rendered.push('"');
        }
        write_sample(self.text, row.name, "", &rendered, value);
        self
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Integer(number as u64)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Seconds(time)
    }
}

/// Buckets are cumulative, as the format wants them; the sum and the count are of the same moment as the buckets, give or
/// take what workers add while we read.
fn write_histogram(text: &mut String, row: &Descriptor, histogram: Histogram, workers: &[&Metrics]) {
    write_head(text, row.name, row.help, "histogram");
    let mut counts = [0_u64; BUCKETS_MICROS.len() + 1];
    let mut sum_micros = 0_u64;
    for metrics in workers {
        let (worker_counts, worker_sum) = metrics.buckets(histogram);
        for (count, worker_count) in counts.iter_mut().zip(worker_counts) {
            *count = count.wrapping_add(worker_count);
        }
        sum_micros = sum_micros.wrapping_add(worker_sum);
    }
    let comma = if row.labels.is_empty() { "" } else { "," };
    let bounds = BUCKETS_MICROS
        .iter()
        .map(|micros| format_seconds(Duration::from_micros(*micros)));
    let mut below = 0_u64;
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        below = below.wrapping_add(count);
        write_sample(
            text,
            row.name,
            "_bucket",
            &format!("{}{comma}le=\"{bound}\"", row.labels),
            below,
        );
    }
    write_sample(text, row.name, "_sum", row.labels, Duration::from_micros(sum_micros));
    write_sample(text, row.name, "_count", row.labels, below);
}

fn write_head(text: &mut String, name: &str, help: &str, kind: &str) {
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    let written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    debug_assert!(written.is_ok(), "writing to a String");
}

fn write_sample(text: &mut String, name: &str, suffix: &str, labels: &str, value: impl Into<Value>) {
    text.push_str(name);
    text.push_str(suffix);
    if !labels.is_empty() {
        text.push('{');
        text.push_str(labels);
        text.push('}');
    }
    text.push(' ');
    match value.into() {
        Value::Integer(number) => text.push_str(itoa::Buffer::new().format(number)),
        Value::Seconds(time) => text.push_str(&format_seconds(time)),
        Value::Float(number) if number.is_infinite() => text.push_str(if number > 0.0 { "+Inf" } else { "-Inf" }),
        Value::Float(number) => text.push_str(&number.to_string()),
    }
    text.push('\n');
}

/// A time in seconds without rounding: "0.00005", "1", "2.5".
fn format_seconds(time: Duration) -> String {
    let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Of a label's value the format wants the backslash, the double quote and the line feed escaped.
fn push_label_value(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str(r#"\""#),
            '\n' => text.push_str(r"\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_each_name_has_one_head() {
        let workers = [Metrics::default(), Metrics::default()];
        workers[0].add(Counter::AcceptErrorMemory, 2);
        workers[1].add(Counter::AcceptErrorMemory, 3);
        workers[1].count(Counter::CacheHit);
        for (worker, micros) in [(0, 40), (0, 2_000), (1, 2_500), (1, 31_000_000)] {
            workers[worker].observe(Histogram::RequestSeconds, Duration::from_micros(micros));
        }
        let mut exposition = Exposition::default();
        exposition.workers(&workers);
        let text = exposition.finish();
        for line in [
            "# HELP tidegate_accept_errors_total accept() failures by kind\n# TYPE tidegate_accept_errors_total counter\n\
             tidegate_accept_errors_total{kind=\"peer_gone\"} 0\n",
            "tidegate_accept_errors_total{kind=\"memory\"} 5\n",
            "tidegate_cache_requests_total{outcome=\"hit\"} 1\n",
            "tidegate_connections_accepted_total 0\n",
            "# TYPE tidegate_request_seconds histogram\ntidegate_request_seconds_bucket{le=\"0.00005\"} 1\n",
            "tidegate_request_seconds_bucket{le=\"0.001\"} 1\ntidegate_request_seconds_bucket{le=\"0.0025\"} 3\n",
            "tidegate_request_seconds_bucket{le=\"30\"} 3\ntidegate_request_seconds_bucket{le=\"+Inf\"} 4\n\
             tidegate_request_seconds_sum 31.00454\ntidegate_request_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
        let mut heads: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let all = heads.len();
        heads.dedup();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), all);
    }

    #[test]
    fn a_family_is_written_with_its_labels_escaped() {
        let mut exposition = Exposition::default();
        exposition
            .family(Family::BackendErrors)
            .sample(
                &[
                    ("backend", "a\"b\\c\nd"),
                    ("server", "[::1]:80"),
                    ("error", "dns_error"),
                ],
                7_u64,
            )
            .sample(&[("backend", "é"), ("server", ""), ("error", "x")], 0_u64);
        exposition
            .family(Family::StartTime)
            .sample(&[], Duration::from_millis(1_700_000_000_250));
        exposition.family(Family::Workers).sample(&[], 2_usize);
        exposition.family(Family::CacheStoredBytes);
        assert_eq!(
            exposition.finish(),
            r#"# HELP tidegate_backend_errors_total Requests that a server failed, by error (RFC 9209)
# TYPE tidegate_backend_errors_total counter
tidegate_backend_errors_total{backend="a\"b\\c\nd",server="[::1]:80",error="dns_error"} 7
tidegate_backend_errors_total{backend="é",server="",error="x"} 0
# HELP tidegate_start_time_seconds When the process started, since the Unix epoch
# TYPE tidegate_start_time_seconds gauge
tidegate_start_time_seconds 1700000000.25
# HELP tidegate_workers Worker threads
# TYPE tidegate_workers gauge
tidegate_workers 2
# HELP tidegate_cache_stored_bytes Bytes of stored responses, heads and bookkeeping included
# TYPE tidegate_cache_stored_bytes gauge
"#
        );
    }

    #[test]
    fn numbers_are_spelt_as_prometheus_reads_them() {
        for (value, expected) in [
            (Value::Integer(u64::MAX), " 18446744073709551615\n"),
            (Value::Float(0.25), " 0.25\n"),
            (Value::Float(f64::NAN), " NaN\n"),
            (Value::Float(f64::INFINITY), " +Inf\n"),
            (Value::Float(f64::NEG_INFINITY), " -Inf\n"),
            (Value::Seconds(Duration::ZERO), " 0\n"),
            (Value::Seconds(Duration::from_secs(100)), " 100\n"),
            (Value::Seconds(Duration::from_micros(1)), " 0.000001\n"),
        ] {
            let mut text = String::new();
            write_sample(&mut text, "", "", "", value);
            assert_eq!(text, expected, "{value:?}");
        }
    }

    #[test]
    #[should_panic(expected = "tidegate_workers is exposed twice")]
    #[cfg(debug_assertions)]
    fn a_family_is_exposed_once() {
        let mut exposition = Exposition::default();
        exposition.family(Family::Workers);
        exposition.family(Family::Workers);
    }

    #[test]
    #[should_panic(expected = "tidegate_backend_requests_total has labels")]
    #[cfg(debug_assertions)]
    fn labels_are_those_that_were_declared() {
        let labels = [("server", "a"), ("backend", "b")];
        Exposition::default()
            .family(Family::BackendRequests)
            .sample(&labels, 1_u64);
    }
}
