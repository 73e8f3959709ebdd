//! The budget holds for the process: a store that turns over many times, with bodies of mixed lengths.
//!
//! Keys come from a window that moves on, several times as wide as the store: some requests are hits, most are fetched and
//! stored, and what was stored is pushed out or not let in. Memory is read every second, also while it is busy.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Found, float, mib};
use crate::load::{Generator, Keys, Length, Pace, Target};
use crate::pattern;
use crate::rig::{Rig, Shape};
use crate::sheet::{Check, Table, number};

/// The store holds so much of the window.
const WINDOW_TO_STORE: u64 = 3;
/// Rows of the table.
const ROWS_MAX: usize = 20;
/// "RSS ≤ 1.15 × budget + 64 MiB".
const FACTOR: f64 = 1.15;
const ALLOWANCE_MIB: f64 = 64.0;

/// One look at it.
struct Look {
    insertions: u64,
    resident: u64,
    stored: f64,
    stored_bytes: f64,
    evicted: f64,
}

pub(super) fn measure(rig: &Rig, budget_mib: u64, insertions: u64) -> Result<Found> {
    let tidegate = rig.start(&Shape::store(budget_mib))?;
    let window = (budget_mib << 20) / pattern::MEAN_LENGTH * WINDOW_TO_STORE;
    let mut generator = Generator::new(Target {
        keys: Keys::drifting(window),
        length: Length::Mixed,
        ..Target::get(tidegate.front, "/mix/", 0, 64)
    })?;
    let mut looks: Vec<Look> = Vec::new();
    let mut answers = 0;
    loop {
        let outcome = generator.run(Pace::closed(Duration::from_secs(1)))?;
        ensure!(outcome.fault_count() == 0, "wrong answers: {}", outcome.fault_words());
        answers += outcome.responses;
        let look = Look {
            insertions: rig.asked_of_origin()?,
            resident: tidegate.resident()?,
            stored: tidegate.metric("tidegate_cache_stored_responses")?,
            stored_bytes: tidegate.metric("tidegate_cache_stored_bytes")?,
            evicted: tidegate.metric("tidegate_cache_evicted_total{cause=\"room\"}")?,
        };
        let (count, resident) = (look.insertions, mib(look.resident));
        writeln!(
            io::stderr(),
            "churn: {count} of {insertions} insertions, {resident:.0} MiB resident"
        )?;
        looks.push(look);
        if count >= insertions {
            break;
        }
    }
    let fetched = looks.last().map_or(0, |look| look.insertions);
    Ok(found(&looks, budget_mib, answers.saturating_sub(fetched)))
}

fn found(looks: &[Look], budget_mib: u64, hits: u64) -> Found {
    let most = looks.iter().map(|look| look.resident).max().unwrap_or(0);
    let last = looks.last();
    let fetched = last.map_or(0, |look| look.insertions);
    let budget = float(budget_mib);
    let what = format!("highest resident memory, store of {budget_mib} MiB, {fetched} insertions");
    let remark = format!(
        "churn: {fetched} responses were fetched and stored, {hits} requests were hits; {} keys were pushed out or not let in.",
        last.map_or(0.0, |look| look.evicted)
    );
    let step = looks.len().div_ceil(ROWS_MAX).max(1);
    let rows = looks.iter().rev().step_by(step).map(|look| {
        vec![
            look.insertions.to_string(),
            number(mib(look.resident)),
            number(look.stored_bytes / f64::from(1 << 20)),
            format!("{:.0}", look.stored),
            format!("{:.0}", look.evicted),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    rows.reverse();
    Found {
        checks: vec![Check::at_most(what, mib(most), "MiB", FACTOR * budget + ALLOWANCE_MIB)],
        tables: vec![Table {
            name: "churn",
            columns: ["insertions", "resident MiB", "weighed MiB", "stored", "pushed out"]
                .map(str::to_owned)
                .to_vec(),
            rows,
        }],
        remarks: vec![remark],
    }
}
