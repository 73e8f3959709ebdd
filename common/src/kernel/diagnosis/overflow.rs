//! Signatures of a full accept queue: ListenOverflows (HANDSHAKE §8, rows 4 to 8).
//!
//! One finding per listener that lost something. All causes here are readings of the same drops (one family): a stalled
//! program, one stuck member of a group, a burst, or what the kernel does to the finished handshake.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::counters::Counter;
use super::super::sample::{Leg, Side};
use super::cause::{Cause, Certainty};
use super::context::{Context, setting};
use super::finding::{Evidence, Finding, Whose, seconds};
use super::window::ListenerWindow;

/// Members of one `SO_REUSEPORT` group: same leg, same name.
type Group<'a> = Vec<&'a ListenerWindow<'a>>;

/// Adds the findings about a full accept queue.
pub(super) fn find(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let Some(identity) = context.identity else { return };
    if !context.reportable(identity.overflows) {
        return;
    }
    let mut groups: BTreeMap<(Leg, &str), Group<'_>> = BTreeMap::new();
    for listener in &context.window.listeners {
        groups
            .entry((listener.last.leg, &listener.last.name))
            .or_default()
            .push(listener);
    }
    groups.retain(|_, group| group.iter().any(|listener| listener.suffered()));
    let own = context.own_drops();
    if groups.is_empty() {
        findings.push(without_a_listener(context, identity.overflows, own));
        return;
    }
    let ours = own.map_or(identity.overflows, |own| own.min(identity.overflows));
    let others = identity.overflows - ours;
    if context.reportable(others) {
        findings.push(without_a_listener(context, others, own));
        if !context.reportable(ours) {
            return;
        }
    }
    let weight = |group: &Group<'_>| group.iter().filter_map(|listener| listener.drops).sum::<u64>().max(1);
    let all: u64 = groups.values().map(weight).sum();
    for ((leg, name), group) in &groups {
        // sk_drops says whose, ListenOverflows how many.
        let count = ours * weight(group) / all;
        if count > 0 {
            findings.push(of_group(context, *leg, name, group, count));
        }
    }
}

/// Overflows at none of the listeners that were looked at.
fn without_a_listener(context: &Context<'_>, count: u64, own: Option<u64>) -> Finding {
    let cause = fate_of_the_handshake(context).unwrap_or(Cause::AcceptQueue);
    let mut finding = context.drop_finding(cause, Certainty::High, count);
    finding.subject = None;
    finding.evidence = counters(context);
    if let Some(own) = own {
        return context.of_others(&finding, count, own);
    }
    let listeners = &context.window.listeners;
    let waiting = listeners.iter().filter(|listener| listener.only_waits());
    if let Some(longest) = waiting.max_by_key(|listener| listener.last.waiting) {
        finding.subject = Some(longest.last.name.to_string());
        finding.evidence.push(only_waits(longest));
        return finding;
    }
    let looked = if listeners.is_empty() {
        "no listener could be looked at"
    } else if listeners.iter().any(|listener| listener.drops.is_none()) {
        "nothing tells which listener lost them: none had a full queue when it was looked at, and what each lost is not known"
    } else {
        "none of the listeners that were looked at has lost anything"
    };
    finding.evidence.push(Evidence::Sockets(looked.to_owned()));
    finding
}

fn only_waits(listener: &ListenerWindow<'_>) -> Evidence {
    let waiting = listener.last.waiting.unwrap_or(0);
    let name = &listener.last.name;
    Evidence::Sockets(format!(
        "{name}: {waiting} connections wait for accept(); the queue's limit is not known here"
    ))
}

fn of_group(context: &Context<'_>, leg: Leg, name: &str, group: &Group<'_>, count: u64) -> Finding {
    let (cause, certainty) = classify(context, group);
    let mut finding = context.drop_finding(cause, certainty, count);
    (finding.leg, finding.side) = (leg, Side::Server);
    if !context.roles.serves.is_empty() {
        finding.whose = Whose::Ours;
    }
    finding.subject = Some(name.to_owned());
    finding.acute = group.iter().any(|listener| listener.is_full());
    finding.evidence = counters(context);
    let suffering: Vec<_> = group.iter().filter(|listener| listener.suffered()).collect();
    if suffering.len() < group.len() {
        finding.shards = suffering.iter().map(|listener| listener.last.shard).collect();
    }
    finding.evidence.extend(
        suffering
            .iter()
            .take(LISTENERS_SHOWN_MAX)
            .map(|listener| queue(listener)),
    );
    if suffering.len() < group.len() {
        let others = group.len() - suffering.len();
        finding.evidence.push(Evidence::Sockets(format!(
            "the other {others} members of the group lost nothing"
        )));
    }
    if let Some((shard, pause)) = longest_pause(context, &suffering) {
        let pause = seconds(pause);
        finding
            .evidence
            .push(Evidence::Sockets(format!("worker {shard} did not run for {pause}")));
    }
    if cause == Cause::Burst {
        finding
            .evidence
            .push(setting("net.core.somaxconn", &context.settings().somaxconn));
    }
    finding
}

