//! Signatures of the other terms of the accounting identity: `tw_recycle`, the SYN queue, and what has no counter of its own
//! (HANDSHAKE §8, rows 1, 9 and 11 to 14).

use super::super::counters::Counter;
use super::super::sockstat::ratio;
use super::cause::{Cause, Certainty};
use super::context::{Context, setting};
use super::finding::{Evidence, Finding};
use super::identity::counts_cookies_as_drops;

/// Adds the findings about drops that are not overflows.
pub(super) fn find(context: &Context<'_>, findings: &mut Vec<Finding>) {
    tw_recycle(context, findings);
    let Some(identity) = context.identity else { return };
    if context.reportable(identity.syn_queue) {
        let mut finding = context.drop_finding(Cause::SynQueue, Certainty::Certain, identity.syn_queue);
        finding.evidence = vec![
            context.counter(Counter::ReqQFullDrop),
            context.counter(Counter::ListenDrops),
            context.counter(Counter::ListenOverflows),
            setting("net.ipv4.tcp_syncookies", &context.settings().tcp_syncookies),
            setting("net.ipv4.tcp_max_syn_backlog", &context.settings().tcp_max_syn_backlog),
        ];
        finding.evidence.extend(half_open(context));
        context.attribute(finding, findings);
    }
    residual(context, identity.residual, findings);
}

/// Row 1: one increment site, gated by the setting. One is proof.
fn tw_recycle(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let rejected = context.delta(Counter::PawsPassive);
    if rejected == 0 {
        return;
    }
    let mut finding = context.drop_finding(Cause::TwRecycle, Certainty::Certain, rejected);
    finding.evidence = vec![
        context.counter(Counter::PawsPassive),
        context.counter(Counter::ListenDrops),
        context.counter(Counter::ListenOverflows),
        setting("net.ipv4.tcp_tw_recycle", &context.settings().tcp_tw_recycle),
        setting("net.ipv4.tcp_timestamps", &context.settings().tcp_timestamps),
    ];
    // With tcp_tw_recycle TIME_WAITs end after 3.5 RTO: TWKilled rises in TW's place.
    if context.delta(Counter::TwKilled) > context.delta(Counter::Tw) {
        finding
            .evidence
            .extend([context.counter(Counter::TwKilled), context.counter(Counter::Tw)]);
    }
    if context.settings().tcp_tw_recycle.get().is_none_or(|value| value == 0) {
        finding.evidence.push(Evidence::Kernel(
            "the setting does not read as 1 now: it was cured within the window, or it is one for all namespaces and \
             cannot be seen from this one (kernels before 4.11)"
                .to_owned(),
        ));
    }
    context.attribute(finding, findings);
}

/// Rows 11 to 14: what is left when the causes with a counter of their own are taken off.
fn residual(context: &Context<'_>, residual: u64, findings: &mut Vec<Finding>) {
    let mut left = residual;
    if !context.reportable(left) {
        return;
    }
    let mut excluded = Vec::new();
    left -= no_route(context, left, findings, &mut excluded);
    left -= icmp_unreachable(context, left, findings, &mut excluded);
    left -= last_quarter(context, left, findings, &mut excluded);
    if context.reportable(left) {
        unexplained(context, left, findings, excluded);
    }
}

fn no_route(context: &Context<'_>, left: u64, findings: &mut Vec<Finding>, excluded: &mut Vec<Evidence>) -> u64 {
    let routes = context.delta(Counter::OutNoRoutes) + context.delta(Counter::Ip6OutNoRoutes);
    let explained = left.min(routes);
    if !context.reportable(explained) {
        excluded.push(Evidence::Excluded(format!("no route back (OutNoRoutes +{routes})")));
        return 0;
    }
    // Row 11: R ≈ ΔOutNoRoutes, taken as within a fifth; more of them means that other packets had no route either.
    let alike = left.abs_diff(routes) * 5 <= left.max(routes);
    let certainty = if alike { Certainty::High } else { Certainty::Medium };
    let mut finding = context.drop_finding(Cause::NoRoute, certainty, explained);
    finding.evidence = vec![
        context.counter(Counter::ListenDrops),
        context.counter(Counter::OutNoRoutes),
    ];
    if context.delta(Counter::Ip6OutNoRoutes) > 0 {
        finding.evidence.push(context.counter(Counter::Ip6OutNoRoutes));
    }
    context.attribute(finding, findings);
    explained
}

