//! Traffic Server: store in memory (RAM cache before a file on tmpfs), one event thread per worker, no log but in its row.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::{Launch, Ready, Setup};

pub(super) fn launch(setup: &Setup<'_>, port: u16) -> Launch {
    let dir = setup.dir;
    let root = dir.join("runroot.yaml");
    let files = [
        ("runroot.yaml", layout(dir)),
        ("records.config", records(setup, port)),
        ("remap.config", format!("map / http://{}/\n", setup.origin)),
        ("cache.config", "url_regex=/pass/ action=never-cache\n".to_owned()),
        ("storage.config", format!("{} {}M\n", dir.display(), setup.store_mib)),
        ("ip_allow.yaml", ALLOW.to_owned()),
        ("logging.yaml", LOGGING.to_owned()),
        ("plugin.config", String::new()),
        (
            "ssl_multicert.config",
            setup.tls.map_or_else(String::new, |files| {
                let (certificate, key) = (files.certificate.display(), files.key.display());
                format!("dest_ip=* ssl_cert_name={certificate} ssl_key_name={key}\n")
            }),
        ),
    ];
    Launch {
        arguments: vec![format!("--run-root={}", root.display()).into()],
        files: files.map(|(name, text)| (dir.join(name), text)).to_vec(),
        environment: &[
            // Otherwise its threads choose their cores by themselves (hwloc), whatever they are pinned to.
            ("HWLOC_THISSYSTEM", "0"),
        ],
        ready: Ready::Accepts(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    }
}

const ALLOW: &str = "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n";

const LOGGING: &str = r#"logging:
  formats:
    - name: combined
      format: '%<chi> - %<caun> [%<cqtn>] "%<cqtx>" %<pssc> %<pscl> "%<{Referer}cqh>" "%<{User-Agent}cqh>"'
  logs:
    - filename: access
      format: combined
"#;

/// Where everything lies: libraries where the system has them, the rest in `dir`.
fn layout(dir: &Path) -> String {
    let mut text = "exec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nlibdir: /usr/lib/trafficserver\n\
                    libexecdir: /usr/lib/trafficserver/modules\n"
        .to_owned();
    let own = "prefix sysconfdir datadir includedir localstatedir runtimedir logdir cachedir mandir infodir";
    for name in own.split(' ') {
        // Writing into a String does not fail.
        _ = writeln!(text, "{name}: {}", dir.display());
    }
    text
}

fn records(setup: &Setup<'_>, port: u16) -> String {
    let tls = if setup.tls.is_some() { ":ssl" } else { "" };
    let log = if setup.access_log { 3 } else { 0 };
    let (threads, store) = (setup.workers, setup.store_mib);
    let settings = [
        // Whoever starts bench.
        ("admin.user_id STRING", "#-1".to_owned()),
        ("http.server_ports STRING", format!("{port}:ip-in=127.0.0.1{tls}")),
        ("exec_thread.autoconfig INT", "0".to_owned()),
        ("exec_thread.limit INT", threads.to_string()),
        ("exec_thread.affinity INT", "0".to_owned()),
        ("accept_threads INT", "0".to_owned()),
        ("task_threads INT", "1".to_owned()),
        ("net.listen_backlog INT", "4096".to_owned()),
        ("cache.threads_per_disk INT", "4".to_owned()),
        ("cache.ram_cache.size INT", format!("{store}M")),
        ("cache.ram_cache_cutoff INT", "64M".to_owned()),
        ("http.cache.required_headers INT", "0".to_owned()),
        ("http.wait_for_cache INT", "1".to_owned()),
        ("http.keep_alive_no_activity_timeout_in INT", "300".to_owned()),
        ("http.server_session_sharing.pool STRING", "thread".to_owned()),
        ("url_remap.pristine_host_hdr INT", "1".to_owned()),
        ("ssl.server.cert.path STRING", "/".to_owned()),
        ("ssl.server.private_key.path STRING", "/".to_owned()),
        ("log.logging_enabled INT", log.to_string()),
        ("output.logfile STRING", "stderr".to_owned()),
    ];
    let lines = settings.map(|(name, value)| format!("CONFIG proxy.config.{name} {value}\n"));
    lines.concat()
}
