//! Own connects, counted per server: what legs 2 and 3 look like from their client's side.
//!
//! Plain numbers, filled by `common::backend` after each `connect()` and read by the diagnosis. The counters of the namespace
//! mix all legs; these do not (HANDSHAKE §4).

use std::io;
use std::time::Duration;

use super::sockets::tcp_info::Connected;

/// A `connect()` that takes this long has lost a SYN or a SYN-ACK: Linux repeats a SYN after 1 s.
pub const SLOW_CONNECT: Duration = Duration::from_millis(900);

/// How one `connect()` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// It is established.
    Established {
        /// From the call to its end.
        elapsed: Duration,
        /// How often the SYN was repeated; 0 where it could not be read.
        syn_retransmits: u32,
    },
    /// RST: nobody listens there.
    Refused,
    /// No answer in time, by the kernel's timer or by ours.
    TimedOut,
    /// ICMP said that there is no way.
    Unreachable,
    /// RST after the SYN-ACK, as by `tcp_abort_on_overflow` over there.
    Reset,
    /// EADDRNOTAVAIL: no local port is left towards this server.
    NoLocalPort,
    /// Another error.
    Other,
}

impl ConnectOutcome {
    /// A `connect()` that ended well after `elapsed`, with what the socket knows.
    pub fn established(elapsed: Duration, facts: Option<Connected>) -> Self {
        Self::Established {
            elapsed,
            syn_retransmits: facts.map_or(0, |facts| facts.syn_retransmits),
        }
    }

    /// A `connect()` that ended with this error.
    pub fn of_error(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(libc::ETIMEDOUT) => Self::TimedOut,
            Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => Self::Unreachable,
            Some(libc::ECONNRESET) => Self::Reset,
            Some(libc::EADDRNOTAVAIL) => Self::NoLocalPort,
            _ if error.kind() == io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

/// All connects to one server since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectCounts {
    /// Calls that have ended, well or not.
    pub attempts: u64,
    /// That ended well.
    pub established: u64,
    /// Established with a repeated SYN.
    pub syn_repeated: u64,
    /// Established after [`SLOW_CONNECT`] or more.
    pub slow: u64,
    /// Of the slow ones, those at a time when Linux repeats a SYN (1, 2, 3, 4, 7, 15 s and up to 150 ms more).
    pub at_retry_time: u64,
    /// See [`ConnectOutcome::Refused`].
    pub refused: u64,
    /// See [`ConnectOutcome::TimedOut`].
    pub timed_out: u64,
    /// See [`ConnectOutcome::Unreachable`].
    pub unreachable: u64,
    /// See [`ConnectOutcome::Reset`].
    pub reset: u64,
    /// See [`ConnectOutcome::NoLocalPort`].
    pub no_local_port: u64,
    /// See [`ConnectOutcome::Other`].
    pub other: u64,
}

impl ConnectCounts {
    /// Counts one.
    pub fn record(&mut self, outcome: ConnectOutcome) {
        self.attempts += 1;
        match outcome {
            ConnectOutcome::Established {
                elapsed,
                syn_retransmits,
            } => {
                self.established += 1;
                self.syn_repeated += u64::from(syn_retransmits > 0);
                self.slow += u64::from(elapsed >= SLOW_CONNECT);
                self.at_retry_time += u64::from(is_retry_time(elapsed));
            }
            ConnectOutcome::Refused => self.refused += 1,
            ConnectOutcome::TimedOut => self.timed_out += 1,
            ConnectOutcome::Unreachable => self.unreachable += 1,
            ConnectOutcome::Reset => self.reset += 1,
            ConnectOutcome::NoLocalPort => self.no_local_port += 1,
            ConnectOutcome::Other => self.other += 1,
        }
    }

    /// What was added since `earlier`; all of it when the counts began anew in between.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.attempts < earlier.attempts {
            return *self;
        }
        let less = |now: u64, before: u64| now.saturating_sub(before);
        Self {
            attempts: less(self.attempts, earlier.attempts),
            established: less(self.established, earlier.established),
            syn_repeated: less(self.syn_repeated, earlier.syn_repeated),
            slow: less(self.slow, earlier.slow),
            at_retry_time: less(self.at_retry_time, earlier.at_retry_time),
            refused: less(self.refused, earlier.refused),
            timed_out: less(self.timed_out, earlier.timed_out),
            unreachable: less(self.unreachable, earlier.unreachable),
            reset: less(self.reset, earlier.reset),
            no_local_port: less(self.no_local_port, earlier.no_local_port),
            other: less(self.other, earlier.other),
        }
    }

    /// Connects that needed a second SYN or never got an answer: a SYN or a SYN-ACK was lost.
    pub fn lossy(&self) -> u64 {
        self.syn_repeated.max(self.slow) + self.timed_out
    }
}

/// Whether `elapsed` is the fingerprint of a repeated SYN: 1, 3, 7, 15 s, since 6.5 also 2 and 4 s.
fn is_retry_time(elapsed: Duration) -> bool {
    const TOLERANCE: Duration = Duration::from_millis(150);
    [1, 2, 3, 4, 7, 15]
        .map(Duration::from_secs)
        .into_iter()
        .any(|at| elapsed >= at && elapsed <= at + TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_where_it_belongs() {
        let mut counts = ConnectCounts::default();
        let established = |millis, syn_retransmits| ConnectOutcome::Established {
            elapsed: Duration::from_millis(millis),
            syn_retransmits,
        };
        for outcome in [
            established(1, 0),
            established(1014, 1),
            established(950, 0),
            established(2000, 0),
        ] {
            counts.record(outcome);
        }
        for errno in [
            libc::ECONNREFUSED,
            libc::ETIMEDOUT,
            libc::EHOSTUNREACH,
            libc::ECONNRESET,
            libc::EADDRNOTAVAIL,
            libc::EPERM,
        ] {
            counts.record(ConnectOutcome::of_error(&io::Error::from_raw_os_error(errno)));
        }
        let expected = ConnectCounts {
            attempts: 10,
            established: 4,
            syn_repeated: 1,
            slow: 3,
            at_retry_time: 2,
            refused: 1,
            timed_out: 1,
            unreachable: 1,
            reset: 1,
            no_local_port: 1,
            other: 1,
        };
        assert_eq!(counts, expected);
        assert_eq!(counts.lossy(), 4);
        assert_eq!(counts.since(&counts), ConnectCounts::default());
        assert_eq!(
            counts.since(&ConnectCounts { attempts: 99, ..counts }),
            counts,
            "a restart"
        );
    }
}