const LISTENERS_SHOWN_MAX: usize = 8;

fn classify(context: &Context<'_>, group: &Group<'_>) -> (Cause, Certainty) {
    if let Some(cause) = fate_of_the_handshake(context) {
        return (cause, Certainty::High);
    }
    let full_now = group.iter().any(|listener| listener.is_full());
    if full_now && some_hang_while_others_accept(group) {
        return (Cause::StuckShard, Certainty::Certain);
    }
    if full_now || group.iter().any(|listener| listener.full_samples >= 2) {
        return (Cause::AcceptQueue, Certainty::Certain);
    }
    let suffering: Vec<_> = group.iter().filter(|listener| listener.suffered()).collect();
    // However small the backlog: who does not run does not accept.
    if longest_pause(context, &suffering).is_some() {
        return (Cause::AcceptQueue, Certainty::High);
    }
    let somaxconn = context.settings().somaxconn.get();
    let small = group
        .iter()
        .filter_map(|listener| listener.last.queue.get())
        .any(|queue| queue.limit < context.thresholds.backlog_small || Some(i64::from(queue.limit)) == somaxconn);
    if small {
        (Cause::Burst, Certainty::High)
    } else {
        (Cause::AcceptQueue, Certainty::High)
    }
}

/// Which of our workers behind these sockets stood still for how long, where that is long enough to fill a queue.
fn longest_pause(context: &Context<'_>, suffering: &[&&ListenerWindow<'_>]) -> Option<(usize, Duration)> {
    if context.roles.serves.is_empty() {
        return None;
    }
    let pauses = suffering.iter().filter_map(|listener| {
        let shard = listener.last.shard;
        Some((shard, *context.window.pauses.get(shard)?))
    });
    pauses
        .max_by_key(|(_, pause)| *pause)
        .filter(|(_, pause)| *pause >= context.thresholds.pause)
}

/// What becomes of a handshake that meets the full queue, where that is worse than a repeated SYN.
fn fate_of_the_handshake(context: &Context<'_>) -> Option<Cause> {
    let overflows = context.delta(Counter::ListenOverflows);
    let cookies = context.delta(Counter::SyncookiesRecv);
    // Row 8: O ≈ ΔSyncookiesRecv > 0, taken as within a fifth.
    if cookies > 0 && overflows.abs_diff(cookies) * 5 <= overflows.max(cookies) {
        return Some(Cause::CookieAckOverflow);
    }
    let resets = context.delta(Counter::EmbryonicRsts) > 0;
    (resets && context.settings().tcp_abort_on_overflow.get() == Some(1)).then_some(Cause::OverflowReset)
}

/// Row 6. A member that accepts has an all but empty queue; in a stall of all of them each queue fills.
fn some_hang_while_others_accept(group: &Group<'_>) -> bool {
    let (suffering, others): (Vec<_>, Vec<_>) = group.iter().partition(|listener| listener.suffered());
    let idle = |listener: &&&ListenerWindow<'_>| {
        listener
            .last
            .queue
            .get()
            .is_some_and(|queue| queue.depth <= queue.limit / 8)
    };
    !suffering.is_empty() && !others.is_empty() && others.iter().all(idle)
}

fn counters(context: &Context<'_>) -> Vec<Evidence> {
    let mut evidence = vec![
        context.counter(Counter::ListenOverflows),
        context.counter(Counter::ListenDrops),
        context.counter(Counter::PassiveOpens),
    ];
    for counter in [Counter::SyncookiesRecv, Counter::EmbryonicRsts] {
        if context.delta(counter) > 0 {
            evidence.push(context.counter(counter));
        }
    }
    if context.settings().tcp_abort_on_overflow.get() == Some(1) {
        evidence.push(setting(
            "net.ipv4.tcp_abort_on_overflow",
            &context.settings().tcp_abort_on_overflow,
        ));
    }
    if context.window.deltas.get(Counter::PawsPassive) == Some(0) && context.settings().tcp_tw_recycle.get() > Some(0) {
        evidence.push(Evidence::Excluded(
            "tcp_tw_recycle is set but has rejected nothing (PAWSPassive +0)".to_owned(),
        ));
    }
    evidence
}

fn queue(listener: &ListenerWindow<'_>) -> Evidence {
    let ListenerWindow { last, depth_peak, .. } = listener;
    let drops = listener
        .drops
        .map_or_else(String::new, |drops| format!(", its socket threw away {drops}"));
    Evidence::Sockets(match last.queue.get() {
        Some(queue) => format!(
            "{} member {}: accept queue {} of {} now, {depth_peak} at most{drops}",
            last.name, last.shard, queue.depth, queue.limit
        ),
        None => format!(
            "{} member {}: accept queue {}{drops}",
            last.name,
            last.shard,
            last.queue.as_ref().map(|_| "")
        ),
    })
}
