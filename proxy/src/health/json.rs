//! Legs, findings, settings and listeners as JSON, for `/health` and `tidegate doctor --json`.
//!
//! The names are stable: docs/health.md describes them; a change that breaks a reader raises `schema`.

use std::collections::BTreeMap;

use common::kernel::diagnosis::Engine;
use common::kernel::diagnosis::finding::Finding;
use common::kernel::diagnosis::legs::{ClientEnd, LegReport, ServerEnd, Verdict};
use common::kernel::diagnosis::window::ListenerWindow;
use common::kernel::preflight;
use common::kernel::preflight::tw_recycle::safety_in;
use common::kernel::sample::{ListenerSample, Moment};
use common::process::confine::{Layer, State};
use common::serve::shedding::Scarce;
use common::telemetry::json::{Array, Object, Raw};
use common::time::Clock;

use super::fold::Snapshot;
use super::shedding::Budgets;
use super::way;

/// The number that changes when a reader would break.
pub const SCHEMA: u64 = 1;

/// Everything that the diagnosis and the preflight have to say.
pub fn diagnosis(object: &mut Object<'_>, engine: &Engine, settings: &[preflight::finding::Finding]) {
    if let Some(why) = engine.blind() {
        object.field("blind", &*why.to_string());
    }
    let mut legs = object.array("legs");
    for report in &engine.legs() {
        leg(legs.object(), report);
    }
    drop(legs);
    let now = Moment::now(&Clock::System);
    let mut findings = object.array("findings");
    for open in engine.open() {
        let mut object = findings.object();
        finding(&mut object, &open.finding);
        object
            .field("since", open.since.unix_secs())
            .field("age_seconds", open.age(now).as_secs());
    }
    drop(findings);
    let mut harmless = object.array("harmless");
    for found in engine.harmless() {
        finding(&mut harmless.object(), found);
    }
    drop(harmless);
    if let Some(sample) = engine.last() {
        object
            .object("kernel")
            .field(
                "version",
                sample.kernel.get().map(|kernel| kernel.to_string()).as_deref(),
            )
            .field("tcp_tw_recycle", safety_in(sample).word());
    }
    let mut array = object.array("settings");
    for finding in settings {
        setting(array.object(), finding);
    }
}

/// What the process has given up.
pub fn confined(array: &mut Array<'_>, layers: &[Layer]) {
    for Layer { name, state } in layers {
        let mut object = array.object();
        object.field("layer", *name).field("state", state.word());
        match state {
            State::OnAbi(abi) => drop(object.field("abi", i64::from(*abi))),
            State::Unavailable(why) => drop(object.field("because", why.as_str())),
            State::On | State::Off => {}
        }
    }
}

/// What is taken of memory and descriptors.
pub fn resources(array: &mut Array<'_>, budgets: &Budgets) {
    for scarce in Scarce::ALL {
        let gauge = budgets.gauge(scarce);
        array
            .object()
            .field("resource", scarce.word())
            .field("used", gauge.level.map(|level| level.used))
            .field("budget", gauge.level.map(|level| level.budget))
            .field("scarce", gauge.is_scarce)
            .field("begun", gauge.begun);
    }
}

/// The four steps from clients to origins, and what the cache servers say of theirs.
pub fn way(object: &mut Object<'_>, engine: &Engine, servers: &[Snapshot]) {
    let mut steps = object.array("way");
    for step in way::steps(engine.roles(), &engine.legs(), servers) {
        steps
            .object()
            .field("step", u64::from(step.number))
            .field("what", step.what)
            .field("leg", step.leg.word())
            .field("side", step.side.word())
            .field("verdict", &*step.verdict)
            .some("at", step.at.as_deref())
            .some("because", step.because.as_deref());
    }
    drop(steps);
    let mut array = object.array("cache_servers");
    for server in servers {
        let mut object = array.object();
        let (report, age) = server
            .report
            .as_ref()
            .map(|(report, age)| (report, age.as_secs()))
            .unzip();
        object
            .field("admin", &*server.admin)
            .field("age_seconds", age)
            .some("unavailable", server.unavailable.as_deref())
            .some("report", report.map(|report| Raw(&report.json)));
    }
}

/// One finding of the diagnosis.
pub fn finding(object: &mut Object<'_>, finding: &Finding) {
    object
        .field("leg", finding.leg.word())
        .field("whose", finding.whose.word())
        .field("side", finding.side.word())
        .field("cause", finding.cause.word())
        .field("impact", finding.impact().word())
        .field("certainty", finding.certainty.word())
        .field("what", finding.cause.title())
        .some("subject", finding.subject.as_deref())
        .field("count", finding.count)
        .field("over_seconds", finding.over.as_secs_f64())
        .some("share", finding.share);
    let mut shards = object.array("shards");
    for shard in &finding.shards {
        shards.item(*shard as u64);
    }
    drop(shards);
    let mut evidence = object.array("evidence");
    for piece in &finding.evidence {
        evidence
            .object()
            .field("kind", piece.kind())
            .field("text", &*piece.to_string());
    }
    drop(evidence);
    object
        .field("symptom", finding.symptom())
        .field("remedy", &*finding.remedy);
}

