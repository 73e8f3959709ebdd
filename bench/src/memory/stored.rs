//! Stored responses: what one takes beside its own bytes, and what a hit costs when there are many.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Found, float, mib, settled};
use crate::load::{Generator, Keys, Pace, Target};
use crate::measure::{LoadSample, sampled};
use crate::rig::{Rig, Shape, Tidegate};
use crate::sheet::{Check, Table};
use crate::stats::{SPREAD_MAX, summarize};

/// Bytes of each body.
const BODY: u64 = 1024;
/// Stored responses whose memory is divided by their number.
const COUNT: u64 = 200_000;
/// Rounds, and the time of each, when CPU is counted.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(1);

/// Memory of one stored response beside its payload: its body and the field lines that the origin sent.
pub(super) fn one(rig: &Rig) -> Result<Found> {
    let tidegate = rig.start(&Shape::store(4096))?;
    ask(&tidegate, Keys::InTurn(0), 1000)?;
    let before = settled(&tidegate)?;
    ask(&tidegate, Keys::InTurn(1000), COUNT)?;
    let each = float(settled(&tidegate)?.saturating_sub(before)) / float(COUNT);
    let stored = tidegate.metric("tidegate_cache_stored_responses")?;
    ensure!(stored >= float(COUNT), "only {stored} of {COUNT} responses are stored");
    let weighed = tidegate.metric("tidegate_cache_stored_bytes")? / stored;
    let payload = float(BODY + FIELDS.len() as u64);
    let what = format!(
        "a stored response of {BODY} bytes, beside its body and {} bytes of fields",
        FIELDS.len()
    );
    Ok(Found {
        checks: vec![
            Check::at_most(what, each - payload, "B", 400.0),
            Check::told("the same as the store weighs it", weighed - payload, "B"),
        ],
        ..Found::default()
    })
}

/// The fields of the canned origin that are stored, as long as they are there.
const FIELDS: &str = "Date: Sun, 22 Nov 2026 18:51:00 GMT\r\nContent-Type: application/octet-stream\r\n\
                      Cache-Control: max-age=3600\r\nContent-Length: 1024\r\n";

/// CPU per hit when one response is stored, and when `count` are: of the same one, of some by popularity, of any.
pub(super) fn many(rig: &Rig, count: u64) -> Result<Found> {
    let tidegate = rig.start(&Shape::store(count * 4096 / (1 << 20) + 64))?;
    let mut samples: [Vec<LoadSample>; 4] = Default::default();
    ask(&tidegate, Keys::InTurn(0), 1)?;
    measure(rig, &tidegate, Keys::uniform(1), &mut samples[0])?;
    ask(&tidegate, Keys::InTurn(1), count - 1)?;
    let stored = tidegate.metric("tidegate_cache_stored_responses")?;
    measure(rig, &tidegate, Keys::uniform(1), &mut samples[1])?;
    measure(rig, &tidegate, Keys::zipf(count), &mut samples[2])?;
    measure(rig, &tidegate, Keys::uniform(count), &mut samples[3])?;
    let figures: Vec<_> = samples
        .iter()
        .filter_map(|rounds| summarize(rounds.iter().map(LoadSample::cpu_micros_per_request)))
        .collect();
    ensure!(figures.len() == samples.len(), "nothing was measured");
    let is_noisy = |at: usize| [0, at].iter().any(|&at| figures[at].spread > SPREAD_MAX);
    let to_one = |at: usize| figures[at].median / figures[0].median;
    let titles = [
        "the only one",
        "the same one, many stored",
        "one of many, by Zipf's law",
        "any of many",
    ];
    let row = |(title, figure): (&&str, &crate::stats::Summary)| {
        let spread = format!("{:.0} %", figure.spread * 100.0);
        vec![(*title).to_owned(), format!("{:.2}", figure.median), spread]
    };
    let resident = mib(tidegate.resident()?);
    Ok(Found {
        checks: (1..figures.len())
            .map(|at| {
                let what = format!("CPU of a hit, {stored} stored, {}, to the only one", titles[at]);
                Check::at_most(what, to_one(at), "×", 1.15).noisy(is_noisy(at))
            })
            .collect(),
        tables: vec![Table {
            name: "hits",
            columns: ["a hit, 1 KiB, on", "CPU µs", "spread"].map(str::to_owned).to_vec(),
            rows: titles.iter().zip(&figures).map(row).collect(),
        }],
        remarks: vec![format!(
            "{stored} stored responses of 1 KiB: {resident:.0} MiB resident."
        )],
    })
}

/// Asks for `count` of the keys, and each must be answered.
fn ask(tidegate: &Tidegate, keys: Keys, count: u64) -> Result<()> {
    let mut generator = Generator::new(target(tidegate, keys))?;
    let outcome = generator.run(Pace::hasty(u32::try_from(count)?))?;
    ensure!(outcome.responses == count, "wrong answers: {}", outcome.fault_words());
    Ok(())
}

fn measure(rig: &Rig, tidegate: &Tidegate, keys: Keys, samples: &mut Vec<LoadSample>) -> Result<()> {
    let asked = rig.asked_of_origin()?;
    let mut generator = Generator::new(target(tidegate, keys))?;
    generator.run(Pace::closed(TIME / 2))?;
    for _ in 0..ROUNDS {
        let sample = sampled(tidegate.process.pid(), rig.cores.subject, &mut generator, TIME)?;
        ensure!(
            sample.outcome.fault_count() == 0,
            "wrong answers: {}",
            sample.outcome.fault_words()
        );
        samples.push(sample);
    }
    let fetched = rig.asked_of_origin()? - asked;
    ensure!(fetched == 0, "{fetched} requests were fetched from the origin");
    Ok(())
}

fn target(tidegate: &Tidegate, keys: Keys) -> Target {
    Target {
        keys,
        ..Target::get(tidegate.front, &format!("/{BODY}/"), BODY, 64)
    }
}
