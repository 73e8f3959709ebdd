//! `tidegate demo`: front, cache and a sample origin in one process, with URLs to try.

use std::net::SocketAddr;

use crate::boot::{self, Started};
use crate::demo::Origin;
use crate::exit::{Code, Failure};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where clients are met; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the sample origin is.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    origin_listen: SocketAddr,
    /// Where health and metrics are.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from serving.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let origin = Origin::bind(arguments.origin_listen)?;
    let at = origin.address();
    let text = configuration(arguments, at);
    let loaded = config::parse(&text, "demo").map_err(|problems| Failure::new(Code::Config, problems))?;
    // Its thread starts last: by then the process is confined.
    let mut serving = None;
    boot::run(&loaded.config, &loaded.warnings, |started| {
        super::say(&invitation(started, at));
        serving = Some(origin.serve());
    })?;
    serving.map_or(Ok(()), |serving| serving.map(drop))
}

fn configuration(arguments: &Arguments, origin: SocketAddr) -> String {
    format!(
        r#"
[process]
drain_timeout = "5s"
[front]
listen = ["{listen}"]
unknown_host = "default"
[cache]
memory = "256MiB"
[origin.sample]
servers = ["{origin}"]
[[site]]
hosts = ["demo.test"]
default = true
origin = "sample"
[admin]
listen = "{admin}"
"#,
        listen = arguments.listen,
        admin = arguments.admin,
    )
}

fn invitation(started: &Started, origin: SocketAddr) -> String {
    let first = |role| {
        started
            .addresses
            .iter()
            .find(|listener| listener.role == role)
            .map_or_else(String::new, |listener| listener.address.clone())
    };
    let (front, admin) = (first("front"), first("admin"));
    format!(
        "\ntidegate demo: front and cache at http://{front}, sample origin at http://{origin}, admin at http://{admin}\n\n\
         Try:\n\
         \x20 curl -i http://{front}/                    # a page; ask twice: Cache-Status says hit, Age grows\n\
         \x20 curl -i http://{front}/page/7              # any number of pages\n\
         \x20 curl -o /dev/null http://{front}/image/1MiB.bin   # also 1KiB, 16KiB, 100KiB, 10MiB\n\
         \x20 curl -i http://{front}/slow                # two seconds at the origin, then cached for 10 s\n\
         \x20 curl -i http://{front}/private             # Cache-Control: private, never stored\n\
         \x20 curl -i http://{front}/flaky               # every third answer of the origin is a 503\n\
         \x20 curl -i --data hello http://{front}/echo   # a POST passes through\n\
         \x20 curl -s http://{admin}/health\n\
         \x20 curl -s http://{admin}/metrics\n\
         \x20 wrk -t1 -c64 -d5s http://{front}/image/1KiB.bin\n\n\
         Ctrl-C ends it.\n\n"
    )
}
