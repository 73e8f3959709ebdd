//! What one sample of the kernel adds to the history: lost handshakes by cause, and how full things are.
//!
//! Pure. The causes are the terms of the accounting identity (docs/tcp-health.md), so that they add up; the diagnosis
//! says more, but only while a finding is open.

use common::kernel::counters::Counter;
use common::kernel::diagnosis::identity;
use common::kernel::reading::Reading;
use common::kernel::sample::Sample;
use common::telemetry::json::Object;

/// The terms that lost handshakes are put down to, in the order of [`Kernel::lost`].
pub const CAUSES: [&str; 5] = [
    "accept_queue_overflow",
    "syn_queue_full",
    "tw_recycle",
    "other_drops",
    "connect_failed",
];

/// What a sample says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    /// Lost handshakes by cause since some moment before the process; see [`CAUSES`].
    pub lost: [u64; CAUSES.len()],
    /// Sockets in TIME_WAIT in the network namespace.
    pub time_wait: Option<u64>,
    /// The most that there may be (`net.ipv4.tcp_max_tw_buckets`).
    pub time_wait_max: Option<u64>,
    /// Local ports taken towards the server that takes most of them.
    pub local_ports: Option<u64>,
    /// The part of its limit that the fullest accept queue holds.
    pub queue_fill: Option<f64>,
}

impl Kernel {
    /// Reads a sample.
    pub fn of(sample: &Sample) -> Self {
        let queues = sample.listeners.iter().filter_map(|listener| listener.queue.get());
        let fills = queues.map(|queue| f64::from(queue.depth) / f64::from(queue.limit.max(1)));
        let connects = sample.connects.iter().map(|server| server.counts);
        let connects_failed = connects
            .map(|counts| counts.attempts.saturating_sub(counts.established))
            .sum();
        let [overflows, syn_queue, paws, other] = drops(sample);
        Self {
            lost: [overflows, syn_queue, paws, other, connects_failed],
            time_wait: sample.sockstat.get().map(|stat| stat.time_wait),
            time_wait_max: sample
                .settings
                .tcp_max_tw_buckets
                .get()
                .and_then(|max| max.try_into().ok()),
            local_ports: local_ports(sample),
            queue_fill: fills.reduce(f64::max),
        }
    }

    /// Sockets as JSON; what is not known is null.
    pub fn describe(&self, mut object: Object<'_>) {
        object
            .field("time_wait", self.time_wait)
            .field("time_wait_max", self.time_wait_max)
            .field("local_ports", self.local_ports)
            .field("queue_fill", self.queue_fill);
    }

    /// Handshakes lost after `earlier`, by cause. A counter that went backwards began anew: nothing is known of it.
    pub fn lost_since(&self, earlier: &Self) -> [u64; CAUSES.len()] {
        std::array::from_fn(|i| self.lost[i].saturating_sub(earlier.lost[i]))
    }
}

/// `ListenDrops`, taken apart; cookies that the kernel counts as drops are none.
fn drops(sample: &Sample) -> [u64; 4] {
    let count = |counter| sample.counters.get(counter).unwrap_or_default();
    let known = [Counter::ListenOverflows, Counter::ReqQFullDrop, Counter::PawsPassive].map(count);
    let cookies = if identity::counts_cookies_as_drops(sample) {
        count(Counter::SyncookiesSent)
    } else {
        0
    };
    let named: u64 = known.iter().sum::<u64>().saturating_add(cookies);
    [
        known[0],
        known[1],
        known[2],
        count(Counter::ListenDrops).saturating_sub(named),
    ]
}

fn local_ports(sample: &Sample) -> Option<u64> {
    let Reading::Available(census) = &sample.census else {
        return None;
    };
    let servers = sample.connects.iter().filter_map(|server| server.busiest(census));
    servers.map(|counts| u64::from(counts.connections())).max()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use common::kernel::root::ProcRoot;
    use common::kernel::sample::Moment;
    use common::kernel::sampler::{Listeners, Sampler};
    use common::time::Clock;

    use super::*;

    fn recorded(tree: &str) -> Kernel {
        let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/kernel");
        let mut sampler = Sampler::new(ProcRoot::new(&trees.join(tree)));
        Kernel::of(&sampler.sample(Moment::now(&Clock::System), Listeners::Own(&[])))
    }

    /// The causes that lost something in a recorded incident.
    fn lost_in(incident: &str) -> Vec<&'static str> {
        let [before, after] = ["before", "after"].map(|moment| recorded(&format!("{incident}/{moment}")));
        let lost = after.lost_since(&before);
        CAUSES
            .into_iter()
            .zip(lost)
            .filter(|(_, count)| *count > 0)
            .map(|(cause, _)| cause)
            .collect()
    }

    #[test]
    fn recorded_incidents_are_put_down_to_their_causes() {
        for (incident, expected) in [
            ("kernel-3.10.0-514.el7-accept-overflow", &["accept_queue_overflow"][..]),
            ("kernel-3.10.0-514.el7-tw-recycle", &["tw_recycle"]),
            ("kernel-3.10.0-514.el7-syncookies", &[]),
            ("kernel-4.9.0-syn-queue-full", &["syn_queue_full"]),
            ("kernel-4.9.0-tw-recycle", &["tw_recycle"]),
        ] {
            assert_eq!(lost_in(incident), expected, "{incident}");
        }
    }

    #[test]
    fn counters_that_begin_anew_are_no_loss() {
        let (before, after) = (
            recorded("kernel-4.9.0-tw-recycle/before"),
            recorded("kernel-4.9.0-tw-recycle/after"),
        );
        assert_eq!(before.lost_since(&after), [0; CAUSES.len()]);
    }
}
