//! What subcommands share that ask a running process's admin listener: one HTTP/1.0 exchange, blocking.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::exit::{Code, Failure};

/// Where the process is.
#[derive(Debug, clap::Args)]
pub struct Whom {
    /// The process's admin listener: an address, or unix:PATH.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9900")]
    admin: String,
}

/// How long the process may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;

/// Asks and prints the answer.
///
/// # Errors
/// When there is no answer, or one that says no.
pub fn ask(whom: &Whom, method: &str, target: &str) -> Result<(), Failure> {
    let unavailable = |error: std::io::Error| Failure::new(Code::Unavailable, format_args!("{}: {error}", whom.admin));
    let head = format!("{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let answer = match whom.admin.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &head)
        }),
        None => connect(&whom.admin).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream, &head)
        }),
    };
    let answer = answer.map_err(unavailable)?;
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => {
            super::say(content);
            Ok(())
        }
        _ => Err(Failure::new(Code::Found, content.trim_end())),
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    let nowhere = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    let first = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    TcpStream::connect_timeout(&first, PATIENCE)
}

fn exchange(mut stream: impl Read + Write, head: &str) -> std::io::Result<String> {
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
