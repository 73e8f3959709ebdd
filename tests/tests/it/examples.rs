//! `examples/two-tier` runs as it stands (but for its ports), and keeps its promise: one of three cache servers is killed
//! and brought back under load, and no client notices.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::binary::{tidegate, workspace};
use tests::client::{Client, HOST, get};
use tests::metrics;
use tests::process::Process;
use tests::programs::installed;
use tests::sys::{SIGINT, SIGKILL, SIGTERM, signal};
use tests::tidegate::{Node, folder};
use tests::wait::eventually;

const PAGES: usize = 1200;

/// The example, running on ports that the kernel chose.
struct Example {
    folder: PathBuf,
    /// Ports by those in the files.
    ports: HashMap<u16, u16>,
    script: Process,
}

impl Drop for Example {
    /// The script ends what it has started.
    fn drop(&mut self) {
        self.script.signal(SIGTERM);
        self.script.wait_for_exit();
    }
}

impl Example {
    fn start(folder: &Path) -> Self {
        let known = [28000, 28080, 28081, 28082, 28083, 28090, 28091, 28092, 28093];
        let listeners = known.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let chosen = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().port());
        drop(listeners);
        let ports: HashMap<u16, u16> = known.into_iter().zip(chosen).collect();
        for file in ["run", "front.toml", "cache-1.toml", "cache-2.toml", "cache-3.toml"] {
            let text = std::fs::read_to_string(workspace().join("examples/two-tier").join(file)).unwrap();
            let text = ports.iter().fold(text, |text, (known, chosen)| {
                text.replace(&format!(":{known}"), &format!(":{chosen}"))
            });
            std::fs::write(folder.join(file), text).unwrap();
        }
        let mut command = Command::new("bash");
        command.arg(folder.join("run")).env("TIDEGATE", tidegate());
        let script = Process::spawn(command);
        eventually("all are ready", || script.output().contains("\nready: front"));
        Self {
            folder: folder.to_owned(),
            ports,
            script,
        }
    }

    fn address(&self, port: u16) -> String {
        format!("127.0.0.1:{}", self.ports[&port])
    }

    fn metric(&self, port: u16, name: &str, labels: &str) -> usize {
        usize::try_from(metrics::read(&self.address(port), name, labels)).unwrap()
    }

    /// The process that the script has announced under this name.
    fn pid(&self, name: &str) -> u32 {
        let text = self.script.output();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: process ")));
        line.unwrap().trim().parse().unwrap()
    }

    /// Asks for every page once; how many were stored somewhere.
    fn round(&self) -> usize {
        let mut client = Client::connect(&self.address(28080));
        let asked = (0..PAGES).map(|page| client.get(&format!("/page/{page}")));
        asked
            .inspect(|response| assert_eq!(response.status, 200, "{response:?}"))
            .filter(|response| response.is_hit())
            .count()
    }
}

/// wrk, which asks for all pages as fast as it can until it is told to stop; `None` where it is not installed.
fn wrk(folder: &Path, address: &str) -> Option<Process> {
    let mut command = installed("wrk")?;
    let script = format!(
        "local n = 0\nrequest = function()\n  n = n + 1\n  return wrk.format('GET', '/page/' .. (n * 11 % {PAGES}))\nend\n"
    );
    std::fs::write(folder.join("pages.lua"), script).unwrap();
    command
        .args(["-t1", "-c4", "-d1h", "--timeout", "30s", "-H"])
        .arg(format!("Host: {HOST}"))
        .arg("-s")
        .arg(folder.join("pages.lua"))
        .arg(format!("http://{address}/"));
    Some(Process::spawn(command))
}

/// What wrk has to tell in the end: no answer but good ones, and no connection that broke.
fn expect_no_failure(mut wrk: Process) {
    wrk.signal(SIGINT);
    wrk.wait_for_exit();
    let said = wrk.output();
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
}

/// Asks for all pages again and again until it is told to stop; how many requests that were.
fn load(address: &str, stop: &AtomicBool, failed: &AtomicUsize) -> usize {
    let mut client = Client::connect(address);
    let mut asked = 0;
    while !stop.load(Ordering::SeqCst) {
        client.send(get(&format!("/page/{}", asked * 7 % PAGES)));
        let is_well = client
            .try_read_answer_to("GET")
            .is_ok_and(|response| response.status == 200 && response.looks_whole());
        if !is_well {
            failed.fetch_add(1, Ordering::SeqCst);
            client = Client::connect(address);
        }
        asked += 1;
    }
    asked
}

#[test]
fn one_of_three_cache_servers_is_killed_and_brought_back_and_no_client_notices() {
    // How many keys move while a server is away is a matter of load too, which is bounded per server: tests beside this one
    // can make a server look loaded. That requests fail, or are not hits at all, is never excused.
    let tries: Vec<_> = (0..3).map_while(|_| kill_and_bring_back().err()).collect();
    assert!(tries.len() < 3, "{tries:#?}");
}

/// Kills one of the three, and brings it back; says what was asked of the origin more often than it should have been.
fn kill_and_bring_back() -> Result<(), String> {
    let (_folder, path) = folder();
    let example = Example::start(&path);
    assert_eq!(
        (example.round(), example.round()),
        (0, PAGES),
        "each page is on one of them"
    );
    let lost = example.metric(28092, "tidegate_cache_stored_responses", "");
    let alive = |name| example.metric(28091, name, "") + example.metric(28093, name, "");
    let fetched_before = alive("tidegate_backend_requests_total");
    let (stop, failed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (stop, failed) = (&stop, &failed);
    let told = std::thread::scope(|scope| {
        let address = example.address(28080);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn({
                    let address = address.clone();
                    move || load(&address, stop, failed)
                })
            })
            .collect();
        let wrk = wrk(&path, &address);
        signal(example.pid("cache-2"), SIGKILL);
        let mut told = Vec::new();
        let hits = example.round();
        if hits < PAGES - lost - PAGES / 20 {
            told.push(format!("{hits} hits of {PAGES} while {lost} are lost"));
        }
        assert_eq!(example.round(), PAGES, "all is stored again");
        let file = example.folder.join("cache-2.toml");
        let back = Node::run(&["run", "-c", file.to_str().unwrap()]);
        let asked = || back.metric("tidegate_client_bytes_received_total", "");
        eventually("it is asked again", || asked() > 0);
        let hits = example.round();
        if hits < PAGES - PAGES / 20 {
            told.push(format!("{hits} hits of {PAGES}: those who held its pages are asked"));
        }
        stop.store(true, Ordering::SeqCst);
        if let Some(wrk) = wrk {
            expect_no_failure(wrk);
        }
        let asked: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert!(asked > PAGES, "{asked} requests are no load");
        let fetched = alive("tidegate_backend_requests_total") - fetched_before
            + usize::try_from(back.metric("tidegate_backend_requests_total", "")).unwrap()
            // What the budget of retries kept from being asked of another cache server.
            + example.metric(28090, "tidegate_backend_requests_total", r#"backend="sample""#);
        let most = PAGES / 3 + PAGES / 20;
        if fetched > most {
            told.push(format!(
                "the origin saw {fetched} of {PAGES} pages again, {lost} were lost"
            ));
        }
        told
    });
    assert_eq!(failed.load(Ordering::SeqCst), 0, "requests failed");
    if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
}
