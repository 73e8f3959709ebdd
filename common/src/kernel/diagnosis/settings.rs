//! The thresholds of the diagnosis, as plain settings with the defaults of HANDSHAKE §8.

use std::time::Duration;

/// When something counts as a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// The windows over which counters are differenced, the shortest first.
    pub windows: [Duration; 2],
    /// Fewer discarded segments in a window are not reported (but for `tw_recycle`, where one is proof).
    pub drops_min: u64,
    /// Nor fewer than this part of the connections accepted in the window.
    pub drops_share: f64,
    /// A backlog below this is small enough to be filled by a burst.
    pub backlog_small: u32,
    /// A worker that did not run for so long did not accept either: an overflow meanwhile is no burst.
    pub pause: Duration,
    /// Half-open connections with a repeated SYN-ACK, at least, and as a part of the accepted connections.
    pub half_open_repeated_min: u32,
    /// See `half_open_repeated_min`; also the part of accepted connections whose SYN-ACK was repeated.
    pub synack_loss_share: f64,
    /// Accepted connections that must have been looked at before their share says anything.
    pub accepts_min: u64,
    /// The SYN queue counts as at its last quarter from this part of `tcp_max_syn_backlog` on.
    pub syn_backlog_share: f64,
    /// SYNs that met a TIME_WAIT with a newer timestamp, or ACKs that echo one that was never sent.
    pub timestamps_min: u64,
    /// `SYN_RECV` ended by RST, as a part of the accepted connections.
    pub half_open_reset_share: f64,
    /// Cookies that came back, as a part of those sent, below which a flood is suspected.
    pub cookies_answered_share: f64,
    /// Fill of the connection-tracking table that is a risk.
    pub conntrack_share: f64,
    /// Own connects to one server before a share of lossy ones says anything …
    pub connects_min: u64,
    /// … and that share.
    pub connect_loss_share: f64,
    /// With fewer connects than that: so many lossy ones …
    pub connect_loss_few_min: u64,
    /// … and this share of them.
    pub connect_loss_few_share: f64,
    /// Refused, timed-out or unreachable connects to one server.
    pub connect_failures_min: u64,
    /// Local ports taken towards one server, as a part of the range, that is a risk.
    pub local_ports_share: f64,
    /// Repeated SYN-ACKs mean nothing until drops and cookies have been absent for so long: half-open connections of an
    /// earlier incident live 63 s with `tcp_synack_retries` 5.
    pub settle: Duration,
    /// A finding that has been absent for so long is closed.
    pub close_after: Duration,
    /// Openings and closings that are remembered.
    pub events_max: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            windows: [Duration::from_secs(10), Duration::from_secs(60)],
            drops_min: 5,
            drops_share: 0.001,
            backlog_small: 512,
            pause: Duration::from_millis(250),
            half_open_repeated_min: 3,
            synack_loss_share: 0.01,
            accepts_min: 20,
            syn_backlog_share: 0.7,
            timestamps_min: 3,
            half_open_reset_share: 0.05,
            cookies_answered_share: 0.5,
            conntrack_share: 0.95,
            connects_min: 20,
            connect_loss_share: 0.01,
            connect_loss_few_min: 5,
            connect_loss_few_share: 0.25,
            connect_failures_min: 3,
            local_ports_share: 0.9,
            settle: Duration::from_secs(75),
            close_after: Duration::from_secs(15),
            events_max: 1000,
        }
    }
}
