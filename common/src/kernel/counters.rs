//! The kernel counters that the diagnosis uses, by name, and what they grew by.
//!
//! A column that a kernel does not have is `None`, never 0. On 64-bit kernels the counters are 64 bits wide, on 32-bit ones
//! 32 (`unsigned long`); a counter that comes out smaller than before has either wrapped at its width, or belongs to another
//! boot or namespace, which starts a new baseline (see [`grown`]).

use super::tables::Column;

macro_rules! counters {
    ($($id:ident $table:literal $name:literal;)*) => {
        /// A kernel counter of the network namespace.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter {
            $(#[doc = concat!("`", $table, ".", $name, "`")] $id,)*
        }

        impl Counter {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// As it is written everywhere: table and column, such as `TcpExt.ListenDrops`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => concat!($table, ".", $name),)* }
            }

            /// The column as the kernel spells it, such as `ListenDrops`.
            pub const fn column(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            fn of(table: &str, column: &str) -> Option<Self> {
                match (table, column) { $(($table, $name) => Some(Self::$id),)* _ => None }
            }
        }
    };
}

counters! {
    ListenDrops "TcpExt" "ListenDrops";
    ListenOverflows "TcpExt" "ListenOverflows";
    PawsPassive "TcpExt" "PAWSPassive";
    PawsActive "TcpExt" "PAWSActive";
    PawsEstab "TcpExt" "PAWSEstab";
    PawsOldAck "TcpExt" "PAWSOldAck";
    PawsTimewait "TcpExt" "PAWSTimewait";
    TsEcrRejected "TcpExt" "TSEcrRejected";
    ReqQFullDrop "TcpExt" "TCPReqQFullDrop";
    ReqQFullDoCookies "TcpExt" "TCPReqQFullDoCookies";
    SyncookiesSent "TcpExt" "SyncookiesSent";
    SyncookiesRecv "TcpExt" "SyncookiesRecv";
    SyncookiesFailed "TcpExt" "SyncookiesFailed";
    BacklogDrop "TcpExt" "TCPBacklogDrop";
    TimeWaitOverflow "TcpExt" "TCPTimeWaitOverflow";
    DeferAcceptDrop "TcpExt" "TCPDeferAcceptDrop";
    MigrateReqSuccess "TcpExt" "TCPMigrateReqSuccess";
    MigrateReqFailure "TcpExt" "TCPMigrateReqFailure";
    FastOpenListenOverflow "TcpExt" "TCPFastOpenListenOverflow";
    EmbryonicRsts "TcpExt" "EmbryonicRsts";
    Tw "TcpExt" "TW";
    TwKilled "TcpExt" "TWKilled";
    TwRecycled "TcpExt" "TWRecycled";
    SynRetrans "TcpExt" "TCPSynRetrans";
    Timeouts "TcpExt" "TCPTimeouts";
    TimeoutRehash "TcpExt" "TcpTimeoutRehash";
    ReversePathFilter "TcpExt" "IPReversePathFilter";
    MemoryPressures "TcpExt" "TCPMemoryPressures";
    ActiveOpens "Tcp" "ActiveOpens";
    PassiveOpens "Tcp" "PassiveOpens";
    AttemptFails "Tcp" "AttemptFails";
    EstabResets "Tcp" "EstabResets";
    RetransSegs "Tcp" "RetransSegs";
    InSegs "Tcp" "InSegs";
    OutSegs "Tcp" "OutSegs";
    OutRsts "Tcp" "OutRsts";
    OutNoRoutes "Ip" "OutNoRoutes";
    InDestUnreachs "Icmp" "InDestUnreachs";
    Ip6OutNoRoutes "" "Ip6OutNoRoutes";
    Icmp6InDestUnreachs "" "Icmp6InDestUnreachs";
}

const COUNT: usize = Counter::ALL.len();

/// The counters of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters([Option<u64>; COUNT]);

/// What the counters grew by between two moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deltas([Option<u64>; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Self([None; COUNT])
    }
}

