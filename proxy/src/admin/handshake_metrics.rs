//! The part of `/metrics` that is about handshakes: status, findings, settings, queues, the kernel's counters, sockets.
//!
//! Labels are bounded: legs, causes, states and counters are enums, listeners, shards and servers are as configured.

use std::collections::{BTreeMap, BTreeSet};

use common::kernel::counters::Counter;
use common::kernel::diagnosis::legs::Verdict;
use common::kernel::preflight::finding::Severity;
use common::kernel::reading::Why;
use common::kernel::sample::{AcceptSample, ListenerSample, Sample};
use common::kernel::sockets::census::StateCounts;
use common::kernel::sockets::entry::State as TcpState;
use common::telemetry::exposition::Exposition;
use common::telemetry::metrics::Family;
use common::time::mono_now;

use super::{Watched, health};
use crate::health::{State, Status};

/// Appends all of it.
pub fn expose(page: &mut Exposition, watched: &Watched) {
    let state = watched.health.lock();
    let status = health::status(watched, &state);
    let mut samples = page.family(Family::HealthStatus);
    for other in Status::ALL {
        samples.sample(&[("status", other.word())], u64::from(other == status));
    }
    page.family(Family::HealthSamples).sample(&[], state.looks);
    cache_servers(page, watched);
    findings(page, &state);
    legs(page, &state);
    settings(page, &state);
    if let Some(sample) = state.engine.last() {
        listeners(page, &state, &sample.listeners);
        kernel(page, sample);
        local_ports(page, sample);
        accepts(page, sample);
        half_open(page, sample);
        sockets_by_state(page, sample);
    }
}

fn cache_servers(page: &mut Exposition, watched: &Watched) {
    let mut samples = page.family(Family::CacheServerHealth);
    for server in watched.folded.snapshots(mono_now()) {
        let said = server.report.filter(|_| server.unavailable.is_none());
        let said = said.map_or("unavailable", |(report, _)| report.status.word());
        for word in Status::ALL.map(Status::word).into_iter().chain(["unavailable"]) {
            samples.sample(&[("server", &server.admin), ("status", word)], u64::from(word == said));
        }
    }
}

fn findings(page: &mut Exposition, state: &State) {
    let mut open: BTreeMap<_, u64> = BTreeMap::new();
    for found in state.engine.open() {
        let finding = &found.finding;
        let labels = (
            finding.leg.word(),
            finding.whose.word(),
            finding.side.word(),
            finding.cause.word(),
            finding.impact().word(),
        );
        *open.entry(labels).or_default() += 1;
    }
    let mut samples = page.family(Family::HealthFindings);
    for ((leg, whose, side, cause, impact), count) in open {
        samples.sample(
            &[
                ("leg", leg),
                ("whose", whose),
                ("side", side),
                ("cause", cause),
                ("impact", impact),
            ],
            count,
        );
    }
}

fn legs(page: &mut Exposition, state: &State) {
    const VERDICTS: [Verdict; 6] = [
        Verdict::Healthy,
        Verdict::AtRisk,
        Verdict::Suspect,
        Verdict::Lossy,
        Verdict::Unknown(Why::Absent),
        Verdict::Absent,
    ];
    let mut samples = page.family(Family::HealthLeg);
    for report in state.engine.legs() {
        for verdict in VERDICTS {
            let holds = verdict.word() == report.verdict.word();
            samples.sample(
                &[("leg", report.leg.word()), ("verdict", verdict.word())],
                u64::from(holds),
            );
        }
    }
}

fn settings(page: &mut Exposition, state: &State) {
    let mut samples = page.family(Family::HealthSettings);
    for severity in [Severity::Refuse, Severity::Warn, Severity::Note] {
        let count = state
            .settings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count();
        samples.sample(&[("severity", severity.word())], count);
    }
}

fn listeners(page: &mut Exposition, state: &State, listeners: &[ListenerSample]) {
    let [_, minute] = state.engine.windows();
    let peak = |listener: &ListenerSample| {
        let windows = minute.iter().flat_map(|window| &window.listeners);
        windows
            .into_iter()
            .find(|seen| seen.last.name == listener.name && seen.last.shard == listener.shard)
            .map(|seen| u64::from(seen.depth_peak))
    };
    let queue = |listener: &ListenerSample| listener.queue.get();
    per_listener(page, Family::ListenerQueue, listeners, |listener| {
        queue(listener).map(|queue| queue.depth.into())
    });
    per_listener(page, Family::ListenerQueuePeak, listeners, peak);
    per_listener(page, Family::ListenerLimit, listeners, |listener| {
        queue(listener).map(|queue| queue.limit.into())
    });
    per_listener(page, Family::ListenerDrops, listeners, |listener| {
        listener.drops.get().map(u64::from)
    });
}

