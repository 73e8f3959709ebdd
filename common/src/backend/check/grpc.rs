//! A health check by gRPC's health protocol (`grpc.health.v1.Health/Check`): only SERVING is well.
//!
//! What else comes is a failure with its word: another status, gRPC's status (UNIMPLEMENTED where the server does not know
//! the protocol), or what is wrong with the answer. Called by `check` with a connection of its own.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, TE, USER_AGENT};
use http::{HeaderMap, Method, Uri};

use super::grpc_message::{self, ServingStatus};
use super::{Nowhere, USER_AGENT_OF_CHECKS};
use crate::backend::send::Backend;
use crate::backend::settings::HealthSettings;
use crate::http::body::Body;
use crate::http::head::Head;
use crate::http::outgoing::OutgoingHead;
use crate::http2;
use crate::net::stream::Stream;

/// Bytes of an answer: a frame with one small number, and room for fields to come.
const ANSWER_MAX: usize = 1024;

pub(super) async fn ask(
    backend: &Backend,
    stream: Stream,
    authority: HeaderValue,
    service: &str,
    settings: &HealthSettings,
) -> Result<(), String> {
    let head = OutgoingHead::from(head(authority, settings));
    let limits = &backend.settings.limits;
    let opened = http2::client::open(stream, backend.settings.http2, limits.head_bytes_max).await;
    let (client, driver) = opened.map_err(|error| error.to_string())?;
    // Ends with the check, which holds the only stream.
    drop(tokio::spawn(driver));
    let body = Body::Full(Bytes::from(grpc_message::request(service)));
    let answered = http2::ask::exchange(client, &head, body, limits, Nowhere).await;
    let response = answered.map_err(|failure| failure.error.to_string())?;
    if response.status != http::StatusCode::OK {
        return Err(format!("status {}", response.status.as_u16()));
    }
    let is_grpc = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/grpc");
    let fields = response.fields.into_map();
    if !fields.get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Err("the answer is not gRPC".to_owned());
    }
    // An answer without a message has its status in the head ("Trailers-Only").
    failed(&fields)?;
    let (frame, trailers) = read(response.body).await?;
    failed(&trailers)?;
    if !trailers.contains_key(STATUS) {
        return Err("the answer has no grpc-status".to_owned());
    }
    match grpc_message::response(&frame) {
        Some(ServingStatus::Serving) => Ok(()),
        Some(other) => Err(other.word().to_owned()),
        None => Err("the answer is no HealthCheckResponse".to_owned()),
    }
}

const STATUS: &str = "grpc-status";

fn head(authority: HeaderValue, settings: &HealthSettings) -> Head {
    let mut head = Head {
        method: Method::POST,
        uri: Uri::from_static("/grpc.health.v1.Health/Check"),
        ..Head::default()
    };
    head.headers.insert(HOST, authority);
    head.headers.insert(USER_AGENT, USER_AGENT_OF_CHECKS);
    head.headers.insert(TE, HeaderValue::from_static("trailers"));
    head.headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // Eight digits at most, so in seconds where milliseconds have more.
    let millis = settings.timeout.as_millis().max(1);
    let timeout = match millis {
        0..=99_999_999 => format!("{millis}m"),
        _ => format!("{}S", settings.timeout.as_secs().min(99_999_999)),
    };
    if let Ok(timeout) = HeaderValue::try_from(timeout) {
        head.headers.insert("grpc-timeout", timeout);
    }
    head
}

/// gRPC's own word for a status that is not OK.
fn failed(fields: &HeaderMap) -> Result<(), String> {
    let Some(status) = fields.get(STATUS) else {
        return Ok(());
    };
    let code = status.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(STATUS_WORDS
            .get(code)
            .map_or_else(|| format!("grpc-status {code}"), |word| (*word).to_owned())),
        None => Err("the answer's grpc-status is no number".to_owned()),
    }
}

/// By number.
const STATUS_WORDS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The whole content and the trailers.
async fn read(mut body: Body) -> Result<(Vec<u8>, HeaderMap), String> {
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| error.to_string())?.into_data() {
            Ok(data) if content.len() + data.len() > ANSWER_MAX => return Err("the answer is too long".to_owned()),
            Ok(data) => content.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((content, trailers))
}
