//! For whom connections are made, where servers are told so ahead of each (the PROXY protocol).
//!
//! A header is about all that follows on its connection. So a connection belongs to one client's connection, by both its
//! addresses with their ports, and carries requests of nobody else: what HAProxy and Envoy do. Connections that no client
//! has caused belong to us.

use super::send::Backend;
use crate::http::outgoing::{Hop, OutgoingHead};
use crate::net::proxy_protocol::Header;

impl Backend {
    /// Notes in a request's head whose it is, where the servers are told that. A head without such a note is ours.
    pub fn introduce(&self, head: &mut OutgoingHead, hop: &Hop<'_>) {
        if self.settings.proxy_protocol.is_none() {
            return;
        }
        if let (Some(source), Some(destination)) = (hop.peer, hop.reached) {
            head.parts.extensions.insert(Header::Client {
                source: *source,
                destination: *destination,
            });
        }
    }

    /// What is said ahead of the connection that this request goes out on; `None` where nothing is.
    pub(super) fn introduction(&self, head: &OutgoingHead) -> Option<Box<Header>> {
        self.settings.proxy_protocol?;
        Some(Box::new(head.parts.extensions.get().copied().unwrap_or(Header::Own)))
    }
}
