//! What a request is sent on: a connection or a stream, the leave to use it, and who is told how the exchange went.
//!
//! Made by `send` and `streams`; the protocols (`http1::client`, `http2::ask`) hold a [`Seat`] until the response is over.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::multiplex::Slot;
use super::pool::Lease;
use super::send::Backend;
use crate::http::origin_error::OriginError;
use crate::http1::client::{Connection, Home};
use crate::http2::client::Client;
use crate::time::{MonoTime, mono_now};

/// The leave to be busy with a connection, or with a stream of one, and who is told how the exchange on it went.
pub(super) struct Seat {
    tenure: Tenure,
    backend: Arc<Backend>,
    pub(super) server: usize,
    /// The response says that the server is not well.
    is_failure: bool,
}

/// What a seat is on.
pub(super) enum Tenure {
    /// A connection.
    Whole(Lease),
    /// A stream of a connection that others share.
    Stream(#[expect(dead_code, reason = "dropping it is what it is for")] Slot),
}

/// What a request is sent on.
pub(super) enum Channel {
    /// A connection of its own.
    Http1(Connection),
    /// A stream that is to be opened on this one.
    Http2(Client),
}

/// A connection, the leave to use it, and since when.
pub(super) struct Ready {
    pub(super) channel: Channel,
    pub(super) seat: Seat,
    pub(super) since: MonoTime,
}

impl Ready {
    /// Keeps a connection that nobody has asked for; one of HTTP/2 is kept where it was made.
    ///
    /// A server may speak first: with TLS 1.3 it sends tickets after the handshake, once it has our last message.
    /// What has not come within `settle` is taken for the end of the connection later, and another one made.
    pub(super) async fn keep(self, settle: Duration) {
        if let (Channel::Http1(mut connection), Tenure::Whole(lease)) = (self.channel, self.seat.tenure)
            && connection.settle(settle).await
        {
            lease.take_back(connection, mono_now());
        }
    }
}

impl Home for Seat {
    fn answered(&mut self, status: StatusCode) {
        self.is_failure = self.backend.settings.ejection.statuses.contains(&status.as_u16());
    }

    fn take_back(self, connection: Connection, now: MonoTime) {
        self.note();
        if let Tenure::Whole(lease) = self.tenure {
            lease.take_back(connection, now);
        }
    }

    fn finished(self) {
        self.note();
    }

    fn failed(self, error: OriginError) {
        self.backend.servers[self.server].stats.failed(error);
        self.backend.note_failure(self.server, error.word(), mono_now());
    }
}

impl Seat {
    pub(super) fn new(tenure: Tenure, backend: &Arc<Backend>, server: usize) -> Self {
        Self {
            tenure,
            backend: Arc::clone(backend),
            server,
            is_failure: false,
        }
    }

    fn note(&self) {
        if self.is_failure {
            self.backend.note_failure(self.server, "its status", mono_now());
        } else {
            self.backend.note_success(self.server);
        }
    }
}
