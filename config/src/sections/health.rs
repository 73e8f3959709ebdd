//! `[health]`: how often the kernel is looked at, and from when on something is a finding.

use std::time;

use common::kernel::diagnosis::settings::Thresholds;

use crate::codec::{Count, Duration, SHARE};
use crate::defaults;
use crate::model::Health;
use crate::schema::{Keys, Visitor};

impl Keys for Health {
    fn preset() -> Self {
        defaults::health()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let every = Duration::between(time::Duration::from_millis(500), time::Duration::from_secs(3600));
        let meaning = "How often the kernel's counters, our sockets and its settings are read.";
        v.key("sample_every", every, &mut self.sample_every, meaning);
        v.key(
            "accepts_looked_at",
            Count { min: 0, max: 1_000_000 },
            &mut self.accepts_looked_at,
            "Which accepted connections are asked, with one system call, how long they waited in the accept queue and how often \
             their SYN-ACK was repeated: the first 100 of a listener after each sample, then each how-manieth. 1: all; 0: none.",
        );
        v.table(
            "thresholds",
            &mut self.thresholds,
            "From when on something is a finding (docs/tcp-health.md).",
        );
    }
}

/// A window of the diagnosis: what is kept of the past is bounded.
const WINDOW: Duration = Duration::between(time::Duration::from_secs(2), time::Duration::from_secs(120));
const COUNT: Count = Count { min: 1, max: 1_000_000 };

impl Keys for Thresholds {
    fn preset() -> Self {
        Self::default()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let [short, long] = &mut self.windows;
        let meaning = "The window in which what happens now is seen.";
        v.key("window_short", WINDOW, short, meaning);
        let meaning = "The window in which what happens seldom is seen; not shorter than the other.";
        v.key("window_long", WINDOW, long, meaning);
        let meaning = "A finding that has been absent for so long is closed.";
        v.key("close_after", WINDOW, &mut self.close_after, meaning);
        let meaning = "Repeated SYN-ACKs mean nothing until drops and cookies have been absent for so long.";
        v.key("settle", WINDOW, &mut self.settle, meaning);
        let events = Count { min: 1, max: 100_000 };
        let meaning = "Openings and closings that are remembered.";
        v.key("events_max", events, &mut self.events_max, meaning);
        self.visit_drops(v);
        self.visit_way_back(v);
        self.visit_connects(v);
    }
}

/// Parts of the table.
trait Parts {
    fn visit_drops<V: Visitor>(&mut self, v: &mut V);
    fn visit_way_back<V: Visitor>(&mut self, v: &mut V);
    fn visit_connects<V: Visitor>(&mut self, v: &mut V);
}

impl Parts for Thresholds {
    fn visit_drops<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Discarded segments in a window that are worth a word (for `tw_recycle` one is)…";
        v.key("drops_min", COUNT, &mut self.drops_min, meaning);
        let meaning = "…and the part of the accepted connections that they have to be.";
        v.key("drops_share", SHARE, &mut self.drops_share, meaning);
        let meaning = "A backlog below this is small enough to be filled by a burst.";
        v.key("backlog_small", COUNT, &mut self.backlog_small, meaning);
        let pause = Duration::between(time::Duration::from_millis(1), time::Duration::from_secs(60));
        let meaning = "An overflow while a worker did not run for so long is no burst.";
        v.key("pause", pause, &mut self.pause, meaning);
        let meaning = "With SYN cookies off: the part of `tcp_max_syn_backlog` from which new clients are dropped.";
        v.key("syn_backlog_share", SHARE, &mut self.syn_backlog_share, meaning);
        let meaning = "SYN cookies that come back, below which a flood is suspected.";
        v.key(
            "cookies_answered_share",
            SHARE,
            &mut self.cookies_answered_share,
            meaning,
        );
    }

    fn visit_way_back<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Half-open connections with a repeated SYN-ACK, at least.";
        v.key(
            "half_open_repeated_min",
            COUNT,
            &mut self.half_open_repeated_min,
            meaning,
        );
        let meaning = "Accepted connections that must have been looked at before their share says anything.";
        v.key("accepts_min", COUNT, &mut self.accepts_min, meaning);
        let meaning = "The part of them whose SYN-ACK had to be repeated.";
        v.key("synack_loss_share", SHARE, &mut self.synack_loss_share, meaning);
        let meaning = "Timestamps that are too old for TIME_WAIT, or that were never sent.";
        v.key("timestamps_min", COUNT, &mut self.timestamps_min, meaning);
        let meaning = "Half-open connections ended by RST, as a part of the accepted ones.";
        v.key("half_open_reset_share", SHARE, &mut self.half_open_reset_share, meaning);
        let meaning = "The part of the connection-tracking table that may be taken.";
        v.key("conntrack_share", SHARE, &mut self.conntrack_share, meaning);
    }

    fn visit_connects<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Own connects to one server before a share of lossy ones says anything…";
        v.key("connects_min", COUNT, &mut self.connects_min, meaning);
        let meaning = "…and that share.";
        v.key("connect_loss_share", SHARE, &mut self.connect_loss_share, meaning);
        let meaning = "With fewer connects: so many lossy ones…";
        v.key("connect_loss_few_min", COUNT, &mut self.connect_loss_few_min, meaning);
        let meaning = "…and this share of them.";
        v.key(
            "connect_loss_few_share",
            SHARE,
            &mut self.connect_loss_few_share,
            meaning,
        );
        let meaning = "Refused, timed-out or unreachable connects to one server.";
        v.key("connect_failures_min", COUNT, &mut self.connect_failures_min, meaning);
        let meaning = "The part of the local ports towards one server that may be taken.";
        v.key("local_ports_share", SHARE, &mut self.local_ports_share, meaning);
    }
}
