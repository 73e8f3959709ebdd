//! One small question, and the body of its answer: counts of the origin, metrics of ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// The body of the answer to a GET, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("{address} is gone"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .with_context(|| format!("{address}{path}"))?;
    let (_, body) = text
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address}{path}: no answer"))?;
    Ok(body.to_owned())
}

/// How many requests a canned origin has got so far.
pub(crate) fn count_of(origin: SocketAddr) -> Result<u64> {
    get(origin, "/count")?
        .trim()
        .parse()
        .context("the origin gave no count")
}
