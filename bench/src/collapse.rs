//! `bench collapse`: a crowd asks at once for one thing that is not stored, and its origin is slow.
//!
//! Collapsed forwarding shows in three figures: how many requests the origin got, whether clients were sent what had come
//! before all of it had, and how long after the origin's last byte the last client had its own. What may not be stored
//! must not be waited for twice.

mod slow; // an origin that takes its time, and knows when
mod crowd; // many clients, one request each, at once

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::machine::{self, Cores, scratch_root};
use crate::options::Usual;
use crate::sheet::{Check, Sheet, Table};
use crate::subject::{Installed, Setup, Subject};
use crate::sys;
use crowd::{Burst, Crowd};
use slow::SlowOrigin;

/// What a burst is for: the path, the same in words, and whether the answer may be stored.
const BURSTS: [(&str, &str, Kind); 3] = [
    ("/slow/1", "cacheable", Kind::Cacheable),
    ("/once/1", "uncacheable, first burst", Kind::First),
    ("/once/1", "uncacheable, second burst", Kind::Second),
];

#[derive(Args)]
pub(crate) struct Options {
    /// Clients that ask at once.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<Subject>,
    #[command(flatten)]
    pub(crate) usual: Usual,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cacheable,
    First,
    Second,
}

/// What came of one burst at one subject.
struct Row {
    subject: Subject,
    words: &'static str,
    kind: Kind,
    burst: Burst,
    /// Requests that the origin got, and how long after the burst began the second and the last of them came.
    asked: u64,
    second_asked: Duration,
    last_asked: Duration,
    /// From the origin's last byte to the last client's.
    after_origin: Duration,
}

/// Lets the crowd loose on each subject that is installed.
pub(crate) fn run(tidegate: &Installed, options: &Options) -> Result<()> {
    let (machine, cores) = machine::ready_to_load()?;
    sys::exact_timers()?;
    let wanted = |subject: &Subject| options.subjects.is_empty() || options.subjects.contains(subject);
    let (mut rows, mut about, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    for subject in Subject::ALL
        .into_iter()
        .filter(|subject| subject.has_origin())
        .filter(wanted)
    {
        let Some(installed) = Installed::find(subject, &tidegate.program)? else {
            remarks.push(format!("{} is not installed, so it is not here.", subject.name()));
            continue;
        };
        about.push(format!("{}: {}", subject.name(), installed.version));
        rows.extend(bursts(&installed, cores, options.clients)?);
    }
    about.push(format!(
        "{} clients; the origin sends its head after {} ms, and {} bytes in {} parts, {} ms apart",
        options.clients,
        slow::HEAD_AFTER.as_millis(),
        slow::BODY,
        slow::PARTS,
        slow::PART_EVERY.as_millis()
    ));
    let (own, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.subject == Subject::Tidegate);
    let sheet = Sheet {
        command: "collapse",
        machine,
        about,
        checks: checks(&own),
        tables: vec![table(own.iter().chain(&others))],
        remarks,
    };
    sheet.publish(options.usual.save.as_deref())
}

fn bursts(installed: &Installed, cores: Cores, clients: usize) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new()
        .prefix("tidegate-bench-")
        .tempdir_in(scratch_root())?;
    let origin = SlowOrigin::start()?;
    let running = installed.start(&[cores.subject], &Setup::new(dir.path(), origin.address))?;
    let mut rows = Vec::new();
    for (path, words, kind) in BURSTS {
        let name = installed.subject.name();
        let mut crowd = Crowd::new(running.address, clients).with_context(|| format!("{name}: the crowd"))?;
        origin.forget();
        let burst = crowd.ask(path)?;
        let told = origin.told();
        let row = Row {
            subject: installed.subject,
            words,
            kind,
            asked: told.asked,
            second_asked: told.second_asked.saturating_duration_since(burst.began),
            last_asked: told.last_asked.saturating_duration_since(burst.began),
            after_origin: burst.ended.saturating_duration_since(told.last_byte),
            burst,
        };
        let (asked, after) = (row.asked, row.after_origin.as_millis());
        writeln!(
            io::stderr(),
            "{name}, {words}: {asked} origin requests, last byte {after} ms after the origin's"
        )?;
        rows.push(row);
    }
    Ok(rows)
}

/// What issue and design promise of ours.
fn checks(rows: &[Row]) -> Vec<Check> {
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let mut checks = Vec::new();
    for row in rows {
        let of = |what: &str| format!("{}: {what}", row.words);
        let wrong = count(row.burst.wrong);
        checks.push(Check::at_most(of("clients without a right answer"), wrong, "", 0.0));
        match row.kind {
            Kind::Cacheable => {
                let asked = count(usize::try_from(row.asked).unwrap_or(usize::MAX));
                let late = count(row.burst.late(row.origin_ended()));
                let after = millis(row.after_origin);
                checks.extend([
                    Check::at_most(of("origin requests"), asked, "", 1.0),
                    Check::at_most(
                        of("clients that got nothing before the origin's last byte"),
                        late,
                        "",
                        0.0,
                    ),
                    Check::at_most(of("last byte to all, after the origin's last"), after, "ms", 50.0),
                ]);
            }
            // How long it takes to make so many connections to the origin is what both bursts have in common.
            Kind::First => {
                let second = rows.iter().find(|row| row.kind == Kind::Second);
                let usual = second.map_or(Duration::ZERO, |second| second.last_asked);
                let waited = millis(row.last_asked.saturating_sub(usual));
                let what = of("until the last request was at the origin, longer than in the second burst");
                checks.push(Check::at_most(what, waited, "ms", millis(slow::HEAD_AFTER) + 50.0));
            }
            Kind::Second => {
                let what = of("until the second request was at the origin, the first being unanswered");
                checks.push(Check::at_most(
                    what,
                    millis(row.second_asked),
                    "ms",
                    millis(slow::HEAD_AFTER),
                ));
            }
        }
    }
    checks
}

impl Row {
    fn origin_ended(&self) -> std::time::Instant {
        self.burst
            .ended
            .checked_sub(self.after_origin)
            .unwrap_or(self.burst.ended)
    }
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
    let columns = [
        "subject",
        "answer",
        "origin requests",
        "second and last of them after ms",
        "clients served while it came",
        "last byte after the origin's, ms",
        "all served after ms",
        "wrong",
    ];
    let line = |row: &Row| {
        let served = row.burst.right() - row.burst.late(row.origin_ended());
        vec![
            row.subject.name().to_owned(),
            row.words.to_owned(),
            row.asked.to_string(),
            format!("{}, {}", row.second_asked.as_millis(), row.last_asked.as_millis()),
            served.to_string(),
            row.after_origin.as_millis().to_string(),
            row.burst.ended.duration_since(row.burst.began).as_millis().to_string(),
            row.burst.wrong.to_string(),
        ]
    };
    Table {
        name: "bursts",
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.map(line).collect(),
    }
}
