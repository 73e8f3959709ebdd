//! Signatures of what happens around the listeners without a `ListenDrop`: cookies, TIME_WAIT, lost SYN-ACKs, drops before TCP
//! (HANDSHAKE §8, rows 10 and 15 to 25).

use super::super::counters::Counter;
use super::super::reading::Reading;
use super::super::sample::{Leg, Side};
use super::super::sockets::entry::State;
use super::super::sockstat::ratio;
use super::cause::{Cause, Certainty};
use super::context::{Context, setting};
use super::drops::half_open;
use super::finding::{Evidence, Finding, Whose};

/// Adds the findings that are not terms of the accounting identity.
pub(super) fn find(context: &Context<'_>, findings: &mut Vec<Finding>) {
    syncookies(context, findings);
    timestamps(context, findings);
    time_wait_overflow(context, findings);
    synack_loss(context, findings);
    half_open_resets(context, findings);
    listener_closed(context, findings);
    before_tcp(context, findings);
    for (counter, cause) in [
        (Counter::DeferAcceptDrop, Cause::DeferAccept),
        (Counter::FastOpenListenOverflow, Cause::FastOpenQueue),
    ] {
        if context.delta(counter) >= context.thresholds.drops_min {
            let mut finding = context.server_finding(cause, Certainty::Certain, context.delta(counter));
            finding.evidence = vec![context.counter(counter), context.counter(Counter::ListenDrops)];
            findings.push(finding);
        }
    }
}

/// Rows 10 and 15.
fn syncookies(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let full = context.delta(Counter::ReqQFullDoCookies);
    let settings = context.settings();
    // With tcp_syncookies=2 every SYN is answered so: no queue is full.
    if !context.reportable(full) || context.delta(Counter::ReqQFullDrop) > 0 || settings.tcp_syncookies.get() == Some(2)
    {
        return;
    }
    let Some(identity) = context
        .identity
        .filter(|identity| !context.reportable(identity.overflows))
    else {
        return;
    };
    let mut finding = context.server_finding(Cause::Syncookies, Certainty::High, full);
    (finding.whose, finding.leg, finding.subject) = busiest_syn_queue(context);
    let (sent, back) = (
        context.delta(Counter::SyncookiesSent),
        context.delta(Counter::SyncookiesRecv),
    );
    finding.evidence = vec![
        context.counter(Counter::ReqQFullDoCookies),
        context.counter(Counter::SyncookiesSent),
        context.counter(Counter::SyncookiesRecv),
        context.counter(Counter::ListenDrops),
        setting("net.ipv4.tcp_syncookies", &settings.tcp_syncookies),
    ];
    finding.evidence.extend(half_open(context));
    let answered = ratio(back, sent);
    let flood = answered < context.thresholds.cookies_answered_share;
    finding.remedy = if flood {
        format!(
            "{back} of {sent} cookies came back: a SYN flood, or the ACKs are lost; the cookies hold, nothing to do here"
        )
    } else {
        format!("{back} of {sent} cookies came back: a burst of real clients; raise the backlog and net.core.somaxconn")
    };
    if identity.cookies > 0 {
        finding.certainty = Certainty::Certain;
        finding.evidence.push(Evidence::Kernel(format!(
            "this kernel counts each cookie as a ListenDrop: {} of {} drops are none, nothing was lost by them",
            identity.cookies, identity.drops
        )));
    }
    findings.push(finding);
}

fn busiest_syn_queue(context: &Context<'_>) -> (Whose, Leg, Option<String>) {
    let peak = context.window.half_open_peak;
    let busiest = peak.and_then(|half_open| half_open.by_port.iter().max_by_key(|(_, half)| half.total));
    busiest.map_or_else(
        || (Whose::Anybody, context.serving_leg(), None),
        |(&port, _)| context.owner_of_port(port),
    )
}

