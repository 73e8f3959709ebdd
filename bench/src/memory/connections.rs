//! Connections: idle ones, plain and TLS, and such with a request under way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Found, float, settled};
use crate::certificate::{Identity, NAME};
use crate::load::whole_length;
use crate::rig::{PATIENCE, Rig, Shape, Tidegate};
use crate::sheet::Check;

/// Requests that wait for the origin at once, and such whose content is sent.
const WAITING: u32 = 1000;
const SENDING: u32 = 100;
/// More than the sockets' buffers on loopback take.
const SENT_BYTES: u32 = 16 << 20;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
const KIB: f64 = 1024.0;

/// Memory of an idle connection that has made one request.
pub(super) fn idle(rig: &Rig, count: u32) -> Result<Found> {
    let tidegate = rig.start(&Shape::store(64))?;
    let before = after_warm_up(&tidegate, ask)?;
    let connections = each(count, || ask(tidegate.front))?;
    let bytes = float(settled(&tidegate)?.saturating_sub(before));
    still_open(&tidegate, count)?;
    drop(connections);
    let what = format!("an idle keep-alive connection ({count} of them)");
    Ok(one_check(Check::at_most(
        what,
        bytes / f64::from(count) / KIB,
        "KiB",
        3.0,
    )))
}

/// The same with TLS. The client's own TLS state is dropped after the answer: only sockets stay, and nothing is closed.
pub(super) fn idle_tls(rig: &Rig, count: u32) -> Result<Found> {
    let (shape, client) = tls(rig)?;
    let tidegate = rig.start(&shape)?;
    let ask_tls = |address| ask_over_tls(address, &client);
    let before = after_warm_up(&tidegate, ask_tls)?;
    let connections = each(count, || ask_tls(tidegate.front))?;
    let bytes = float(settled(&tidegate)?.saturating_sub(before));
    still_open(&tidegate, count)?;
    drop(connections);
    let kib = bytes / f64::from(count) / KIB;
    let what = format!("an idle TLS connection ({count} of them)");
    let whole = format!("{count} idle TLS connections together");
    let most = f64::from(count) * 18.0 / KIB * 1.024;
    Ok(Found {
        checks: vec![
            Check::at_most(what, kib, "KiB", 18.0),
            Check::at_most(whole, bytes / KIB / KIB, "MiB", most),
        ],
        ..Found::default()
    })
}

/// Memory of a request under way, beside its idle connection: one that waits for the origin, and one that sends stored
/// content to a client that does not read.
pub(super) fn in_flight(rig: &Rig) -> Result<Found> {
    let waits = under_way(rig, WAITING, |number| format!("/hold/{number}"))?;
    let sends = under_way(rig, SENDING, |_| format!("/{SENT_BYTES}"))?;
    let checks = vec![
        Check::told(
            format!("a request that waits for its origin ({WAITING} of them)"),
            waits,
            "KiB",
        ),
        Check::told(
            format!("a stored 16 MiB sent to a client that does not read ({SENDING})"),
            sends,
            "KiB",
        ),
    ];
    Ok(Found {
        checks,
        ..Found::default()
    })
}

/// KiB that each of `count` requests adds to its connection while it is under way.
fn under_way(rig: &Rig, count: u32, path: impl Fn(u32) -> String) -> Result<f64> {
    let tidegate = rig.start(&Shape::store(1024))?;
    drop(ask_for(tidegate.front, &format!("/{SENT_BYTES}"))?);
    let mut connections = each(count, || ask(tidegate.front))?;
    let before = settled(&tidegate)?;
    for (number, connection) in (0..).zip(&mut connections) {
        connection.write_all(request(&path(number)).as_bytes())?;
    }
    let bytes = float(settled(&tidegate)?.saturating_sub(before));
    still_open(&tidegate, count)?;
    Ok(bytes / f64::from(count) / KIB)
}

/// A connection that was closed meanwhile holds nothing.
fn still_open(tidegate: &Tidegate, count: u32) -> Result<()> {
    let accepted = tidegate.metric("tidegate_connections_accepted_total")?;
    let open = accepted - tidegate.metric("tidegate_connections_closed_total")?;
    ensure!(open >= f64::from(count), "only {open} of {count} connections are open");
    Ok(())
}

fn one_check(check: Check) -> Found {
    Found {
        checks: vec![check],
        ..Found::default()
    }
}

/// Resident bytes after some connections have come and gone.
fn after_warm_up<T>(tidegate: &Tidegate, ask: impl Fn(SocketAddr) -> Result<T>) -> Result<u64> {
    drop(each(200, || ask(tidegate.front))?);
    settled(tidegate)
}

fn each<T>(count: u32, make: impl Fn() -> Result<T>) -> Result<Vec<T>> {
    (0..count)
        .map(|_| {
            ensure!(!crate::sys::interrupted(), "interrupted");
            make()
        })
        .collect()
}

/// A connection that has asked for 1 KiB and got it.
fn ask(address: SocketAddr) -> Result<TcpStream> {
    ask_for(address, "/1024")
}

fn ask_for(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(request(path).as_bytes())?;
    read_answer(&mut stream)?;
    Ok(stream)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("no connection")?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn ask_over_tls(address: SocketAddr, client: &Arc<ClientConfig>) -> Result<TcpStream> {
    let stream = connect(address)?;
    let session = ClientConnection::new(Arc::clone(client), ServerName::try_from(NAME)?)?;
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(request("/1024").as_bytes())?;
    read_answer(&mut stream)?;
    Ok(stream.sock)
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n")
}

/// Reads one whole answer, which must be a 200 with a Content-Length.
fn read_answer(stream: &mut impl Read) -> Result<()> {
    let (mut head, mut room) = (Vec::new(), [0; 16 << 10]);
    let (mut received, mut whole) = (0, None);
    while whole.is_none_or(|whole| received < whole) {
        let count = stream.read(&mut room).context("no answer")?;
        ensure!(count > 0, "the answer was cut off, or is no 200");
        received += count;
        if whole.is_none() {
            head.extend_from_slice(&room[..count]);
            whole = whole_length(&head);
        }
    }
    Ok(())
}

/// A shape that speaks TLS, and a client that trusts it.
fn tls(rig: &Rig) -> Result<(Shape, Arc<ClientConfig>)> {
    let identity = Identity::make(rig.dir())?;
    let (certificate, key) = (identity.files.certificate.display(), identity.files.key.display());
    let shape = Shape {
        listen: format!("listen = [{{ address = \"127.0.0.1:0\", tls = \"bench\" }}]\n{PATIENCE}"),
        tables: format!("[tls.bench]\ncertificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]\n"),
        ..Shape::store(64)
    };
    Ok((shape, identity.http1))
}
