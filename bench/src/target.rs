//! What we mean to reach, case by case, and whether a run has shown it. Pure.
//!
//! One table for all of it: a figure of ours, whose figure it is held against, and the ratio that is meant.
//! docs/benchmarks.md says where the ratios come from.

use serde_json::{Value, json};

use crate::stats::{FOREIGN_MAX, SPREAD_MAX};
use crate::subject::Subject;
use crate::subject::Subject::{Floor, Haproxy, Nginx, Tidegate, TrafficServer, Varnish};

/// One thing to reach: our figure in `case` is at most `ratio` times the other's in `their_case`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) case: &'static str,
    pub(crate) measure: Measure,
    /// Of several the one whose figure is smallest.
    pub(crate) against: &'static [Subject],
    pub(crate) their_case: &'static str,
    pub(crate) ratio: f64,
}

/// Which figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// CPU time per request.
    Cpu,
    /// The 99th percentile of latency, with as many requests per second as are 70 % of the other's peak.
    P99,
}

const fn cpu(case: &'static str, against: &'static [Subject], ratio: f64) -> Target {
    Target {
        case,
        measure: Measure::Cpu,
        against,
        their_case: case,
        ratio,
    }
}

/// Our figure in `case` against the figures without an access log: peers are tuned, and tuned ones write none.
const fn beside_hit(case: &'static str, against: &'static [Subject], ratio: f64) -> Target {
    Target {
        their_case: "hit-1k",
        ..cpu(case, against, ratio)
    }
}

const fn p99(against: &'static [Subject]) -> Target {
    Target {
        measure: Measure::P99,
        ..cpu("hit-1k", against, 1.0)
    }
}

/// All of them, in the order of the cases.
pub(crate) const TARGETS: [Target; 28] = [
    cpu("hit-1k", &[Haproxy], 0.80),
    cpu("hit-1k", &[Nginx], 0.55),
    cpu("hit-1k", &[Varnish], 0.45),
    cpu("hit-1k", &[Floor], 1.30),
    p99(&[Haproxy]),
    p99(&[Nginx]),
    p99(&[Varnish]),
    p99(&[TrafficServer]),
    beside_hit("hit-1k-log", &[Haproxy], 0.80),
    beside_hit("hit-1k-log", &[Nginx], 0.55),
    beside_hit("hit-1k-log", &[Varnish], 0.45),
    beside_hit("hit-1k-log", &[Floor], 1.30),
    cpu("hit-16k", &[Haproxy], 1.0),
    cpu("hit-16k", &[Nginx], 1.0),
    cpu("hit-16k", &[Varnish], 1.0),
    cpu("hit-16k", &[Floor], 1.25),
    cpu("hit-1m", &[Nginx, Varnish, Haproxy], 0.95),
    cpu("pass-1k", &[Nginx, Haproxy], 0.95),
    cpu("pass-1k", &[Nginx, Haproxy], 1.0),
    cpu("miss-16k", &[Haproxy], 1.0),
    cpu("close-1k", &[Nginx, Haproxy], 0.98),
    cpu("tls-1k", &[Nginx, Haproxy], 0.75),
    cpu("tls-1m", &[Nginx], 0.70),
    cpu("tls-1m", &[Haproxy], 0.70),
    cpu("tls-close-1k", &[Nginx], 1.0),
    cpu("h2-1k", &[Haproxy], 0.80),
    cpu("h2-1k", &[Nginx], 0.35),
    beside_hit("workers-2", &[Tidegate], 1.05),
];

/// A figure in several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
    /// The part of the time that others used of the subject's core.
    pub(crate) foreign: f64,
}

impl Figure {
    fn spread(&self) -> f64 {
        (self.most - self.least) / self.median.max(1e-9)
    }
}

/// What a run says about a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) target: Target,
    /// Whose figure it was.
    pub(crate) other: Option<Subject>,
    /// Ours divided by theirs.
    pub(crate) ratio: Option<f64>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reached,
    NotReached,
    Noisy,
    /// The other one was not measured.
    Unknown,
}

impl Verdict {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::NotReached => "not reached",
            Self::Noisy => "too noisy to conclude",
            Self::Unknown => "not measured",
        }
    }
}

/// Judges all targets whose case was measured for us; `find` knows figures by target, case and subject.
pub(crate) fn judge(find: impl Fn(&Target, &str, Subject) -> Option<Figure>) -> Vec<Judged> {
    let judged = TARGETS.iter().filter_map(|target| {
        let ours = find(target, target.case, Tidegate)?;
        let theirs = target
            .against
            .iter()
            .map(|&subject| find(target, target.their_case, subject).map(|figure| (subject, figure)));
        // All of them have to be there: to be ahead of those that happen to be installed proves nothing.
        let all: Option<Vec<_>> = theirs.collect();
        let best = all.and_then(|all| all.into_iter().min_by(|a, b| a.1.median.total_cmp(&b.1.median)));
        Some(Judged {
            target: *target,
            other: best.map(|(subject, _)| subject),
            ratio: best.map(|(_, theirs)| ours.median / theirs.median.max(1e-9)),
            verdict: best.map_or(Verdict::Unknown, |(_, theirs)| verdict(ours, theirs, target.ratio)),
        })
    });
    judged.collect()
}

