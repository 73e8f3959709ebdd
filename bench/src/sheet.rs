//! What a run came to: tables of numbers, and what was aimed at, with a verdict each; Markdown and JSON.
//!
//! For the runs that are no matter of cases by subjects; those have `report`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::clock;
use crate::machine::Machine;

/// A finished run.
pub(crate) struct Sheet {
    /// The subcommand.
    pub(crate) command: &'static str,
    pub(crate) machine: Machine,
    /// Who was measured, and how, a sentence each.
    pub(crate) about: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) checks: Vec<Check>,
    /// What a reader must know before believing it.
    pub(crate) remarks: Vec<String>,
}

/// Numbers with names.
pub(crate) struct Table {
    /// Its word in JSON.
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// One figure, and what it should have been.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
    pub(crate) aim: Aim,
    /// The rounds differ too much, or the machine was not ours alone.
    pub(crate) is_noisy: bool,
}

/// What a figure should have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    AtMost(f64),
    /// It is told, nothing more.
    Told,
}

impl Check {
    /// A figure that should be at most so much.
    pub(crate) fn at_most(what: impl Into<String>, measured: f64, unit: &'static str, most: f64) -> Self {
        Self::new(what, measured, unit, Aim::AtMost(most))
    }

    /// A figure without an aim.
    pub(crate) fn told(what: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self::new(what, measured, unit, Aim::Told)
    }

    fn new(what: impl Into<String>, measured: f64, unit: &'static str, aim: Aim) -> Self {
        Self {
            what: what.into(),
            measured,
            unit,
            aim,
            is_noisy: false,
        }
    }

    /// The same where it may have been too noisy to conclude.
    #[must_use]
    pub(crate) fn noisy(self, is_noisy: bool) -> Self {
        Self { is_noisy, ..self }
    }

    /// The verdict.
    pub(crate) fn verdict(&self) -> &'static str {
        let is_reached = match self.aim {
            Aim::AtMost(most) => self.measured <= most,
            Aim::Told => return "–",
        };
        match (self.is_noisy, is_reached) {
            (true, _) => "too noisy to conclude",
            (false, true) => "reached",
            (false, false) => "**not reached**",
        }
    }

    fn aim_words(&self) -> String {
        match self.aim {
            Aim::AtMost(most) => format!("≤ {} {}", number(most), self.unit).trim_end().to_owned(),
            Aim::Told => "–".to_owned(),
        }
    }

    fn json(&self) -> Value {
        let at_most = match self.aim {
            Aim::AtMost(most) => Some(most),
            Aim::Told => None,
        };
        json!({
            "what": self.what,
            "measured": self.measured,
            "unit": self.unit,
            "at_most": at_most,
            "verdict": self.verdict().trim_matches('*'),
        })
    }
}

impl Sheet {
    /// Prints it, and writes `COMMAND-SECONDS.md` and `.json` into `dir` where there is one.
    pub(crate) fn publish(&self, dir: Option<&Path>) -> Result<()> {
        let markdown = self.markdown();
        io::stdout().write_all(markdown.as_bytes())?;
        let Some(dir) = dir else {
            return Ok(());
        };
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let seconds = clock::wall().duration_since(UNIX_EPOCH)?.as_secs();
        let stem = dir.join(format!("{}-{seconds}", self.command));
        fs::write(stem.with_extension("md"), markdown)?;
        let json = serde_json::to_string_pretty(&self.json())?;
        fs::write(stem.with_extension("json"), json + "\n")?;
        Ok(())
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "## bench {}\n\n{}, Linux {}, {}, {} cores.\n",
            self.command,
            httpdate::fmt_http_date(clock::wall()),
            self.machine.kernel,
            self.machine.processor,
            self.machine.cores,
        );
        for line in &self.about {
            text += &format!("- {line}\n");
        }
        if !self.checks.is_empty() {
            text += "\n| what | measured | aim | verdict |\n|---|---|---|---|\n";
        }
        for check in &self.checks {
            let (what, measured) = (&check.what, number(check.measured));
            text += &format!(
                "| {what} | {} | {} | {} |\n",
                format!("{measured} {}", check.unit).trim_end(),
                check.aim_words(),
                check.verdict()
            );
        }
        for table in &self.tables {
            text += &format!(
                "\n| {} |\n|{}\n",
                table.columns.join(" | "),
                "---|".repeat(table.columns.len())
            );
            for row in &table.rows {
                text += &format!("| {} |\n", row.join(" | "));
            }
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        for remark in &self.remarks {
            text += &format!("- {remark}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let table = |table: &Table| {
            let row = |row: &Vec<String>| -> Value {
                let fields = table.columns.iter().cloned().zip(row.iter().map(|cell| json!(cell)));
                Value::Object(fields.collect())
            };
            (table.name.to_owned(), table.rows.iter().map(row).collect::<Value>())
        };
        json!({
            "command": self.command,
            "date": httpdate::fmt_http_date(clock::wall()),
            "machine": {
                "kernel": self.machine.kernel,
                "processor": self.machine.processor,
                "cores": self.machine.cores,
            },
            "about": self.about,
            "checks": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(table).collect::<serde_json::Map<_, _>>(),
            "remarks": self.remarks,
        })
    }
}

/// Three significant digits, and whole numbers as they are.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        Sheet {
            command: "memory",
            machine: Machine {
                kernel: "6.1".to_owned(),
                processor: "fast".to_owned(),
                cores: 2,
            },
            about: vec!["tidegate: 0.1".to_owned()],
            tables: vec![Table {
                name: "steps",
                columns: vec!["at".to_owned(), "MiB".to_owned()],
                rows: vec![vec!["1".to_owned(), "20".to_owned()]],
            }],
            checks: vec![
                Check::at_most("idle", 2.5, "KiB", 3.0),
                Check::at_most("TLS", 18.5, "KiB", 18.0),
                Check::told("in flight", 12.34, "KiB"),
                Check::at_most("cost", 1.0, "µs", 3.0).noisy(true),
            ],
            remarks: vec!["quiet".to_owned()],
        }
    }

    #[test]
    fn each_figure_has_its_verdict() {
        let verdicts: Vec<_> = sheet().checks.iter().map(Check::verdict).collect();
        assert_eq!(verdicts, ["reached", "**not reached**", "–", "too noisy to conclude"]);
    }

    #[test]
    fn paper_and_json_say_the_same() {
        let text = sheet().markdown();
        for line in [
            "| idle | 2.50 KiB | ≤ 3 KiB | reached |",
            "| in flight | 12.3 KiB | – | – |",
            "| at | MiB |\n|---|---|\n| 1 | 20 |",
            "- quiet\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let json = sheet().json();
        assert_eq!(json["checks"][1]["verdict"], "not reached");
        assert_eq!(json["tables"]["steps"][0]["MiB"], "20");
    }
}