/// One family with one value per socket; what the kernel does not tell has no sample.
fn per_listener(
    page: &mut Exposition,
    family: Family,
    listeners: &[ListenerSample],
    value: impl Fn(&ListenerSample) -> Option<u64>,
) {
    let mut samples = page.family(family);
    for listener in listeners {
        if let Some(value) = value(listener) {
            samples.sample(
                &[("listener", &listener.name), ("shard", &listener.shard.to_string())],
                value,
            );
        }
    }
}

fn kernel(page: &mut Exposition, sample: &Sample) {
    let mut counters = page.family(Family::TcpCounter);
    for counter in Counter::ALL {
        if let Some(value) = sample.counters.get(*counter) {
            counters.sample(&[("counter", counter.name())], value);
        }
    }
    let mut half_open = page.family(Family::TcpHalfOpen);
    if let Some(seen) = sample.half_open.as_ref().ok() {
        for (direction, half) in [("incoming", seen.incoming), ("outgoing", seen.outgoing)] {
            let fresh = half.total.saturating_sub(half.repeated);
            for (repeated, count) in [("no", fresh), ("yes", half.repeated)] {
                half_open.sample(&[("direction", direction), ("repeated", repeated)], u64::from(count));
            }
        }
    }
    let mut sockets = page.family(Family::TcpSockets);
    if let Some(census) = sample.census.as_ref().ok() {
        for state in TcpState::ALL {
            sockets.sample(&[("state", state.word())], u64::from(census.total.get(*state)));
        }
    }
    let mut time_wait = page.family(Family::TcpTimeWait);
    if let Some(sockstat) = sample.sockstat.get() {
        time_wait.sample(&[], sockstat.time_wait);
    }
}

fn local_ports(page: &mut Exposition, sample: &Sample) {
    let mut ports = page.family(Family::BackendLocalPorts);
    let Some(census) = sample.census.as_ref().ok() else {
        return;
    };
    for server in &sample.connects {
        if let Some(counts) = server.busiest(census) {
            ports.sample(
                &[("backend", &server.backend), ("server", &server.server)],
                u64::from(counts.connections()),
            );
        }
    }
}

fn accepts(page: &mut Exposition, sample: &Sample) {
    for (family, count) in [
        (Family::AcceptsLookedAt, accepted as fn(&AcceptSample) -> u64),
        (Family::AcceptsSynAckRepeated, |accepts| accepts.synack_repeated),
    ] {
        let mut samples = page.family(family);
        for accepts in &sample.accepts {
            samples.sample(&[("leg", accepts.leg.word())], count(accepts));
        }
    }
}

const fn accepted(accepts: &AcceptSample) -> u64 {
    accepts.accepted
}

/// The SYN queue of each listener; the kernel does not tell which member of a group a half-open connection belongs to.
fn half_open(page: &mut Exposition, sample: &Sample) {
    let mut samples = page.family(Family::ListenerHalfOpen);
    let Some(seen) = sample.half_open.as_ref().ok() else {
        return;
    };
    for listener in sample.listeners.iter().filter(|listener| listener.shard == 0) {
        let half = listener.port.and_then(|port| seen.by_port.get(&port));
        let half = half.copied().unwrap_or_default();
        for (repeated, count) in [("no", half.total.saturating_sub(half.repeated)), ("yes", half.repeated)] {
            samples.sample(
                &[("listener", &listener.name), ("repeated", repeated)],
                u64::from(count),
            );
        }
    }
}

/// The sockets of each listener and towards each server, by TCP state.
fn sockets_by_state(page: &mut Exposition, sample: &Sample) {
    let census = sample.census.as_ref().ok();
    let mut listeners = page.family(Family::ListenerSockets);
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for listener in &sample.listeners {
        let counts = listener.port.and_then(|port| census?.by_listener.get(&port));
        // The members of a group have one port.
        let Some(counts) = counts.filter(|_| told.insert(&listener.name)) else {
            continue;
        };
        for (state, count) in taken(counts) {
            listeners.sample(&[("listener", &listener.name), ("state", state)], count);
        }
    }
    let mut servers = page.family(Family::BackendSockets);
    for server in &sample.connects {
        let mut sum = StateCounts::default();
        census
            .into_iter()
            .flat_map(|census| server.sockets(census))
            .for_each(|(_, counts)| sum.add(counts));
        for (state, count) in taken(&sum) {
            servers.sample(
                &[
                    ("backend", &server.backend),
                    ("server", &server.server),
                    ("state", state),
                ],
                count,
            );
        }
    }
}

/// The states that some sockets are in, listening ones excepted.
fn taken(counts: &StateCounts) -> impl Iterator<Item = (&'static str, u64)> {
    let states = TcpState::ALL.iter().filter(|&&state| state != TcpState::Listen);
    states
        .map(|&state| (state.word(), u64::from(counts.get(state))))
        .filter(|(_, count)| *count > 0)
}