/// The rounds decide where they all say the same; where they do not, medians do, unless the rounds differ too much.
fn verdict(ours: Figure, theirs: Figure, ratio: f64) -> Verdict {
    let most = theirs.median * ratio;
    let is_disturbed = ours.foreign.max(theirs.foreign) > FOREIGN_MAX;
    let differs = ours.spread().max(theirs.spread()) > SPREAD_MAX;
    match () {
        () if is_disturbed => Verdict::Noisy,
        () if ours.most <= theirs.least * ratio => Verdict::Reached,
        () if ours.least > theirs.most * ratio => Verdict::NotReached,
        () if differs => Verdict::Noisy,
        () if ours.median <= most => Verdict::Reached,
        () => Verdict::NotReached,
    }
}

impl Judged {
    /// A line of the table.
    pub(crate) fn markdown(&self) -> String {
        let Target {
            case,
            measure,
            their_case,
            ratio,
            against,
        } = self.target;
        let figure = match measure {
            Measure::Cpu => "CPU per request",
            Measure::P99 => "p99 at 70 % of their peak",
        };
        let names: Vec<&str> = against.iter().map(|subject| subject.name()).collect();
        let whose = match (&names[..], self.other) {
            ([name], _) => (*name).to_owned(),
            (_, Some(best)) => format!("the best of {} ({})", names.join(", "), best.name()),
            (_, None) => format!("the best of {}", names.join(", ")),
        };
        let theirs = if their_case == case {
            String::new()
        } else {
            format!(" in {their_case}")
        };
        let measured = self.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = match self.verdict {
            Verdict::NotReached => format!("**{}**", self.verdict.words()),
            _ => self.verdict.words().to_owned(),
        };
        format!("| {case} | {figure} | ≤ {ratio:.2} × {whose}{theirs} | {measured} | {verdict} |\n")
    }

    pub(crate) fn json(&self) -> Value {
        let measure = match self.target.measure {
            Measure::Cpu => "cpu_micros_per_request",
            Measure::P99 => "p99_at_70_percent_of_their_peak",
        };
        json!({
            "case": self.target.case,
            "measure": measure,
            "against": self.target.against.iter().map(|subject| subject.name()).collect::<Vec<_>>(),
            "their_case": self.target.their_case,
            "other": self.other.map(Subject::name),
            "at_most": self.target.ratio,
            "ratio": self.ratio,
            "verdict": self.verdict.words(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;

    fn figure(least: f64, median: f64, most: f64) -> Figure {
        Figure {
            least,
            median,
            most,
            foreign: 0.0,
        }
    }

    #[test]
    fn a_verdict_needs_rounds_that_agree() {
        let calm = figure(99.0, 100.0, 101.0);
        let wild = figure(90.0, 100.0, 120.0);
        let disturbed = Figure { foreign: 0.2, ..calm };
        for (ours, theirs, ratio, expected) in [
            (calm, calm, 1.05, Verdict::Reached),
            (calm, calm, 0.95, Verdict::NotReached),
            (calm, calm, 1.0, Verdict::Reached),
            (calm, figure(98.0, 99.0, 100.0), 1.0, Verdict::NotReached),
            (wild, calm, 1.0, Verdict::Noisy),
            (calm, wild, 1.0, Verdict::Noisy),
            // However wild: no round of theirs was as good as any of ours.
            (calm, wild, 1.2, Verdict::Reached),
            (calm, wild, 0.8, Verdict::NotReached),
            (disturbed, calm, 2.0, Verdict::Noisy),
            (calm, disturbed, 2.0, Verdict::Noisy),
        ] {
            assert_eq!(verdict(ours, theirs, ratio), expected, "{ours:?} {theirs:?} {ratio}");
        }
    }

    #[test]
    fn the_better_one_counts_and_none_may_be_missing() {
        let with = |haproxy: Option<f64>| {
            let judged = judge(|_, case, subject| {
                let median = match subject {
                    Tidegate => Some(90.0),
                    Nginx => Some(100.0),
                    Haproxy => haproxy,
                    _ => None,
                };
                median
                    .filter(|_| case == "pass-1k")
                    .map(|median| figure(median, median, median))
            });
            let first = judged.into_iter().next().unwrap();
            (first.other, first.verdict)
        };
        assert_eq!(with(Some(80.0)), (Some(Haproxy), Verdict::NotReached));
        assert_eq!(with(Some(120.0)), (Some(Nginx), Verdict::Reached));
        assert_eq!(with(None), (None, Verdict::Unknown));
    }

    #[test]
    fn every_target_is_of_cases_that_there_are() {
        for target in &TARGETS {
            assert!(Case::by_name(target.case).unwrap().applies_to(Tidegate), "{target:?}");
            let theirs = Case::by_name(target.their_case).unwrap();
            assert!(
                target.against.iter().all(|&subject| theirs.applies_to(subject)),
                "{target:?}"
            );
        }
    }

    #[test]
    fn a_line_says_what_was_meant_and_what_was_found() {
        let target = cpu("pass-1k", &[Nginx, Haproxy], 0.95);
        let judged = Judged {
            target,
            other: Some(Haproxy),
            ratio: Some(1.234),
            verdict: Verdict::NotReached,
        };
        let line = "| pass-1k | CPU per request | ≤ 0.95 × the best of nginx, HAProxy (HAProxy) | 1.23 | \
                    **not reached** |\n";
        assert_eq!(judged.markdown(), line);
    }
}