/// The listeners: each with its worst shard, not with a sum.
pub fn listeners<'l>(array: &mut Array<'_>, engine: &Engine, describe: impl Fn(&str) -> Option<(&'l str, &'l str)>) {
    let [_, minute] = engine.windows();
    let mut groups: BTreeMap<&str, Vec<(&ListenerSample, Option<&ListenerWindow<'_>>)>> = BTreeMap::new();
    for listener in engine.last().iter().flat_map(|sample| &sample.listeners) {
        let known = minute.iter().flat_map(|window| &window.listeners);
        let window = known
            .into_iter()
            .find(|window| window.last.name == listener.name && window.last.shard == listener.shard);
        groups.entry(&listener.name).or_default().push((listener, window));
    }
    for (address, shards) in groups {
        let mut object = array.object();
        object.field("address", address);
        if let Some((role, name)) = describe(address) {
            object.field("role", role).field("listener", name);
        }
        group(&mut object, &shards);
    }
}

fn group(object: &mut Object<'_>, shards: &[(&ListenerSample, Option<&ListenerWindow<'_>>)]) {
    let depth = |listener: &ListenerSample| listener.queue.get().map(|queue| queue.depth);
    let peak = |(listener, window): &(&ListenerSample, Option<&ListenerWindow<'_>>)| {
        let seen = window.map_or(0, |window| window.depth_peak);
        seen.max(depth(listener).unwrap_or(0))
    };
    let Some(worst) = shards.iter().max_by_key(|shard| (depth(shard.0), peak(shard))) else {
        return;
    };
    let (sample, _) = worst;
    let drops: Option<u64> = shards
        .iter()
        .map(|(listener, _)| listener.drops.get().map(u64::from))
        .sum();
    let lost: Option<u64> = shards
        .iter()
        .map(|(_, window)| window.and_then(|window| window.drops))
        .sum();
    object
        .field("leg", sample.leg.word())
        .field("shards", shards.len() as u64);
    object.field("backlog_asked", sample.backlog_asked);
    let mut queue = object.object("queue");
    match &sample.queue {
        common::kernel::reading::Reading::Available(known) => {
            queue
                .field("depth", known.depth)
                .field("limit", known.limit)
                .field("peak", shards.iter().map(peak).max().unwrap_or(0))
                .field("worst_shard", sample.shard as u64);
        }
        common::kernel::reading::Reading::Unavailable(why) => {
            queue.field("unavailable", &*why.to_string());
        }
    }
    drop(queue);
    object.field("socket_drops", drops).field("socket_drops_minute", lost);
}

fn leg(mut object: Object<'_>, report: &LegReport) {
    object
        .field("leg", report.leg.word())
        .field("verdict", report.verdict.word());
    if let Verdict::Unknown(why) = report.verdict {
        object.field("because", &*why.to_string());
    }
    if let Some(end) = &report.server {
        server_end(object.object("server"), end);
    }
    if let Some(end) = &report.client {
        client_end(object.object("client"), end);
    }
}

fn server_end(mut object: Object<'_>, end: &ServerEnd) {
    object
        .field("connections", end.passive_opens)
        .field("dropped", end.lost)
        .field("dropped_by_full_queue", end.overflows)
        .field("cookies_counted_as_drops", end.cookies)
        .some("half_open", end.half_open.map(|half| half.total))
        .some("half_open_repeated", end.half_open.map(|half| half.repeated))
        .some("accepted", end.accepted.map(|(all, _)| all))
        .some(
            "accepted_after_repeated_synack",
            end.accepted.map(|(_, repeated)| repeated),
        );
    if let Some(queue) = &end.worst_queue {
        object
            .object("worst_queue")
            .field("listener", &*queue.listener)
            .field("shard", queue.shard as u64)
            .field("depth", queue.depth)
            .field("peak", queue.peak)
            .field("limit", queue.limit);
    }
}

fn client_end(mut object: Object<'_>, end: &ClientEnd) {
    object
        .field("connects", end.attempts)
        .field("failed", end.failed)
        .field("lost_a_syn", end.lossy)
        .some("local_ports_used", end.local_ports.map(|(used, _)| used))
        .some("local_ports", end.local_ports.map(|(_, range)| range))
        .some("time_wait", end.time_wait);
    if let Some(destinations) = &end.destinations {
        let mut array = object.array("destinations");
        for destination in destinations {
            array
                .object()
                .field("backend", &*destination.backend)
                .field("server", &*destination.server)
                .field("address", &*destination.address.to_string())
                .field("local_ports_used", destination.local_ports)
                .field("time_wait", destination.time_wait);
        }
    }
}

fn setting(mut object: Object<'_>, finding: &preflight::finding::Finding) {
    object
        .field("severity", finding.severity.word())
        .field("check", finding.check.word())
        .field("read", &*finding.read)
        .field("from", &*finding.from.display().to_string())
        .field("why", &*finding.why)
        .field("remedy", &*finding.remedy.to_string())
        .some("command", finding.remedy.command().as_deref())
        .some("file_line", finding.remedy.file_line().as_deref());
}
