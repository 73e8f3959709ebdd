//! The recorded `/proc` trees against the verdicts they must get.
//!
//! Sockets of a recorded tree come from its `proc/net/tcp`; time from its `proc/uptime`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::root::ProcRoot;
use super::super::sample::{Leg, Moment, Sample};
use super::super::sampler::{Listeners, Sampler};
use super::cause::Certainty;
use super::context::Roles;
use super::finding::Finding;
use super::legs::Verdict;
use super::settings::Thresholds;
use super::{Engine, diagnose};
use crate::time::{MonoTime, WallTime, mono_now};

/// The recorded trees.
pub(crate) fn trees() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kernel")
}

/// The roles of a front.
pub(crate) fn front() -> Roles {
    Roles {
        serves: vec![Leg::ClientFront],
        connects: vec![Leg::CacheOrigin],
    }
}

/// A recorded tree as a sample, at the time that its uptime says after `boot`.
pub(crate) fn recorded(tree: &str, boot: MonoTime) -> Sample {
    let root = ProcRoot::new(&trees().join(tree));
    let uptime = root.uptime().ok().expect("an uptime");
    let at = Moment {
        mono: boot + uptime,
        wall: WallTime::from_unix_secs(1_795_000_000).plus(uptime),
    };
    Sampler::new(root).sample(at, Listeners::Own(&[]))
}

/// The engine after the two trees, as a running front would have read them.
fn observe(before: &str, after: &str) -> Engine {
    let boot = mono_now();
    let mut engine = Engine::new(Thresholds::default(), front());
    let baseline = engine.observe(recorded(before, boot));
    assert!(
        baseline.events.is_empty(),
        "{before}: one sample is only a baseline: {baseline:?}"
    );
    let observed = engine.observe(recorded(after, boot));
    assert_eq!(observed.new_baseline, None, "{before} → {after}");
    assert_eq!(
        observed.events.len(),
        engine.open().count(),
        "each opening is one event"
    );
    engine
}

fn words<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<(&'static str, u64, Certainty)> {
    findings
        .map(|finding| (finding.cause.word(), finding.count, finding.certainty))
        .collect()
}

type Found = (&'static str, u64, Certainty);

/// Tree, its two moments, what is found, and what is explained as harmless.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [Found],
    &'static [&'static str],
);

const EXPECTED: &[Row] = {
    use Certainty::{Certain, High, Medium};
    &[
        (
            "kernel-3.10.0-514.el7-tw-recycle",
            "before",
            "after",
            &[("tw_recycle", 120, Certain)],
            &[],
        ),
        (
            "kernel-3.10.0-514.el7-tw-recycle",
            "after",
            "cured",
            &[("time_wait_overflow", 837, Certain)],
            &[],
        ),
        (
            "kernel-4.9.0-tw-recycle",
            "before",
            "after",
            &[("tw_recycle", 120, Certain)],
            &[],
        ),
        (
            "kernel-4.9.0-tw-recycle",
            "after",
            "cured",
            &[("time_wait_overflow", 861, Certain)],
            &[],
        ),
        (
            "kernel-3.10.0-514.el7-accept-overflow",
            "before",
            "after",
            &[("accept_queue_overflow", 48, High)],
            &[],
        ),
        (
            "kernel-4.9.0-syn-queue-full",
            "before",
            "after",
            &[("syn_queue_full", 32, Certain)],
            &[],
        ),
        (
            "kernel-3.10.0-514.el7-syncookies",
            "before",
            "after",
            &[("syncookies", 44, Certain)],
            &[],
        ),
        (
            "kernel-4.9.0-syncookies",
            "before",
            "after",
            &[("syncookies", 52, High)],
            &[],
        ),
        (
            "kernel-6.18/accept-queue-overflow",
            "before",
            "after",
            &[("accept_queue_overflow", 75, High)],
            &[],
        ),
        (
            "kernel-6.18/syn-queue-full",
            "before",
            "after",
            &[("syn_queue_full", 21, Certain)],
            &[],
        ),
        (
            "kernel-6.18/syn-backlog-last-quarter",
            "before",
            "after",
            &[("syn_backlog_reserve", 17, High)],
            &[],
        ),
        (
            "kernel-6.18/no-route-back",
            "before",
            "after",
            &[("no_route_back", 20, High)],
            &[],
        ),
        (
            "kernel-6.18/syncookies",
            "before",
            "after",
            &[("syncookies", 201, High)],
            &[],
        ),
        (
            "kernel-6.18/time-wait-overflow",
            "before",
            "after",
            &[("time_wait_overflow", 35, Certain)],
            &[],
        ),
        (
            "kernel-6.18/paws-time-wait",
            "before",
            "after",
            &[("time_wait_paws", 3, Medium)],
            &[],
        ),
        (
            "kernel-6.18/embryonic-reset",
            "before",
            "after",
            &[("half_open_reset", 12, Medium)],
            &[],
        ),
        ("kernel-6.18/defer-accept", "before", "after", &[], &["defer_accept"]),
        ("kernel-6.18/healthy", "before", "after", &[], &[]),
    ]
};

