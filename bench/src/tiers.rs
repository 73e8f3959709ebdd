//! `bench tiers`: a hit at the second tier. tidegate as front before tidegate as cache server, against nginx before Varnish.
//!
//! CPU is that of the whole chain, all its processes on one core; the front stores nothing, in either chain.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::load::{Generator, Outcome, Pace, Target};
use crate::machine;
use crate::options::{self, Usual};
use crate::process::Process;
use crate::rig::{Rig, Shape, Tidegate, cache_server, front_before};
use crate::sheet::{Check, Sheet, Table};
use crate::stats::{SPREAD_MAX, summarize};
use crate::subject::{self, Installed, Running, Setup, Subject};
use crate::usage;

/// Cases: word, body bytes, connections.
const CASES: [(&str, u64, usize); 3] = [
    ("hit 1 KiB", 1 << 10, 64),
    ("hit 16 KiB", 16 << 10, 64),
    ("hit 1 MiB", 1 << 20, 16),
];

#[derive(Args)]
pub(crate) struct Options {
    /// Rounds of each case.
    #[arg(long, default_value_t = 5, value_parser = options::rounds)]
    rounds: usize,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 2.0, value_parser = options::seconds)]
    seconds: f64,
    #[command(flatten)]
    pub(crate) usual: Usual,
}

/// A front and a cache behind it.
struct Chain {
    name: &'static str,
    address: SocketAddr,
    /// Its processes, front first.
    pids: Vec<i32>,
    /// They end with it.
    _running: (Vec<Tidegate>, Vec<Running>),
}

/// What a chain's rounds of one case came to, in CPU µs per request: the front's part and all of it.
#[derive(Default)]
struct Cell {
    front: Vec<f64>,
    whole: Vec<f64>,
    rates: Vec<f64>,
}

/// Measures both chains in turns.
pub(crate) fn run(tidegate: &Installed, options: &Options) -> Result<()> {
    let (machine, cores) = machine::ready_to_load()?;
    let rig = Rig::new(&tidegate.program, cores)?;
    let mut about = vec![format!("tidegate: {}", tidegate.version)];
    let mut remarks = Vec::new();
    let mut chains = vec![ours(&rig)?];
    match theirs(&rig, &tidegate.program, &mut about)? {
        Some(chain) => chains.push(chain),
        None => {
            remarks.push("nginx and Varnish are not both installed, so there is nothing to compare with.".to_owned())
        }
    }
    about.push(format!(
        "both processes of a chain on core {}, load and origin on core {}",
        cores.subject, cores.load
    ));
    let (mut checks, mut rows) = (Vec::new(), Vec::new());
    for (words, bytes, connections) in CASES {
        let cells = measure(&rig, &chains, options, (bytes, connections))?;
        let figures: Vec<_> = cells
            .iter()
            .filter_map(|cell| summarize(cell.whole.iter().copied()))
            .collect();
        if let [ours, theirs] = figures[..] {
            let is_noisy = ours.spread.max(theirs.spread) > SPREAD_MAX;
            let what = format!("{words} at the second tier, CPU of the chain, to nginx and Varnish");
            checks.push(Check::at_most(what, ours.median / theirs.median, "×", 1.0).noisy(is_noisy));
        }
        rows.extend(chains.iter().zip(&cells).map(|(chain, cell)| line(words, chain, cell)));
    }
    let columns = ["case", "chain", "CPU µs", "of them the front's", "spread", "requests/s"];
    let sheet = Sheet {
        command: "tiers",
        machine,
        about,
        checks,
        tables: vec![Table {
            name: "cases",
            columns: columns.map(str::to_owned).to_vec(),
            rows,
        }],
        remarks,
    };
    sheet.publish(options.usual.save.as_deref())
}

