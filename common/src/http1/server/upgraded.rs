//! The connection becomes a tunnel (RFC 9110 §7.8). A step of `server`; `serve::tunnel` carries the bytes.

use std::sync::Arc;

use http::{StatusCode, Version};

use super::{Connection, Sending};
use crate::http::head::Head;
use crate::http::hop_by_hop::connection_options;
use crate::http::response::Fields;
use crate::http::tunnel::Tunnel;
use crate::http1::framing::Framing;
use crate::http1::render::{self, Coding, ResponseFrame};
use crate::http1::tunnel::ClientEnd;
use crate::serve::service::{CloseReason, Record};
use crate::serve::tunnel::{self, Told};

impl Connection {
    /// Sends the 101, and carries what follows until it has ended.
    pub(super) async fn tunnel<R: Record>(
        &mut self,
        (status, fields): (StatusCode, Fields),
        server: Tunnel,
        record: R,
        sending: Sending,
    ) -> CloseReason {
        let mut head = std::mem::take(&mut self.shared.lock().interim);
        head.reserve(512);
        let frame = ResponseFrame {
            coding: Coding::None,
            announced: None,
            // It is among the fields, and names Upgrade.
            connection: None,
        };
        render::response_head(&mut head, status, &fields, frame);
        self.deadline.clear();
        let told = Told {
            record,
            conn: Arc::clone(&self.conn),
            request_bytes: self.request_bytes(),
            head_bytes: 0,
            began: sending.began,
            close: Some(CloseReason::Upgraded),
        };
        let mut client = ClientEnd::new(&self.shared, &self.conn.worker);
        tunnel::carry(&mut client, server, head.into(), told).await;
        CloseReason::Upgraded
    }
}

/// "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request", and "A sender of Upgrade MUST also
/// send an "Upgrade" connection option" (RFC 9110 §7.8). A request with content, all of which would have to be read before
/// the change, is answered without it.
pub(super) fn may_change_protocol(head: &Head, framing: Framing) -> bool {
    head.version == Version::HTTP_11 && framing == Framing::None && connection_options(&head.headers).upgrade
}
