//! The report of a running tidegate: one GET of its `/health`, over TCP or a unix socket.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Verdict, WATCH_EVERY, show, wait};
use crate::admin;
use crate::exit::{Code, Failure};
use crate::health::Status;

/// A report that takes longer is no answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than the largest report.
const REPORT_MAX: u64 = 4 << 20;

/// Fetches and prints; with `watch` again and again.
pub fn run(admin: &str, as_json: bool, watch: bool) -> Result<Verdict, Failure> {
    loop {
        let report = fetch(admin, as_json);
        let (status, text) =
            report.map_err(|error| Failure::new(Code::CannotTell, format_args!("--admin {admin}: {error}")))?;
        if !watch {
            super::super::say(&text);
            return Ok(match status {
                Status::Ok => Verdict::Healthy,
                Status::Degraded | Status::Critical => Verdict::Findings,
            });
        }
        show(&text);
        wait(WATCH_EVERY);
    }
}

fn fetch(admin: &str, as_json: bool) -> io::Result<(Status, String)> {
    let format = if as_json { "json" } else { "text" };
    // HTTP/1.0: the report ends with the connection, in one piece.
    let request = format!("GET /health?format={format} HTTP/1.0\r\nHost: tidegate\r\n\r\n");
    let authority = admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/');
    let answer = match authority.strip_prefix("unix:") {
        Some(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            exchange(socket, &request)?
        }
        None => {
            let address = authority
                .to_socket_addrs()?
                .next()
                .ok_or(io::ErrorKind::AddrNotAvailable)?;
            let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            exchange(socket, &request)?
        }
    };
    understand(&answer).ok_or_else(|| io::Error::other("that is no health report of a tidegate"))
}

fn exchange(mut socket: impl Read + Write, request: &str) -> io::Result<String> {
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    socket.take(REPORT_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status by the field that every report has, and the report.
fn understand(answer: &str) -> Option<(Status, String)> {
    let (head, report) = answer.split_once("\r\n\r\n")?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(admin::HEALTH_STATUS.as_str())
            .then(|| value.trim().to_owned())
    };
    let status = head.lines().find_map(field)?;
    Some((Status::of_word(&status)?, report.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_report_of_a_tidegate_is_understood() {
        let report = "HTTP/1.1 200 OK\r\nTidegate-Health: degraded\r\nConnection: close\r\n\r\n{}\n";
        assert_eq!(understand(report), Some((Status::Degraded, "{}\n".to_owned())));
        for other in [
            "",
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntidegate-health: fine\r\n\r\n",
        ] {
            assert_eq!(understand(other), None, "{other:?}");
        }
    }
}