/// Rows 16 and 17.
fn timestamps(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let echoes = context.delta(Counter::TsEcrRejected);
    if echoes >= context.thresholds.timestamps_min {
        let mut finding = context.server_finding(Cause::TimestampEcho, Certainty::High, echoes);
        finding.evidence = vec![context.counter(Counter::TsEcrRejected)];
        finding.evidence.extend(half_open(context));
        context.attribute(finding, findings);
    }
    if context.has_drops() {
        return;
    }
    let opens = context.delta(Counter::PassiveOpens);
    let (counter, count, certainty) = match context.window.deltas.get(Counter::PawsTimewait) {
        Some(count) => (Counter::PawsTimewait, count, Certainty::Medium),
        // Before about 6.15 one counter for established sockets and TIME_WAIT: only many of them say anything.
        None => (
            Counter::PawsEstab,
            context.delta(Counter::PawsEstab) / 10,
            Certainty::Low,
        ),
    };
    let time_waits = context.window.last.sockstat.get().is_none_or(|stat| stat.time_wait > 0);
    // Late segments of connections that have just ended are counted too: of many ends, a few are no SYNs.
    let ended = context.delta(Counter::Tw);
    let enough = count >= context.thresholds.timestamps_min
        && ratio(count, ended.max(1)) >= LATE_SEGMENTS_SHARE
        && (opens == 0 || ratio(count, opens) >= context.thresholds.drops_share);
    if enough && time_waits {
        let mut finding = context.server_finding(Cause::TimeWaitPaws, certainty, context.delta(counter));
        finding.evidence = vec![context.counter(counter), context.counter(Counter::ListenDrops)];
        findings.push(finding);
    }
}

/// Segments that may come late, as a part of the connections that went into TIME_WAIT; 0.7 % were seen when a stalled worker
/// went on and 1,500 connections ended at once.
const LATE_SEGMENTS_SHARE: f64 = 0.02;

/// Row 18. TIME_WAIT is held by the side that closes first: of a leg that we serve or of one on which we connect.
fn time_wait_overflow(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let count = context.delta(Counter::TimeWaitOverflow);
    if count < context.thresholds.drops_min {
        return;
    }
    let mut finding = context.server_finding(Cause::TimeWaitOverflow, Certainty::Certain, count);
    finding.evidence = vec![
        context.counter(Counter::TimeWaitOverflow),
        setting("net.ipv4.tcp_max_tw_buckets", &context.settings().tcp_max_tw_buckets),
        setting(
            "sockets in TIME_WAIT",
            &context.window.last.sockstat.as_ref().map(|stat| stat.time_wait),
        ),
    ];
    if let Reading::Available(census) = &context.window.last.census {
        let held = |counts: &super::super::sockets::census::StateCounts| u64::from(counts.get(State::TimeWait));
        let by_servers: u64 = census.by_server.values().map(held).sum();
        let own = census
            .by_listener
            .iter()
            .filter(|(port, _)| context.is_own_port(**port));
        let by_listeners: u64 = own.map(|(_, counts)| held(counts)).sum();
        if by_servers + by_listeners > 0 {
            finding.whose = Whose::Ours;
        }
        let busiest = census
            .by_server
            .iter()
            .max_by_key(|(_, counts)| held(counts))
            .map(|(address, _)| *address);
        let server = context
            .window
            .last
            .connects
            .iter()
            .find(|server| busiest.is_some_and(|busiest| server.addresses.contains(&busiest)));
        if by_servers > by_listeners
            && let Some(server) = server
        {
            (finding.leg, finding.side) = (server.leg, Side::Client);
            finding
                .evidence
                .push(Evidence::Sockets(format!("{by_servers} of them towards our servers")));
        }
    }
    findings.push(finding);
}

/// Row 19: no drop here, but SYN-ACKs have to be repeated.
fn synack_loss(context: &Context<'_>, findings: &mut Vec<Finding>) {
    if !context.settled || context.stood_still(Counter::SynRetrans) {
        return;
    }
    let (accepted, repeated) = accepts(context);
    let thresholds = context.thresholds;
    let lossy = accepted >= thresholds.accepts_min
        && repeated >= thresholds.drops_min
        && ratio(repeated, accepted) >= thresholds.synack_loss_share;
    let opens = context.delta(Counter::PassiveOpens);
    let half_open_now = context.window.last.half_open.as_ref().ok();
    let waiting = half_open_now.map_or(0, |half_open| half_open.incoming.repeated);
    let pending = waiting >= thresholds.half_open_repeated_min
        && (opens == 0 || ratio(u64::from(waiting), opens) >= thresholds.synack_loss_share);
    // Clients that get through, all of them without a repetition, exclude a loss on the way: the others are scans.
    let excluded = accepted > 0 && repeated == 0;
    if !lossy && (!pending || excluded) {
        return;
    }
    let certainty = if lossy { Certainty::High } else { Certainty::Medium };
    let mut finding = context.server_finding(Cause::SynAckLoss, certainty, repeated.max(u64::from(waiting)));
    finding.acute = waiting > 0;
    if lossy {
        finding.whose = Whose::Ours;
    } else {
        (finding.whose, finding.leg, finding.subject) = busiest_syn_queue(context);
    }
    finding.evidence = vec![
        context.counter(Counter::SynRetrans),
        context.counter(Counter::ListenDrops),
    ];
    finding.evidence.extend(half_open(context));
    if accepted > 0 {
        finding.evidence.push(Evidence::Sockets(format!(
            "{repeated} of {accepted} accepted connections needed a second SYN-ACK"
        )));
    }
    findings.push(finding);
}

