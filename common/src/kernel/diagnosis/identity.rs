//! The accounting identity: which known causes add up to ListenDrops (HANDSHAKE §1).
//!
//! ```text
//! ΔListenDrops = ΔListenOverflows + ΔTCPReqQFullDrop + ΔPAWSPassive + cookies counted as drops + residual
//! ```
//!
//! Pure. A column that a kernel does not have contributes nothing: what it would count cannot happen there.

use super::super::counters::Counter;
use super::super::sample::Sample;
use super::super::version::KernelVersion;
use super::window::Window;

/// The drops of a window, by what explains them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// All: SYNs and final ACKs that listeners discarded.
    pub drops: u64,
    /// Accept queue full.
    pub overflows: u64,
    /// SYN queue full, cookies off.
    pub syn_queue: u64,
    /// Rejected by `tcp_tw_recycle`.
    pub paws: u64,
    /// SYN cookies that this kernel counts as drops although nothing is lost.
    pub cookies: u64,
    /// What is left for the causes without a counter of their own.
    pub residual: u64,
}

impl Identity {
    /// Takes the drops of a window apart; `None` when ListenDrops is unavailable.
    pub fn of(window: &Window<'_>) -> Option<Self> {
        let drops = window.deltas.get(Counter::ListenDrops)?;
        let mut left = drops;
        // The columns are read one after the other while the kernel counts on: no part may exceed the whole.
        let mut take = |amount: u64| {
            let taken = amount.min(left);
            left -= taken;
            taken
        };
        let paws = take(window.deltas.or_zero(Counter::PawsPassive));
        let overflows = take(window.deltas.or_zero(Counter::ListenOverflows));
        let syn_queue = take(window.deltas.or_zero(Counter::ReqQFullDrop));
        let trap = counts_cookies_as_drops(window.last);
        let cookies = take(if trap {
            window.deltas.or_zero(Counter::SyncookiesSent)
        } else {
            0
        });
        Some(Self {
            drops,
            overflows,
            syn_queue,
            paws,
            cookies,
            residual: left,
        })
    }

    /// Drops that really were some.
    pub fn lost(&self) -> u64 {
        self.drops - self.cookies
    }
}

/// Whether the kernel counts each SYN cookie in ListenDrops too. A kernel whose version cannot be read shows its age by its
/// columns: `PAWSPassive` went in 4.12.
pub fn counts_cookies_as_drops(sample: &Sample) -> bool {
    match sample.kernel.get() {
        Some(kernel) => KernelVersion::counts_cookies_as_drops(kernel),
        None => sample.counters.get(Counter::PawsPassive).is_some(),
    }
}
