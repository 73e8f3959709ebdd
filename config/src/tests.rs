//! Whole files: the examples, what good ones mean, and that everything printed and documented is what is read.
//! Bad ones are in `bad`.

mod bad; // files with mistakes → exact messages
mod order; // of routes and origins
mod rules; // cache rules: what is inherited and what is said
mod values; // what a whole file means

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::backend::settings::{Balance, RetryCause, ServerAddress};
use common::http::origin_error::OriginError;
use common::net::settings::{Backlog, ListenAddress, TcpKeepalive};
use common::serve::settings::HalfClose;
use common::telemetry::access_log::AccessLogTarget;
use common::telemetry::log::LogFormat;

use crate::model::{CacheMode, CacheTier, Config, PathPattern, UnknownHost, WhenDown};
use crate::{load, parse, print, quick, reference};

const EXAMPLES: [&str; 6] = [
    "minimal.toml",
    "full.toml",
    "two-tier-front.toml",
    "two-tier-cache-server.toml",
    "behind-openresty.toml",
    "incident-settings.toml",
];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn example(name: &str) -> String {
    std::fs::read_to_string(folder("examples").join(name)).expect(name)
}

/// full.toml with the keys of `[cache]` that stand in comments instead of those that do not.
fn full_with_cache_servers() -> String {
    let full = example("full.toml");
    let (before, rest) = full.split_once("[cache]\n").expect("[cache]");
    let (cache, after) = rest.split_once("[origin.idc1]").expect("[origin.idc1]");
    let servers: Vec<_> = cache.lines().filter_map(|line| line.strip_prefix("#: ")).collect();
    assert!(servers.len() > 10, "{servers:?}");
    format!("{before}[cache]\n{}\n[origin.idc1]{after}", servers.join("\n"))
}

fn address(text: &str) -> ServerAddress {
    ServerAddress::Socket(text.parse().expect("address"))
}

fn good(text: &str) -> Config {
    match parse(text, "t.toml") {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

#[test]
fn every_example_loads_and_only_the_incident_warns() {
    let there: BTreeSet<_> = std::fs::read_dir(folder("examples"))
        .expect("examples")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert_eq!(there, EXAMPLES.map(str::to_owned).into());
    for name in EXAMPLES {
        let loaded = load(&folder("examples").join(name)).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        if name == "incident-settings.toml" {
            let [warning] = &warnings[..] else {
                panic!("{warnings:?}")
            };
            assert!(warning.ends_with(
                "incident-settings.toml:9: front.listen[0].backlog: the kernel silently cuts a backlog of 200000 to \
                 net.core.somaxconn (\"auto\" asks for exactly what the kernel gives)"
            ));
        } else {
            assert_eq!(warnings, [""; 0], "{name}");
        }
    }
}

#[test]
fn what_is_printed_reads_back_as_the_same_configuration() {
    let mut texts: Vec<_> = EXAMPLES.iter().map(|name| example(name)).collect();
    texts.push(full_with_cache_servers());
    texts.push(order::ROUTES.to_owned());
    texts.push(format!("{LEAST}[process]\nworkers = 3\n[cache]\nmemory = \"8MiB\"\n"));
    texts.push(LEAST.replace(
        "[front]",
        "[front]\nrequest_body_max = \"unlimited\"\nrequest_head_max = \"2KiB\"",
    ));
    texts.push(LEAST.replace("[front]", "[front]\nunknown_host = \"misdirected\""));
    texts.push(LEAST.replace("hosts = [\"a.example\"]", "default = true"));
    for text in texts {
        let config = good(&text);
        let printed = print(&config);
        let again = parse(&printed, "printed").unwrap_or_else(|problems| panic!("{printed}\n{problems}"));
        assert_eq!(again.config, config, "{printed}");
        assert_eq!(print(&again.config), printed);
    }
}

#[test]
fn printing_says_every_default() {
    let mut config = good(LEAST);
    config.process.workers.workers = 2;
    assert_eq!(print(&config), PRINTED);
}

#[test]
fn docs_config_md_is_what_the_description_says() {
    let path = folder("../docs/config.md");
    let generated = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(folder("../docs")).expect("docs");
        std::fs::write(&path, &generated).expect("docs/config.md");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "docs/config.md is old: UPDATE_DOCS=1 cargo test -p config"
    );
}

#[test]
fn the_full_example_mentions_every_key_in_its_table() {
    let text = example("full.toml");
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("#: "));
    let headers = lines.scan("", |header, line| {
        if line.starts_with('[') {
            *header = line.split_once(" #").map_or(line, |(before, _)| before).trim_end();
        }
        Some((*header, line))
    });
    let lines: Vec<_> = headers.collect();
    for section in reference::sections() {
        let header = section.title.trim_matches('`').replace("tls.NAME", "tls.example");
        let header = header.replace("NAME", "idc1");
        // Tables within lines have no header, so their keys may be anywhere.
        let is_inline = !header.starts_with('[');
        for row in &section.rows {
            let key = format!("{} = ", row.name);
            let is_there = lines.iter().any(|(of, line)| match is_inline {
                true => line.contains(&format!("{{ {key}")) || line.contains(&format!(", {key}")),
                false => *of == header && line.starts_with(&key),
            });
            assert!(is_there, "{header} {}", row.name);
        }
    }
}