fn measure(rig: &Rig, chains: &[Chain], options: &Options, case: (u64, usize)) -> Result<Vec<Cell>> {
    let (bytes, connections) = case;
    let mut generators = Vec::new();
    for chain in chains {
        let mut generator = Generator::new(Target::get(chain.address, &format!("/{bytes}"), bytes, connections))?;
        right(&generator.run(Pace::count(2))?, chain)?;
        right(
            &generator.run(Pace::closed(Duration::from_secs_f64(options.seconds / 4.0)))?,
            chain,
        )?;
        generators.push(generator);
    }
    let mut cells: Vec<Cell> = chains.iter().map(|_| Cell::default()).collect();
    let asked = rig.asked_of_origin()?;
    for _ in 0..options.rounds {
        for ((chain, generator), cell) in chains.iter().zip(&mut generators).zip(&mut cells) {
            let before = chain.cpu()?;
            let outcome = generator.run(Pace::closed(Duration::from_secs_f64(options.seconds)))?;
            let after = chain.cpu()?;
            right(&outcome, chain)?;
            let responses = f64::from(u32::try_from(outcome.responses)?.max(1));
            let micros: Vec<f64> = after
                .iter()
                .zip(&before)
                .map(|(after, before)| after.saturating_sub(*before).as_secs_f64() * 1e6 / responses)
                .collect();
            cell.front.push(micros[0]);
            cell.whole.push(micros.iter().sum());
            cell.rates.push(outcome.rate());
            writeln!(
                io::stderr(),
                "{bytes} bytes, {}: {:.1} µs",
                chain.name,
                micros.iter().sum::<f64>()
            )?;
        }
    }
    let fetched = rig.asked_of_origin()? - asked;
    ensure!(fetched == 0, "{fetched} requests were fetched from the origin");
    Ok(cells)
}

fn right(outcome: &Outcome, chain: &Chain) -> Result<()> {
    ensure!(
        outcome.fault_count() == 0,
        "{}: wrong answers: {}",
        chain.name,
        outcome.fault_words()
    );
    Ok(())
}

fn line(words: &str, chain: &Chain, cell: &Cell) -> Vec<String> {
    let of = |values: &[f64]| summarize(values.iter().copied()).unwrap_or_default();
    let whole = of(&cell.whole);
    vec![
        words.to_owned(),
        chain.name.to_owned(),
        format!("{:.1}", whole.median),
        format!("{:.1}", of(&cell.front).median),
        format!("{:.0} %", whole.spread * 100.0),
        format!("{:.0}", of(&cell.rates).median),
    ]
}

impl Chain {
    fn cpu(&self) -> Result<Vec<Duration>> {
        self.pids.iter().map(|&pid| Ok(usage::cpu_time(pid)?.total)).collect()
    }
}

fn ours(rig: &Rig) -> Result<Chain> {
    let cpus = [rig.cores.subject];
    let server = rig.start_on(&cpus, &cache_server(&Shape::store(1024), rig.origin()))?;
    let front = rig.start_on(&cpus, &front_before(server.front, rig.origin()))?;
    Ok(Chain {
        name: "tidegate → tidegate",
        address: front.front,
        pids: vec![front.process.pid(), server.process.pid()],
        _running: (vec![front, server], Vec::new()),
    })
}

/// nginx before Varnish, where both are installed.
fn theirs(rig: &Rig, tidegate: &Path, about: &mut Vec<String>) -> Result<Option<Chain>> {
    let find = |subject| Installed::find(subject, tidegate);
    let (Some(nginx), Some(varnish)) = (find(Subject::Nginx)?, find(Subject::Varnish)?) else {
        return Ok(None);
    };
    about.extend([
        format!("nginx: {}", nginx.version),
        format!("Varnish: {}", varnish.version),
    ]);
    let cache = varnish.start(&[rig.cores.subject], &Setup::new(rig.dir(), rig.origin()))?;
    let front = nginx_before(&nginx, rig, cache.address).context("nginx as front")?;
    Ok(Some(Chain {
        name: "nginx → Varnish",
        address: front.address,
        pids: vec![front.process.pid(), cache.process.pid()],
        _running: (Vec::new(), vec![front, cache]),
    }))
}

/// nginx as a front that stores nothing, as its experts tune it.
fn nginx_before(nginx: &Installed, rig: &Rig, cache: SocketAddr) -> Result<Running> {
    let dir = rig.dir().display();
    let port = subject::free_port()?;
    let text = format!(
        r"user root;
worker_processes 1;
pid {dir}/front.pid;
error_log stderr error;
events {{
    worker_connections 4096;
    use epoll;
    multi_accept on;
}}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    proxy_max_temp_file_size 0;
    upstream cache {{
        server {cache};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        location / {{
            proxy_pass http://cache;
        }}
    }}
}}
"
    );
    let file = rig.dir().join("front.conf");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(&nginx.program);
    let arguments: [OsString; 8] = [
        "-p".into(),
        rig.dir().into(),
        "-e".into(),
        "stderr".into(),
        "-c".into(),
        file.into(),
        "-g".into(),
        "daemon off;".into(),
    ];
    command.args(arguments);
    let process = Process::start("nginx-front", command, rig.cores.subject, rig.dir())?;
    Running::accepting(process, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
