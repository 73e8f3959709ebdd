//! Signatures of our own connects, one server at a time: legs 2 and 3 from their client's end (HANDSHAKE §4 and §8 row 20).

use super::super::connects::ConnectCounts;
use super::super::counters::Counter;
use super::super::reading::Reading;
use super::super::sample::{Leg, Side};
use super::super::sockets::census::Half;
use super::super::sockets::entry::State;
use super::super::sockstat::ratio;
use super::cause::{Cause, Certainty};
use super::context::{Context, setting};
use super::finding::{Evidence, Finding, Whose};
use super::window::ServerWindow;

/// Adds the findings about servers that we connect to.
pub(super) fn find(context: &Context<'_>, findings: &mut Vec<Finding>) {
    if context.roles.serves.is_empty() && context.roles.connects.is_empty() {
        any_programs_connects(context, findings);
    }
    for server in &context.window.servers {
        failures(context, server, findings);
        loss(context, server, findings);
        local_ports(context, server, findings);
    }
}

/// Where nobody counts connects (the doctor alone): those under way whose SYN had to be repeated, of any program here.
fn any_programs_connects(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let Reading::Available(half_open) = &context.window.last.half_open else {
        return;
    };
    let outgoing = half_open.outgoing;
    if outgoing.repeated < context.thresholds.half_open_repeated_min || context.stood_still(Counter::SynRetrans) {
        return;
    }
    let mut finding = Finding::new(
        context.window,
        Cause::ConnectLoss,
        Leg::Machine,
        Side::Client,
        Certainty::Medium,
    );
    finding.count = u64::from(outgoing.repeated);
    finding.acute = true;
    finding.evidence = vec![
        context.counter(Counter::SynRetrans),
        context.counter(Counter::TimeoutRehash),
    ];
    finding.evidence.push(under_way(outgoing));
    findings.push(finding);
}

fn under_way(outgoing: Half) -> Evidence {
    let Half { total, repeated } = outgoing;
    Evidence::Sockets(format!(
        "{total} connects under way on this machine, {repeated} with a repeated SYN"
    ))
}

fn finding(
    context: &Context<'_>,
    server: &ServerWindow<'_>,
    cause: Cause,
    certainty: Certainty,
    count: u64,
) -> Finding {
    let mut finding = Finding::new(context.window, cause, server.last.leg, Side::Client, certainty);
    finding.whose = Whose::Ours;
    finding.subject = Some(format!("{}/{}", server.last.backend, server.last.server));
    finding.count = count;
    finding.evidence.push(Evidence::Connects(describe(&server.counts)));
    finding
}

fn failures(context: &Context<'_>, server: &ServerWindow<'_>, findings: &mut Vec<Finding>) {
    let counts = &server.counts;
    for (count, cause) in [
        (counts.refused, Cause::ConnectRefused),
        (counts.reset, Cause::ConnectReset),
        (counts.unreachable, Cause::ConnectUnreachable),
    ] {
        let share = ratio(count, counts.attempts);
        if count >= context.thresholds.connect_failures_min && share >= context.thresholds.connect_loss_share {
            findings.push(finding(context, server, cause, Certainty::Certain, count));
        }
    }
    if answers_nothing(context, counts) {
        findings.push(finding(
            context,
            server,
            Cause::ConnectTimeout,
            Certainty::High,
            counts.timed_out,
        ));
    }
}

/// Every connect timed out: the server is down, or everything towards it is dropped.
fn answers_nothing(context: &Context<'_>, counts: &ConnectCounts) -> bool {
    counts.timed_out >= context.thresholds.connect_failures_min && counts.timed_out == counts.attempts
}

/// Row 20.
fn loss(context: &Context<'_>, server: &ServerWindow<'_>, findings: &mut Vec<Finding>) {
    let (counts, thresholds) = (&server.counts, context.thresholds);
    let (lossy, share) = (counts.lossy(), ratio(counts.lossy(), counts.attempts));
    let many = counts.attempts >= thresholds.connects_min && share >= thresholds.connect_loss_share;
    let few = lossy >= thresholds.connect_loss_few_min && share >= thresholds.connect_loss_few_share;
    if !(many || few) || answers_nothing(context, counts) {
        return;
    }
    // A repeated SYN is proof; slowness alone may be the server's or the network's.
    let certainty = if counts.syn_repeated > 0 || counts.at_retry_time > 0 {
        Certainty::High
    } else {
        Certainty::Medium
    };
    let mut finding = finding(context, server, Cause::ConnectLoss, certainty, lossy);
    finding.remedy = format!(
        "look at {} for the causes of its own listeners (tcp_tw_recycle, full queues), then at the network \
        between; run tidegate doctor there",
        server.last.server
    );
    if let Reading::Available(half_open) = &context.window.last.half_open
        && half_open.outgoing.repeated > 0
    {
        finding.evidence.push(under_way(half_open.outgoing));
    }
    findings.push(finding);
}

fn local_ports(context: &Context<'_>, server: &ServerWindow<'_>, findings: &mut Vec<Finding>) {
    let none_left = server.counts.no_local_port;
    let range = context.settings().local_ports();
    let census = context.window.last.census.as_ref().ok();
    let held = census.and_then(|census| server.last.busiest(census));
    let used = held.map(|counts| u64::from(counts.connections()));
    let share = used.zip(range).map_or(0.0, |(used, range)| ratio(used, range));
    let cause = match none_left {
        0 if share < context.thresholds.local_ports_share => return,
        0 => Cause::LocalPortsNearly,
        _ => Cause::LocalPorts,
    };
    let count = if none_left > 0 { none_left } else { used.unwrap_or(0) };
    let certainty = if none_left > 0 {
        Certainty::Certain
    } else {
        Certainty::High
    };
    let mut finding = finding(context, server, cause, certainty, count);
    if let Some(counts) = held {
        finding.evidence.push(Evidence::Sockets(format!(
            "{} local ports taken towards it, {} of them in TIME_WAIT, of {}",
            counts.connections(),
            counts.get(State::TimeWait),
            range.map_or_else(|| "an unknown number".to_owned(), |range| range.to_string())
        )));
    }
    finding
        .evidence
        .push(setting("net.ipv4.tcp_tw_reuse", &context.settings().tcp_tw_reuse));
    findings.push(finding);
}

fn describe(counts: &ConnectCounts) -> String {
    let parts = [
        (counts.established, "established"),
        (counts.syn_repeated, "with a repeated SYN"),
        (counts.slow, "slower than 0.9 s"),
        (counts.at_retry_time, "at a time when SYNs are repeated"),
        (counts.timed_out, "timed out"),
        (counts.refused, "refused"),
        (counts.reset, "reset"),
        (counts.unreachable, "unreachable"),
        (counts.no_local_port, "without a local port"),
        (counts.other, "failed otherwise"),
    ];
    let mut text = format!("{} connects", counts.attempts);
    for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    text
}
