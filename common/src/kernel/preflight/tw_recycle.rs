//! `net.ipv4.tcp_tw_recycle`: the setting that lost the clients of the story (HANDSHAKE §2 and §6).
//!
//! Three answers: safe, unsafe, cannot tell. On kernels before 4.11 the value is one for all namespaces, but its file is only
//! in the first one: in a container "absent" is "cannot see", never "safe".

use std::fmt;

use super::super::counters::Counter;
use super::super::reading::{Reading, Why};
use super::super::sample::Sample;
use super::super::sysctl::Sysctls;
use super::super::version::KernelVersion;
use super::Machine;
use super::finding::{Check, Finding, Remedy, Severity};

const KEY: &str = "net.ipv4.tcp_tw_recycle";
const PATH: &str = "net/ipv4/tcp_tw_recycle";

/// Whether this machine's `tcp_tw_recycle` loses clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It is 0.
    Off,
    /// The kernel does not have it any more (since 4.12).
    Removed,
    /// It is this, and not 0.
    Unsafe(i64),
    /// Neither can be shown.
    CannotTell(Why),
}

impl Safety {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off | Self::Removed => "safe",
            Self::Unsafe(_) => "unsafe",
            Self::CannotTell(_) => "cannot-tell",
        }
    }
}

impl fmt::Display for Safety {
    /// "0: safe", "safe: removed in 4.12", "1: unsafe", "cannot tell, because …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0: safe"),
            Self::Removed => f.write_str("safe: removed in 4.12"),
            Self::Unsafe(value) => write!(f, "{value}: unsafe"),
            Self::CannotTell(why) => write!(f, "cannot tell, because {why}"),
        }
    }
}

/// Whether this machine's `tcp_tw_recycle` loses clients.
pub fn safety(machine: &Machine) -> Safety {
    let without_column = machine.paws_passive == Reading::Unavailable(Why::Absent);
    judge(machine.kernel.get(), &machine.settings, without_column)
}

/// The same of the machine that a sample shows.
pub fn safety_in(sample: &Sample) -> Safety {
    let without_column = sample.netstat.get().is_some() && sample.counters.get(Counter::PawsPassive).is_none();
    judge(sample.kernel.get(), &sample.settings, without_column)
}

fn judge(kernel: Option<KernelVersion>, settings: &Sysctls, without_column: bool) -> Safety {
    match settings.tcp_tw_recycle {
        Reading::Available(0) => Safety::Off,
        Reading::Available(value) => Safety::Unsafe(value),
        Reading::Unavailable(Why::Absent) => match kernel {
            Some(kernel) if !kernel.has_tw_recycle() => Safety::Removed,
            // Without a version the columns show the kernel's age: PAWSPassive went together with the setting.
            None if without_column && settings.somaxconn.get().is_some() => Safety::Removed,
            _ => Safety::CannotTell(Why::Absent),
        },
        Reading::Unavailable(why) => Safety::CannotTell(why),
    }
}

pub(super) fn check(machine: &Machine, findings: &mut Vec<Finding>) {
    let timestamps = machine.settings.tcp_timestamps.get();
    match safety(machine) {
        Safety::Unsafe(value) => findings.push(Finding {
            severity: Severity::Refuse,
            check: Check::TwRecycle,
            read: format!(
                "{KEY} = {value}, net.ipv4.tcp_timestamps = {}",
                machine.settings.tcp_timestamps
            ),
            from: machine.path(PATH),
            why: unsafe_because(timestamps).to_owned(),
            remedy: Remedy::sysctl(KEY, 0),
        }),
        Safety::CannotTell(why) => findings.push(cannot_tell(machine, why)),
        Safety::Off | Safety::Removed => {}
    }
    if timestamps == Some(0) {
        findings.push(timestamps_off(machine));
    }
}

fn unsafe_because(timestamps: Option<i64>) -> &'static str {
    match timestamps {
        Some(0) => {
            "the kernel remembers the last timestamp of each address for 60 s and drops SYNs that do not fit. With \
             tcp_timestamps=0 new addresses are safe, but one sysctl away from being lost; and where timestamps were switched \
             off on the running machine, every client of the last 60 s is locked out now, because a SYN without a timestamp \
             is dropped too."
        }
        _ => {
            "the kernel remembers one timestamp per client address for 60 s and silently drops SYNs with an older one: of \
             several machines behind one NAT address only one gets through, and clients with a random timestamp per connection \
             (Linux since 2026, phones) lose about half of their SYNs even alone. Do not switch tcp_timestamps off instead: on \
             a running machine that locks out every client of the last 60 s."
        }
    }
}

fn cannot_tell(machine: &Machine, why: Why) -> Finding {
    let rejected = match machine.paws_passive {
        Reading::Available(0) => {
            "PAWSPassive is 0 so far; it is watched, and any rise is proof that the setting is on.".to_owned()
        }
        Reading::Available(count) => {
            format!("PAWSPassive is {count} since boot: the setting is or was on and has lost SYNs.")
        }
        Reading::Unavailable(why) => format!("PAWSPassive, which would prove it, is unavailable, because {why}."),
    };
    let kernel = match machine.kernel {
        Reading::Available(kernel) => format!("kernel {kernel} still has the setting (it was removed in 4.12)"),
        Reading::Unavailable(why) => format!("the kernel's version is unavailable, because {why}"),
    };
    Finding {
        severity: Severity::Warn,
        check: Check::TwRecycle,
        read: format!("{KEY} unavailable, because {why}"),
        from: machine.path(PATH),
        why: format!(
            "it cannot be told whether tcp_tw_recycle loses clients here: {kernel}, and a container's namespace hides the file \
             although the host's value applies. {rejected}"
        ),
        remedy: Remedy::Advice(format!(
            "read {KEY} on the host; if it is not 0: sysctl -w {KEY}=0 there, and {KEY} = 0 in its /etc/sysctl.d"
        )),
    }
}

fn timestamps_off(machine: &Machine) -> Finding {
    Finding {
        severity: Severity::Note,
        check: Check::Timestamps,
        read: "net.ipv4.tcp_timestamps = 0".to_owned(),
        from: machine.path("net/ipv4/tcp_timestamps"),
        why: "without timestamps tcp_tw_reuse has no effect, round trips are measured worse, and connections made by SYN cookie \
              have neither window scaling nor SACK."
            .to_owned(),
        remedy: Remedy::sysctl("net.ipv4.tcp_timestamps", 1),
    }
}
