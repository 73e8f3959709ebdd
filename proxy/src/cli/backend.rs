//! `tidegate backend`: what the servers of a running process are up to, and orders to them.
//!
//! A client of the admin listener: `GET /health` and `POST /backends/NAME/SERVER/ORDER`, over a blocking socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::exit::{Code, Failure};

/// Arguments of `backend`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The admin listener of the running process, or `unix:/path`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: String,
    /// The backend: an origin's name, or `cache.servers`; without it, all are shown.
    #[arg(requires = "server")]
    name: Option<String>,
    /// The server, as it stands in the configuration.
    #[arg(requires = "order")]
    server: Option<String>,
    /// What is wanted of it.
    #[arg(value_parser = ["ready", "drain", "down"])]
    order: Option<String>,
}

/// How long the process may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: more than any number of servers needs.
const ANSWER_MAX: u64 = 16 << 20;

/// Sends the order, or shows the backends.
///
/// # Errors
/// No process answers there, or it refuses.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (method, path) = match (&arguments.name, &arguments.server, &arguments.order) {
        (Some(name), Some(server), Some(order)) => ("POST", format!("/backends/{name}/{server}/{order}")),
        _ => ("GET", "/health".to_owned()),
    };
    let is_target = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
    if !is_target {
        return Err(Failure::new(
            Code::Found,
            "names of backends and servers have no spaces and no \"?\" or \"#\"",
        ));
    }
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let unavailable = |error| Failure::new(Code::Unavailable, format_args!("{}: {error}", arguments.admin));
    let answer = exchange(&arguments.admin, &request).map_err(unavailable)?;
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) != Some("200") {
        let message = if content.is_empty() {
            head.lines().next().unwrap_or("no answer")
        } else {
            content.trim_end()
        };
        return Err(Failure::new(Code::Found, message));
    }
    super::say(content);
    Ok(())
}

fn exchange(admin: &str, request: &str) -> std::io::Result<String> {
    let mut answer = String::new();
    if let Some(path) = admin.strip_prefix("unix:") {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    } else {
        let mut stream = TcpStream::connect(admin)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    }
    Ok(answer)
}
