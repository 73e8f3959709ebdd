//! Listeners behind a load balancer that says with the PROXY protocol who its connections are from.
//!
//! The header is read before anything else, TLS included, and only from peers that are listed: who else may say so could
//! name any address as its own. What follows the header stays in the socket. `net::proxy_protocol` knows its form.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::seat::Seat;
use super::service::{CloseReason, ConnInfo};
use crate::http::forwarded::IpNetwork;
use crate::net::accept::canonical;
use crate::net::proxy_protocol::{self, HEADER_MAX, Header, Malformed, Step};
use crate::net::stream::Stream;
use crate::telemetry::metrics::Counter;
use crate::time::MonoTime;

/// From whom headers are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySettings {
    /// The load balancers.
    pub from: Vec<IpNetwork>,
}

/// Why a connection is closed for its header.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is not from an address in proxy_from")]
    Source,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its PROXY header did not come in time")]
    Timeout,
    #[error("it ended before its PROXY header was whole")]
    Ended,
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Reads the header of a connection, and makes the connection the client's.
///
/// # Errors
/// Why it is closed; told and counted.
pub(super) async fn receive(
    settings: &ProxySettings,
    until: MonoTime,
    stream: &mut Stream,
    conn: &mut Arc<ConnInfo>,
    seat: &mut Seat,
) -> Result<(), CloseReason> {
    let header = match read(settings, until, stream, conn.client).await {
        Ok(header) => header,
        Err(refused) => return Err(refuse(&refused, conn)),
    };
    let Header::Client { source, destination } = header else {
        return Ok(());
    };
    let conn = Arc::get_mut(conn).expect("invariant: nobody else has the connection yet");
    conn.client = Some(canonical(source));
    conn.local = Some(canonical(destination));
    seat.belongs_to(canonical(source).ip())
}

async fn read(
    settings: &ProxySettings,
    until: MonoTime,
    stream: &mut Stream,
    peer: Option<SocketAddr>,
) -> Result<Header, Refused> {
    // Who may connect to a unix socket is said by the modes of its file.
    let is_listed = |ip: IpAddr| settings.from.iter().any(|network| network.contains(ip));
    if !peer.is_none_or(|peer| is_listed(peer.ip())) {
        return Err(Refused::Source);
    }
    let header = read_header(stream);
    match tokio::time::timeout_at(until, header).await {
        Ok(header) => header,
        Err(_) => Err(Refused::Timeout),
    }
}

/// Takes the header's bytes out of the socket, and not one more: they are looked at first.
async fn read_header(stream: &mut Stream) -> Result<Header, Refused> {
    let mut bytes = vec![0; HEADER_MAX].into_boxed_slice();
    let mut used = 0;
    loop {
        let there = poll_fn(|cx| stream.poll_peek(cx, &mut bytes[used..])).await?;
        if there == 0 {
            return Err(Refused::Ended);
        }
        let (header, length) = match proxy_protocol::parse(&bytes[..used + there])? {
            Step::More => (None, used + there),
            Step::Whole(header, length) => (Some(header), length),
        };
        while used < length {
            used += poll_fn(|cx| stream.poll_take(cx, &mut bytes[used..length])).await?;
        }
        if let Some(header) = header {
            return Ok(header);
        }
    }
}

fn refuse(refused: &Refused, conn: &ConnInfo) -> CloseReason {
    let (counter, word) = match refused {
        Refused::Source => (Counter::ProxySource, "source"),
        Refused::Malformed(_) => (Counter::ProxyMalformed, "malformed"),
        Refused::Timeout => (Counter::ProxyTimeout, "timeout"),
        Refused::Ended | Refused::Socket(_) => (Counter::ProxyGone, "gone"),
    };
    conn.worker.metrics.count(counter);
    tracing::debug!(
        conn.id,
        listener = &*conn.listener,
        client.addr = conn.client.map(tracing::field::display),
        error.kind = word,
        error = %refused,
        "a connection was closed for its PROXY header"
    );
    CloseReason::ProxyHeader
}