/// What the accept loops counted in the window: looked at, and with a repeated SYN-ACK.
fn accepts(context: &Context<'_>) -> (u64, u64) {
    let sum = |accepts: &[super::super::sample::AcceptSample]| {
        accepts.iter().fold((0, 0), |(all, repeated), leg| {
            (all + leg.accepted, repeated + leg.synack_repeated)
        })
    };
    let (before, now) = (sum(&context.window.first.accepts), sum(&context.window.last.accepts));
    (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
}

/// Row 22.
fn half_open_resets(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let resets = context.delta(Counter::EmbryonicRsts);
    let opens = context.delta(Counter::PassiveOpens);
    let many = opens == 0 || ratio(resets, opens) > context.thresholds.half_open_reset_share;
    if resets < context.thresholds.drops_min || !many || context.delta(Counter::ListenOverflows) > 0 {
        return;
    }
    let mut finding = context.server_finding(Cause::HalfOpenReset, Certainty::Medium, resets);
    finding.evidence = vec![
        context.counter(Counter::EmbryonicRsts),
        context.counter(Counter::AttemptFails),
        context.counter(Counter::PassiveOpens),
    ];
    context.attribute(finding, findings);
}

/// Row 24.
fn listener_closed(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let resets = context.delta(Counter::EstabResets);
    for listener in &context.window.vanished {
        let queued = listener
            .queue
            .get()
            .map_or_else(|| listener.waiting.unwrap_or(0), |queue| queue.depth);
        if queued == 0 || resets < u64::from(queued) || context.delta(Counter::OutRsts) < u64::from(queued) {
            continue;
        }
        let mut finding = context.server_finding(Cause::ListenerClosed, Certainty::High, u64::from(queued));
        (finding.leg, finding.subject) = (listener.leg, Some(listener.name.to_string()));
        finding.whose = Whose::Ours;
        finding.evidence = vec![
            context.counter(Counter::EstabResets),
            context.counter(Counter::OutRsts),
            Evidence::Sockets(format!(
                "{queued} connections waited in the queue of member {} when it closed",
                listener.shard
            )),
            setting("net.ipv4.tcp_migrate_req", &context.settings().tcp_migrate_req),
        ];
        findings.push(finding);
    }
}

/// Rows 23 and 25: what never reaches a listener.
fn before_tcp(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let filtered = context.delta(Counter::ReversePathFilter);
    if context.reportable(filtered) {
        let mut finding = context.server_finding(Cause::ReversePath, Certainty::High, filtered);
        finding.evidence = vec![
            context.counter(Counter::ReversePathFilter),
            setting("net.ipv4.conf.all.rp_filter", &context.settings().rp_filter_all),
        ];
        findings.push(finding);
    }
    if let Some(table) = context.settings().conntrack.get()
        && table.fill() >= context.thresholds.conntrack_share
    {
        let cause = if table.count >= table.max {
            Cause::ConntrackFull
        } else {
            Cause::ConntrackNearlyFull
        };
        let mut finding = context.server_finding(cause, Certainty::High, table.count);
        finding.leg = Leg::Machine;
        finding.acute = true;
        finding.evidence.push(Evidence::Setting {
            name: "net.netfilter.nf_conntrack_count of nf_conntrack_max",
            value: format!("{} of {}", table.count, table.max),
        });
        findings.push(finding);
    }
    let lost = context.window.softnet_dropped.unwrap_or(0);
    let packets = context.delta(Counter::InSegs);
    let many = packets == 0 || ratio(lost, packets) >= context.thresholds.drops_share;
    if lost >= context.thresholds.drops_min && many {
        let mut finding = context.server_finding(Cause::CpuBacklog, Certainty::Medium, lost);
        finding.leg = Leg::Machine;
        finding.evidence = vec![
            Evidence::Sockets(format!(
                "softnet_stat: {lost} packets dropped, of the whole machine and not only of SYNs"
            )),
            setting("net.core.netdev_max_backlog", &context.settings().netdev_max_backlog),
        ];
        findings.push(finding);
    }
}