#[test]
fn a_mangled_file_is_answered_with_problems_that_have_a_place_in_it() {
    let full = example("full.toml");
    let lines: Vec<_> = full.lines().collect();
    let mut mangled = 0;
    for (i, line) in lines.iter().enumerate() {
        let key = line.split_once(" = ").map_or(*line, |(key, _)| key);
        let values = [
            "",
            " = ",
            " = {}",
            " = []",
            " = -1",
            " = \"\"",
            " = [[[{ a.b = 1 }]]]",
            " = \"\\u0000ä\"",
        ];
        for replaced in values.map(|value| format!("{key}{value}")) {
            let mut lines = lines.clone();
            lines[i] = &replaced;
            for text in [lines.join("\n"), lines[..=i].join("\n")] {
                let Err(problems) = parse(&text, "t") else { continue };
                mangled += 1;
                assert!(!problems.errors.is_empty(), "{text}");
                for problem in problems.errors.iter().chain(&problems.warnings) {
                    assert!(
                        problem.line.is_none_or(|line| (1..=lines.len() + 1).contains(&line)),
                        "{problem}\n{text}"
                    );
                }
            }
        }
    }
    assert!(mangled > lines.len(), "{mangled}");
}

#[test]
fn a_command_line_is_a_configuration_with_one_default_site() {
    let loaded = quick("127.0.0.1:8080", "http://127.0.0.1:9000", None).expect("valid");
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let front = config.front.as_ref().expect("front");
    assert_eq!(
        (front.listen[0].socket.name.as_str(), front.unknown_host),
        ("127.0.0.1:8080", UnknownHost::Site(0))
    );
    assert_eq!(config.sites[0].routes.len(), 1);
    assert!(matches!(config.cache.tier, CacheTier::Memory { bytes, .. } if bytes == 256 << 20));
    assert_eq!(config.admin, None);
    assert_eq!(good(&print(&config)), config);

    let admin = quick("127.0.0.1:8080", "a:1", Some("127.0.0.1:9900"))
        .expect("valid")
        .config
        .admin;
    assert_eq!(admin.expect("admin").listen.name, "127.0.0.1:9900");
}

#[test]
fn a_wrong_command_line_is_answered_in_its_own_words() {
    let problems = quick("8080", "https://a\"", Some("0.0.0.0:1")).expect_err("wrong");
    assert_eq!(
        problems.to_string(),
        r#"command line: --listen: "8080" is not an address to listen on, such as "0.0.0.0:80" (did you mean "0.0.0.0:8080"?)
command line: --origin: "https://a\"" is not a server, such as "10.0.0.7:8080" or "name:80"
command line: --admin: other machines reach 0.0.0.0:1, and there is neither admin.token_file nor admin.client_ca (set one of them, or use a loopback address such as "127.0.0.1:9900", or a unix socket)"#
    );
}

