//! `bench memory`: what tidegate's process holds for what it keeps, and what a full store costs a hit.
//!
//! Resident memory is the whole process', from `smaps_rollup`; differences are taken once it has come to rest.

mod churn; // the budget holds while the store turns over
mod stored; // one stored response, and a million of them
mod connections; // idle ones, and such with a request under way

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::clock;
use crate::machine;
use crate::options::Usual;
use crate::rig::{Rig, Tidegate};
use crate::sheet::{Check, Sheet, Table};
use crate::subject::Installed;

/// How long a process rests before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Options {
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Responses fetched to be stored while the store turns over.
    #[arg(long, default_value_t = 10_000_000)]
    insertions: u64,
    /// MiB of the store that turns over.
    #[arg(long, default_value_t = 1024)]
    budget: u64,
    /// Stored responses of the large store.
    #[arg(long, default_value_t = 1_000_000)]
    stored: u64,
    /// Idle connections of either kind.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    pub(crate) usual: Usual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Resident memory of a store that turns over, against its budget.
    Churn,
    /// Bytes of one stored response beside its own.
    Object,
    /// Bytes of an idle connection.
    Idle,
    /// Bytes of an idle TLS connection.
    IdleTls,
    /// Bytes of a request under way.
    InFlight,
    /// CPU of a hit among many stored responses, against one.
    Million,
}

/// What a part has found.
#[derive(Default)]
struct Found {
    checks: Vec<Check>,
    tables: Vec<Table>,
    remarks: Vec<String>,
}

/// Measures all parts, or those asked for.
pub(crate) fn run(tidegate: &Installed, options: &Options) -> Result<()> {
    let (machine, cores) = machine::ready_to_load()?;
    let mut found = Found::default();
    for &part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(&part) {
            let rig = Rig::new(&tidegate.program, cores)?;
            let Found {
                checks,
                tables,
                remarks,
            } = part.measure(&rig, options)?;
            found.checks.extend(checks);
            found.tables.extend(tables);
            found.remarks.extend(remarks);
        }
    }
    let sheet = Sheet {
        command: "memory",
        machine,
        about: vec![
            format!("tidegate: {}", tidegate.version),
            format!(
                "one worker on core {}, load and origin on core {}",
                cores.subject, cores.load
            ),
        ],
        tables: found.tables,
        checks: found.checks,
        remarks: found.remarks,
    };
    sheet.publish(options.usual.save.as_deref())
}

impl Part {
    fn measure(self, rig: &Rig, options: &Options) -> Result<Found> {
        match self {
            Self::Churn => churn::measure(rig, options.budget, options.insertions),
            Self::Object => stored::one(rig),
            Self::Idle => connections::idle(rig, options.connections),
            Self::IdleTls => connections::idle_tls(rig, options.connections),
            Self::InFlight => connections::in_flight(rig),
            Self::Million => stored::many(rig, options.stored),
        }
    }
}

/// Resident bytes once it has come to rest.
fn settled(tidegate: &Tidegate) -> Result<u64> {
    clock::pause(SETTLE)?;
    tidegate.resident()
}

/// Bytes as a number that can be divided; exact below 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than anybody has")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}
