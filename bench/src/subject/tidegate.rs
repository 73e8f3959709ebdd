//! tidegate: a front with the cache in the same process, everything else as it is by default.

use std::net::SocketAddr;

use super::{Launch, Ready, Setup};

pub(super) fn launch(setup: &Setup<'_>) -> Launch {
    let file = setup.dir.join("tidegate.toml");
    let access_log = if setup.access_log {
        format!(
            "[log.access]\nto = \"{}\"\nformat = \"combined\"\n",
            setup.dir.join("access.log").display()
        )
    } else {
        String::new()
    };
    let health = if setup.watches {
        ""
    } else {
        "[health]\nsample_every = \"1h\"\naccepts_looked_at = 0\n"
    };
    let (listener, tls) = setup.tls.map_or_else(Default::default, |files| {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let every = if setup.reloads { "reload_every = \"1s\"\n" } else { "" };
        let table =
            format!("\n[tls.bench]\ncertificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]\n{every}");
        (", tls = \"bench\"", table)
    });
    let text = format!(
        r#"[process]
workers = {workers}

[front]
listen = [{{ address = "127.0.0.1:0"{listener} }}]
{tls}
[cache]
memory = "{store}MiB"

{site}
[log]
level = "info"
{access_log}{health}"#,
        workers = setup.workers,
        store = setup.store_mib,
        site = site(setup.origin),
    );
    Launch {
        arguments: vec!["run".into(), "-c".into(), file.clone().into()],
        files: vec![(file, text)],
        environment: &[],
        ready: Ready::Announced,
    }
}

/// What all shapes have in common: where requests go to, and the admin listener.
pub(crate) fn site(origin: SocketAddr) -> String {
    format!(
        r#"[origin.o]
servers = ["{origin}"]

[[site]]
hosts = ["bench.test"]
default = true
origin = "o"

[[site.route]]
prefix = "/pass"
cache = false

[admin]
listen = "127.0.0.1:0"
"#
    )
}