const LEAST: &str = "[front]\nlisten = [\"0.0.0.0:80\"]\n[origin.a]\nservers = [\"10.0.0.1:80\"]\n\
                     [[site]]\nhosts = [\"a.example\"]\norigin = \"a\"\n";

const PRINTED: &str = r#"[process]
workers = 2
pin_workers = false
drop_privileges = "try"
landlock = "try"
seccomp = "try"
drain_timeout = "30s"
connections_max = 65536
proc_root = "/"

[limits]
connections_per_source_max = 4096
connections_exempt = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
]
source_prefix_v4 = 32
source_prefix_v6 = 64
lists_reload_every = "5s"

[limits.shedding]
memory = "auto"
descriptors = "auto"
begin = "90%"
end = "80%"
by = "answer"
retry_after = "5s"

[front]
listen = [
    { address = "0.0.0.0:80", backlog = "auto", http2 = false, redirect_https = false, proxy_protocol = false, proxy_from = [] },
]
unknown_host = "misdirected"
header_timeout = "10s"
idle_timeout = "75s"
body_timeout = "30s"
send_timeout = "30s"
body_rate_min = "256B"
send_rate_min = "256B"
rate_grace = "30s"
request_head_max = "32KiB"
fields_max = 100
uri_max = "8KiB"
request_body_max = "10GiB"
requests_per_connection_max = 100000
half_close = "answer"

[front.http2]
streams_max = 128
stream_window = "256KiB"
connection_window = "1MiB"
send_buffer_max = "64KiB"
extended_connect = true

[front.forwarded]
x_forwarded = true
forwarded = false
trusted = []

[origin.a]
servers = ["10.0.0.1:80"]
tunnel_timeout = "1h"
name_servers = []
srv_servers_max = 16
balance = "least_loaded"
hash_load_percent = 150
hash_by = "key"
hot_key_servers = 1
hot_key_rate = 1000
slow_start = "10s"
keepalive = 512
keepalive_min = 0
connections_max = 1024
queue_timeout = "3s"
queue_max = 1024
idle_timeout = "55s"
connection_lifetime = "1h"
connection_requests_max = 100000
protocol = "http1"
retries = 1
retry_on = [
    "dns_error",
    "destination_unavailable",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_limit_reached",
    "http_response_incomplete",
    "proxy_internal_error",
]
retry_budget_percent = 20
hedge_percentile = 0
connect_timeout = "4s"
response_timeout = "30s"
body_timeout = "30s"
send_timeout = "30s"
response_head_max = "64KiB"
fields_max = 200
panic_percent = 0

[origin.a.http2]
streams_max = 100
stream_window = "1MiB"
connection_window = "8MiB"
send_buffer_max = "64KiB"
ping_after = "20s"
ping_timeout = "5s"

[origin.a.ejection]
failures = 5
statuses = [502, 503, 504]
error_percent = 50
tries_min = 20
window = "10s"
latency_factor = 0
latency_min = "50ms"
time = "10s"
time_max = "5m"
ejected_percent_max = 50

[[site]]
hosts = ["a.example"]
default = false
origin = "a"
cache = true
upgrades = ["websocket"]

[health]
sample_every = "1s"
accepts_looked_at = 10

[health.thresholds]
window_short = "10s"
window_long = "1m"
close_after = "15s"
settle = "75s"
events_max = 1000
drops_min = 5
drops_share = "0.1%"
backlog_small = 512
pause = "250ms"
syn_backlog_share = "70%"
cookies_answered_share = "50%"
half_open_repeated_min = 3
accepts_min = 20
synack_loss_share = "1%"
timestamps_min = 3
half_open_reset_share = "5%"
conntrack_share = "95%"
connects_min = 20
connect_loss_share = "1%"
connect_loss_few_min = 5
connect_loss_few_share = "25%"
connect_failures_min = 3
local_ports_share = "90%"

[log]
level = "info"
format = "text"
"#;