fn icmp_unreachable(
    context: &Context<'_>,
    left: u64,
    findings: &mut Vec<Finding>,
    excluded: &mut Vec<Evidence>,
) -> u64 {
    let messages = context.delta(Counter::InDestUnreachs) + context.delta(Counter::Icmp6InDestUnreachs);
    let explained = left.min(messages);
    if !context.reportable(explained) {
        excluded.push(Evidence::Excluded(format!(
            "ICMP unreachable (InDestUnreachs +{messages})"
        )));
        return 0;
    }
    let mut finding = context.drop_finding(Cause::IcmpUnreachable, Certainty::Medium, explained);
    finding.evidence = vec![
        context.counter(Counter::ListenDrops),
        context.counter(Counter::InDestUnreachs),
    ];
    context.attribute(finding, findings);
    explained
}

/// Row 13: with cookies off the kernel keeps the last quarter of `tcp_max_syn_backlog` for peers it knows.
fn last_quarter(context: &Context<'_>, left: u64, findings: &mut Vec<Finding>, excluded: &mut Vec<Evidence>) -> u64 {
    let settings = context.settings();
    let half_open = context
        .window
        .half_open_peak
        .map(|half_open| u64::from(half_open.incoming.total));
    let backlog = settings
        .tcp_max_syn_backlog
        .get()
        .and_then(|backlog| u64::try_from(backlog).ok());
    let full = match (half_open, backlog) {
        (Some(half_open), Some(backlog)) => ratio(half_open, backlog) >= context.thresholds.syn_backlog_share,
        _ => false,
    };
    if left == 0 || settings.tcp_syncookies.get() != Some(0) || !full {
        excluded.push(Evidence::Excluded(format!(
            "the last quarter of the SYN backlog (tcp_syncookies = {}, {} half-open of tcp_max_syn_backlog {})",
            settings.tcp_syncookies,
            half_open.map_or_else(|| "unknown".to_owned(), |count| count.to_string()),
            settings.tcp_max_syn_backlog
        )));
        return 0;
    }
    let mut finding = context.drop_finding(Cause::SynBacklogReserve, Certainty::High, left);
    finding.evidence = vec![
        context.counter(Counter::ListenDrops),
        setting("net.ipv4.tcp_syncookies", &settings.tcp_syncookies),
        setting("net.ipv4.tcp_max_syn_backlog", &settings.tcp_max_syn_backlog),
    ];
    finding.evidence.extend(self::half_open(context));
    context.attribute(finding, findings);
    left
}

fn unexplained(context: &Context<'_>, left: u64, findings: &mut Vec<Finding>, excluded: Vec<Evidence>) {
    let pressure = context.delta(Counter::MemoryPressures) > 0 || memory_at_limit(context);
    let (cause, certainty) = if pressure {
        (Cause::Memory, Certainty::Medium)
    } else {
        (Cause::Unexplained, Certainty::Low)
    };
    let mut finding = context.drop_finding(cause, certainty, left);
    finding.evidence = vec![
        context.counter(Counter::ListenDrops),
        context.counter(Counter::MemoryPressures),
    ];
    finding.evidence.extend(excluded);
    if !pressure {
        finding
            .evidence
            .push(Evidence::Excluded("memory (no pressure, below tcp_mem)".to_owned()));
    }
    if counts_cookies_as_drops(context.window.last) && context.window.deltas.get(Counter::SyncookiesSent).is_none() {
        finding.evidence.push(Evidence::Kernel(
            "this kernel may count SYN cookies as drops, and does not say how many".to_owned(),
        ));
    }
    context.attribute(finding, findings);
}

fn memory_at_limit(context: &Context<'_>) -> bool {
    let pages = context.window.last.sockstat.get().map(|stat| stat.mem_pages);
    match (pages, context.settings().tcp_mem.get()) {
        (Some(pages), Some([_, pressure, _])) => pages >= pressure,
        _ => false,
    }
}

/// How full the SYN queues are.
pub(super) fn half_open(context: &Context<'_>) -> Option<Evidence> {
    let peak = context.window.half_open_peak?;
    Some(Evidence::Sockets(format!(
        "{} half-open connections at most, {} of them with a repeated SYN-ACK",
        peak.incoming.total, peak.incoming.repeated
    )))
}