impl Counters {
    /// Takes from `columns` what is known; gives how many it knew.
    pub fn take(&mut self, columns: &[Column<'_>]) -> usize {
        let mut known = 0;
        for column in columns {
            let Some(counter) = Counter::of(column.table, column.name) else {
                continue;
            };
            if let Ok(value) = u64::try_from(column.value) {
                self.0[counter as usize] = Some(value);
                known += 1;
            }
        }
        known
    }

    /// The value; `None` when this kernel has no such column or the file could not be read.
    pub fn get(&self, counter: Counter) -> Option<u64> {
        self.0[counter as usize]
    }

    /// What they grew by since `earlier`.
    ///
    /// # Errors
    /// The first counter that went backwards without having wrapped: the boot or the namespace is another one, and the
    /// later values are a new baseline.
    pub fn since(&self, earlier: &Self) -> Result<Deltas, Counter> {
        let mut deltas = [None; COUNT];
        for &counter in Counter::ALL {
            if let (Some(before), Some(now)) = (earlier.get(counter), self.get(counter)) {
                deltas[counter as usize] = Some(grown(before, now).ok_or(counter)?);
            }
        }
        Ok(Deltas(deltas))
    }
}

impl Deltas {
    /// What it grew by; `None` when it was not known at both moments.
    pub fn get(&self, counter: Counter) -> Option<u64> {
        self.0[counter as usize]
    }

    /// What it grew by, 0 when unknown. For thresholds only: what is shown says that it is unknown.
    pub fn or_zero(&self, counter: Counter) -> u64 {
        self.get(counter).unwrap_or(0)
    }

    /// Those that moved.
    pub fn moved(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL
            .iter()
            .filter_map(|&counter| Some((counter, self.get(counter).filter(|&delta| delta > 0)?)))
    }
}

/// How much a counter grew from `before` to `now`; `None` when it went backwards.
///
/// A counter that stood in the last sixteenth of a 32-bit or 64-bit width and now stands in the first one has wrapped: to
/// get there otherwise takes a new boot or namespace after 2^28 (4 billion at most) events in the old one, and the price
/// of taking that for a wrap is one window with a wrong number. At 1,000 drops per second a 32-bit counter wraps once in
/// 50 days.
pub fn grown(before: u64, now: u64) -> Option<u64> {
    const WIDTH_32: u64 = 1 << 32;
    const EDGE_32: u64 = 1 << 28;
    const EDGE_64: u64 = 1 << 60;
    if now >= before {
        return Some(now - before);
    }
    let wrapped_32 = (WIDTH_32 - EDGE_32..WIDTH_32).contains(&before) && now < EDGE_32;
    let wrapped_64 = before >= u64::MAX - EDGE_64 && now < EDGE_64;
    match (wrapped_32, wrapped_64) {
        (true, _) => Some(WIDTH_32 - before + now),
        (_, true) => Some(now.wrapping_sub(before)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::paired;
    use super::*;

    fn counters(text: &str) -> Counters {
        let mut counters = Counters::default();
        counters.take(&paired(text));
        counters
    }

    #[test]
    fn a_column_that_is_missing_is_unknown_and_not_zero() {
        let old = counters("TcpExt: PAWSPassive ListenDrops\nTcpExt: 3 0\n");
        let new = counters("TcpExt: ListenDrops\nTcpExt: 0\n");
        assert_eq!(old.get(Counter::PawsPassive), Some(3));
        assert_eq!(new.get(Counter::PawsPassive), None);
        assert_eq!(new.since(&old).expect("grew").get(Counter::PawsPassive), None);
        assert_eq!(new.since(&old).expect("grew").get(Counter::ListenDrops), Some(0));
    }

    #[test]
    fn a_counter_that_goes_backwards_is_a_new_baseline_and_one_that_wraps_is_not() {
        for (before, now, expected) in [
            (5, 5, Some(0)),
            (5, 9, Some(4)),
            (9, 5, None),
            (1_000_000, 3, None),
            ((1 << 32) - 10, 5, Some(15)),
            ((1 << 32) - 1, (1 << 28) + 1, None),
            (u64::MAX - 4, 5, Some(10)),
            (u64::MAX, u64::MAX - 1, None),
        ] {
            assert_eq!(grown(before, now), expected, "{before} → {now}");
        }
        let a = counters("TcpExt: ListenDrops\nTcpExt: 9\n");
        let b = counters("TcpExt: ListenDrops\nTcpExt: 5\n");
        assert_eq!(b.since(&a), Err(Counter::ListenDrops));
    }

    #[test]
    fn negative_and_absurd_values_are_unknown() {
        let counters = counters("Tcp: ActiveOpens PassiveOpens\nTcp: -1 99999999999999999999999\n");
        assert_eq!(counters.get(Counter::ActiveOpens), None);
        assert_eq!(counters.get(Counter::PassiveOpens), None);
    }
}
