//! A report as JSON: every round, all versions and all configurations.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Report;
use crate::certificate::Files;
use crate::clock;
use crate::load::{Fault, Outcome};
use crate::measure::LoadSample;
use crate::outside::Tool;
use crate::reload::ReloadSample;
use crate::slow::{self, SlowSample};
use crate::subject::{Installed, Setup};
use crate::suite::{Cell, Duel, Row};
use crate::target::Judged;

/// All of it.
pub(super) fn report(report: &Report) -> Value {
    let cores = report.plan.cores;
    json!({
        "command": report.command,
        "date": httpdate::fmt_http_date(clock::wall()),
        "machine": {
            "kernel": report.machine.kernel,
            "processor": report.machine.processor,
            "cores": report.machine.cores,
        },
        "plan": {
            "rounds": report.plan.rounds,
            "seconds": report.plan.time.as_secs_f64(),
            "subject_core": cores.subject,
            "load_core": cores.load,
        },
        "subjects": report.subjects.iter().map(subject_json).collect::<Vec<_>>(),
        "absent": report.absent.iter().map(|subject| subject.name()).collect::<Vec<_>>(),
        "targets": report.judged().iter().map(Judged::json).collect::<Vec<_>>(),
        "cases": report.rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

fn subject_json(installed: &Installed) -> Value {
    let dir = Path::new("DIR");
    let plain = Setup::new(dir, ([127, 0, 0, 1], 9000).into());
    let files = Files::within(dir);
    let tls = Setup {
        tls: Some(&files),
        ..plain
    };
    let speaks_tls = installed.subject.speaks_tls();
    json!({
        "name": installed.subject.name(),
        "version": installed.version,
        "configuration": installed.configuration(&plain),
        "configuration_with_tls": speaks_tls.then(|| installed.configuration(&tls)),
    })
}

fn row_json(row: &Row) -> Value {
    json!({
        "case": row.case.name,
        "connections": row.case.connections,
        "body_bytes": row.case.body_bytes,
        "access_log": row.case.access_log,
        "latency_rate": row.latency_rate,
        "results": row.cells.iter().map(cell_json).collect::<Vec<_>>(),
        "beside_peers": row.duels.iter().map(duel_json).collect::<Vec<_>>(),
    })
}

fn cell_json(cell: &Cell) -> Value {
    let figure = cell.figure();
    json!({
        "subject": cell.subject.name(),
        "median": figure.map(|figure| figure.median),
        "spread": figure.map(|figure| figure.spread),
        "noisy": cell.is_noisy(),
        "failure": cell.failure,
        "rounds": cell.loads.iter().map(load_json).collect::<Vec<_>>(),
        "latency_rounds": cell.latencies.iter().map(latency_json).collect::<Vec<_>>(),
        "cpu_micros_per_request_by_others": cell.by_others.iter().map(by_tool).collect::<Map<_, _>>(),
        "idle_bytes_per_connection": cell.idle,
        "slow_rounds": cell.slow.iter().map(slow_json).collect::<Vec<_>>(),
        "reload_rounds": cell.reloads.iter().map(reload_json).collect::<Vec<_>>(),
    })
}

fn by_tool((tool, rounds): (&Tool, &Vec<f64>)) -> (String, Value) {
    (tool.name().to_owned(), json!(rounds))
}

fn slow_json(sample: &SlowSample) -> Value {
    json!({
        "clients": slow::CLIENTS,
        "clients_given_up": sample.lost,
        "bytes_per_client": sample.bytes_each,
        "alone_p99_micros": sample.alone.latency_micros(0.99),
        "beside_p99_micros": sample.beside.latency_micros(0.99),
        "faults": faults_json(&sample.beside),
    })
}

fn reload_json(sample: &ReloadSample) -> Value {
    let of = |outcome: &Outcome| {
        json!({
            "responses": outcome.responses,
            "reconnects": outcome.reconnects,
            "p99_micros": outcome.latency_micros(0.99),
            "max_micros": outcome.latency.max(),
            "faults": faults_json(outcome),
        })
    };
    json!({ "kept_connections": of(&sample.kept), "new_connections": of(&sample.new) })
}

fn duel_json(duel: &Duel) -> Value {
    let rounds = |cell: &Cell| cell.latencies.iter().map(latency_json).collect::<Vec<_>>();
    json!({
        "peer": duel.theirs.subject.name(),
        "rate": duel.rate,
        "ours": rounds(&duel.ours),
        "theirs": rounds(&duel.theirs),
    })
}

fn load_json(load: &LoadSample) -> Value {
    json!({
        "cpu_micros_per_request": load.cpu_micros_per_request(),
        "user_micros_per_request": load.micros_per_request(load.cpu.user),
        "system_micros_per_request": load.micros_per_request(load.cpu.system),
        "responses": load.outcome.responses,
        "seconds": load.outcome.time.as_secs_f64(),
        "fetched": load.fetched,
        "busy": load.busy(),
        "foreign": load.foreign_share(),
        "reconnects": load.outcome.reconnects,
        "faults": faults_json(&load.outcome),
    })
}

fn latency_json(sample: &LoadSample) -> Value {
    let outcome = &sample.outcome;
    let micros = |quantile| outcome.latency.value_at_quantile(quantile);
    json!({
        "p50_micros": micros(0.5),
        "p99_micros": micros(0.99),
        "p999_micros": micros(0.999),
        "max_micros": outcome.latency.max(),
        "generator_lateness_p99_micros": outcome.lateness.value_at_quantile(0.99),
        "cpu_micros_per_request": sample.cpu_micros_per_request(),
        "foreign": sample.foreign_share(),
        "responses": outcome.responses,
        "faults": faults_json(outcome),
    })
}

fn faults_json(outcome: &Outcome) -> Value {
    Fault::ALL
        .into_iter()
        .zip(outcome.faults)
        .map(|(fault, count)| (fault.word().to_owned(), json!(count)))
        .collect()
}
