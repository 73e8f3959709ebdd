//! What tests of traffic rules share: a request, its connection, texts with variables.

use std::sync::Arc;

use common::http::head::Head;
use common::serve::service::ConnInfo;
use common::telemetry::access_log::AccessLog;
use common::time::{Clock, mono_now};
use common::worker::Worker;
use config::traffic::Template;

/// A GET of `target` at www.example.com.
pub fn head(target: &str) -> Head {
    let request = http::Request::builder()
        .uri(target)
        .header("host", "WWW.example.com:8080");
    request.body(()).unwrap().into_parts().0.into()
}

/// A connection without TLS from 192.0.2.1.
pub fn conn() -> ConnInfo {
    ConnInfo {
        id: 1,
        client: Some(([192, 0, 2, 1], 1024).into()),
        local: None,
        listener: Arc::from("test"),
        tls: false,
        certificate: None,
        accepted: mono_now(),
        accept_wait: None,
        worker: Worker::new(0, Clock::System, AccessLog::default()),
    }
}

/// A text with variables, as a configuration has it.
pub fn template(text: &str) -> Template {
    text.parse().unwrap()
}
