//! docs/metrics.md, written from the tables of `telemetry::metrics` and compared with the file.
//!
//! Only a test: `UPDATE_DOCS=1 cargo test -p common` rewrites the page.

use std::fmt::Write as _;

use super::metrics::{BUCKETS_MICROS, Counter, Descriptor, Family, Histogram, Kind, unit};

#[test]
fn the_page_of_metrics_says_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page,
        "docs/metrics.md is not what the tables say; run: UPDATE_DOCS=1 cargo test -p common"
    );
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Counters\n\nThey count events since the start of the process, over all workers.\n\n");
    write_rows(
        &mut page,
        "What it counts | What a rise means",
        Counter::ALL.iter().map(|row| row.descriptor()),
    );
    let bounds: Vec<_> = BUCKETS_MICROS.iter().map(u64::to_string).collect();
    let bounds = bounds.join(", ");
    write!(
        page,
        "\n## Histograms\n\nUpper bounds of their buckets, in microseconds: {bounds}.\n\n"
    )
    .unwrap();
    write_rows(
        &mut page,
        "What it measures | What it means",
        Histogram::ALL.iter().map(|row| row.descriptor()),
    );
    page.push_str("\n## Stated when read\n\nTheir values are taken at the moment of the scrape.\n\n");
    page.push_str("| Name and labels | Kind | Unit | What it tells | What it means | What to do |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for family in Family::ALL {
        let row = family.descriptor();
        let labels = if row.labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", row.labels.join(", "))
        };
        let kind = if row.kind == Kind::Counter { "counter" } else { "gauge" };
        let (name, unit) = (row.name, unit(row.name));
        writeln!(
            page,
            "| `{name}{labels}` | {kind} | {unit} | {} | {} | {} |",
            row.help, row.meaning, row.action
        )
        .unwrap();
    }
    page
}

fn write_rows(page: &mut String, columns: &str, rows: impl Iterator<Item = Descriptor>) {
    writeln!(
        page,
        "| Series | Unit | {columns} | What to do |\n|---|---|---|---|---|"
    )
    .unwrap();
    for row in rows {
        let labels = if row.labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", row.labels)
        };
        let (name, unit) = (row.name, unit(row.name));
        writeln!(
            page,
            "| `{name}{labels}` | {unit} | {} | {} | {} |",
            row.help, row.meaning, row.action
        )
        .unwrap();
    }
}

const HEAD: &str = "\
# Metrics

The admin listener answers `GET /metrics` in Prometheus' text format 0.0.4.
This page is generated from the tables in `common/src/telemetry/metrics.rs`; a test compares them.
After a change there, run `UPDATE_DOCS=1 cargo test -p common` and commit the page.
";