#[test]
fn every_recorded_incident_gets_the_verdict_that_it_must() {
    for (tree, before, after, expected, harmless) in EXPECTED {
        let engine = observe(&format!("{tree}/{before}"), &format!("{tree}/{after}"));
        assert_eq!(
            words(engine.open().map(|open| &open.finding)),
            *expected,
            "{tree}: {before} → {after}"
        );
        let explained: Vec<_> = engine.harmless().iter().map(|finding| finding.cause.word()).collect();
        assert_eq!(explained, *harmless, "{tree}: {before} → {after}");
        for open in engine.open() {
            assert_eq!(open.finding.leg, Leg::ClientFront, "{tree}");
            assert!(
                !open.finding.evidence.is_empty() && !open.finding.remedy.is_empty(),
                "{tree}"
            );
        }
    }
}

#[test]
fn the_verdict_on_leg_1_follows_from_the_findings() {
    for (tree, before, after, expected) in [
        ("kernel-3.10.0-514.el7-tw-recycle", "before", "after", Verdict::Lossy),
        ("kernel-3.10.0-514.el7-tw-recycle", "after", "cured", Verdict::AtRisk),
        ("kernel-3.10.0-514.el7-syncookies", "before", "after", Verdict::AtRisk),
        ("kernel-6.18/healthy", "before", "after", Verdict::Healthy),
        ("kernel-6.18/defer-accept", "before", "after", Verdict::Healthy),
    ] {
        let engine = observe(&format!("{tree}/{before}"), &format!("{tree}/{after}"));
        let legs: Vec<_> = engine.legs().into_iter().map(|leg| (leg.leg, leg.verdict)).collect();
        let expected = [
            (Leg::ClientFront, expected),
            (Leg::FrontCache, Verdict::Absent),
            (Leg::CacheOrigin, Verdict::Healthy),
        ];
        assert_eq!(legs, expected, "{tree}: {before} → {after}");
    }
}

#[test]
fn cookies_of_3_10_are_not_called_a_loss() {
    let boot = mono_now();
    let mut history = super::window::History::default();
    for moment in ["before", "after"] {
        history.push(
            recorded(&format!("kernel-3.10.0-514.el7-syncookies/{moment}"), boot),
            Duration::from_secs(75),
        );
    }
    let window = history.window(Duration::from_secs(60)).expect("a window");
    let identity = diagnose(&window, &Thresholds::default(), &front(), true)
        .identity
        .expect("an identity");
    assert_eq!(
        (identity.drops, identity.cookies, identity.lost(), identity.residual),
        (44, 44, 0, 0)
    );
}

#[test]
fn an_innocent_tw_recycle_is_named_as_excluded() {
    let engine = observe(
        "kernel-3.10.0-514.el7-accept-overflow/before",
        "kernel-3.10.0-514.el7-accept-overflow/after",
    );
    let open = engine.open().next().expect("a finding");
    let evidence: Vec<_> = open.finding.evidence.iter().map(ToString::to_string).collect();
    assert!(
        evidence.iter().any(|text| text.starts_with("tcp_tw_recycle is set")),
        "{evidence:?}"
    );
    assert!(
        evidence.contains(&"TcpExt.ListenOverflows +48 in 4.8 s".to_owned()),
        "{evidence:?}"
    );
}

#[test]
fn another_boot_is_a_new_baseline() {
    let boot = mono_now();
    let mut engine = Engine::new(Thresholds::default(), front());
    engine.observe(recorded("kernel-6.18/syn-queue-full/after", boot));
    let other = recorded(
        "kernel-3.10.0-514.el7-tw-recycle/after",
        boot + Duration::from_secs(9000),
    );
    assert!(engine.observe(other).new_baseline.is_some());
    assert_eq!(engine.open().count(), 0);
    assert!(matches!(engine.legs()[0].verdict, Verdict::Unknown(_)));
}

#[test]
fn a_finding_closes_within_90_s_of_its_end_and_is_logged_once() {
    let boot = mono_now();
    let mut engine = Engine::new(Thresholds::default(), front());
    engine.observe(recorded("kernel-6.18/syn-queue-full/before", boot));
    let after = recorded("kernel-6.18/syn-queue-full/after", boot);
    let mut events = engine.observe(after.clone()).events.len();
    assert_eq!(events, 1);
    let mut closed_after = None;
    for second in 1..=120 {
        let mut later = after.clone();
        later.at.mono += Duration::from_secs(second);
        later.at.wall = later.at.wall.plus(Duration::from_secs(second));
        events += engine.observe(later).events.len();
        if closed_after.is_none() && engine.open().count() == 0 {
            closed_after = Some(second);
        }
    }
    assert!(
        closed_after.is_some_and(|second| (60..90).contains(&second)),
        "{closed_after:?}"
    );
    assert_eq!(events, 2, "one opening, one closing");
    assert_eq!(
        engine.events().map(|event| event.change.word()).collect::<Vec<_>>(),
        ["opened", "closed"]
    );
}
