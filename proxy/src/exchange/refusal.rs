//! Why a request is answered by tidegate itself: one enum, one word each, one place that knows status and blame.

use std::time::Duration;

use common::http::body::BodyError;
use common::http::head::RequestFields;
use common::http::host::HostError;
use common::http::known::Known;
use common::http::origin_error::OriginError;
use common::http1::client::ExchangeError;
use common::http1::parse::ParseError;
use common::serve::service::CloseReason;
use common::telemetry::metrics::Counter;
use http::StatusCode;

use crate::routes::NoRoute;

/// Why a request is answered by tidegate itself.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// It could not be parsed.
    Parse(ParseError),
    /// It does not say which host it is for.
    Host(HostError),
    /// A method that is not spoken here.
    NotImplemented,
    /// An extended CONNECT for a protocol that its route does not carry.
    NoTunnel,
    /// A method that is not allowed here.
    MethodNotAllowed,
    /// PURGE from somebody who may not.
    PurgeDenied,
    /// PURGE of a strength that is none.
    PurgeUnknown,
    /// Its credentials are wrong, or there are none.
    Unauthorized,
    /// Too many passwords are being verified.
    AuthBusy,
    /// OPTIONS with `Max-Forwards: 0`: this is the last hop. Not an error.
    LastHop,
    /// It has passed through this node before.
    Loop,
    /// No site serves its host.
    Misdirected,
    /// The site has no route for its path.
    NoRoute,
    /// Its client may not ask here.
    Denied,
    /// It came too early by this time.
    TooManyRequests(Duration),
    /// The server that was asked, or the way to it, failed.
    Origin(OriginError),
    /// The client's body could not be read.
    Body(BodyError),
}

impl Refusal {
    /// The status that says so.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Parse(error) => error.status(),
            Self::Host(_) => StatusCode::BAD_REQUEST,
            // "If a server receives an Extended CONNECT request with a ":protocol" value that is unknown or is not
            // supported, the server SHOULD respond to the request with a 501 (Not Implemented) status code" (RFC 9220 §3).
            Self::NotImplemented | Self::NoTunnel => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PurgeDenied => StatusCode::FORBIDDEN,
            Self::PurgeUnknown => StatusCode::BAD_REQUEST,
            Self::LastHop => StatusCode::NO_CONTENT,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::AuthBusy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Origin(error) => error.status(),
            Self::Body(error) => match error {
                BodyError::ClientTimeout | BodyError::ClientSlow => StatusCode::REQUEST_TIMEOUT,
                BodyError::ClientTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                BodyError::ClientGone | BodyError::ClientMalformed(_) => StatusCode::BAD_REQUEST,
                BodyError::Origin(error) => error.status(),
                BodyError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// The error type of RFC 9209 §2.3, as it stands in Proxy-Status, log and metric; `None` where nothing went wrong.
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::LastHop => None,
            Self::Parse(_) | Self::Host(_) | Self::NotImplemented | Self::PurgeUnknown | Self::Body(_) => {
                Some("http_request_error")
            }
            Self::NoTunnel
            | Self::MethodNotAllowed
            | Self::PurgeDenied
            | Self::Denied
            | Self::TooManyRequests(_)
            | Self::Unauthorized => Some("http_request_denied"),
            Self::AuthBusy => Some("proxy_internal_response"),
            Self::Loop => Some("proxy_loop_detected"),
            Self::Misdirected | Self::NoRoute => Some("destination_not_found"),
            Self::Origin(error) => Some(error.word()),
        }
    }

    /// What counts it, besides the class of its status.
    pub const fn counter(&self) -> Option<Counter> {
        match self {
            Self::Parse(error) => Some(match error {
                ParseError::HeadTooLarge | ParseError::TooManyFields => Counter::RequestsHeadTooLarge,
                ParseError::TargetTooLong => Counter::RequestsUriTooLong,
                ParseError::BodyTooLarge => Counter::RequestsBodyTooLarge,
                _ => Counter::RequestsMalformed,
            }),
            Self::Host(_) | Self::Body(BodyError::ClientMalformed(_)) => Some(Counter::RequestsMalformed),
            Self::Body(BodyError::ClientTooLarge) => Some(Counter::RequestsBodyTooLarge),
            Self::Body(BodyError::ClientSlow) => Some(Counter::RequestsBodySlow),
            Self::Loop => Some(Counter::LoopsDetected),
            Self::Misdirected => Some(Counter::MisdirectedRequests),
            Self::Denied => Some(Counter::RequestsDenied),
            Self::TooManyRequests(_) => Some(Counter::RequestsTooMany),
            _ => None,
        }
    }

    /// Why the connection closes after it: a sender that breaks the rules of messages is not trusted with another one.
    pub const fn close(&self) -> Option<CloseReason> {
        match self {
            Self::Host(_) | Self::NotImplemented => Some(CloseReason::Malformed),
            Self::Body(BodyError::ClientTimeout | BodyError::ClientSlow) => Some(CloseReason::BodyTimeout),
            Self::Body(BodyError::ClientMalformed(_)) => Some(CloseReason::Malformed),
            Self::Body(_) => Some(CloseReason::UnreadBody),
            _ => None,
        }
    }

    /// One sentence for whoever reads the answer.
    pub fn sentence(&self) -> String {
        match self {
            Self::Parse(error) => error.to_string(),
            Self::Host(error) => error.to_string(),
            Self::NotImplemented => "this method is not implemented here".to_owned(),
            Self::NoTunnel => "this protocol is not carried here".to_owned(),
            Self::MethodNotAllowed => "this method is not allowed here".to_owned(),
            Self::PurgeDenied => "this address may not purge".to_owned(),
            Self::PurgeUnknown => "X-Purge-Method is soft or hard".to_owned(),
            Self::LastHop => String::new(),
            Self::Unauthorized => "a name and a password are needed here".to_owned(),
            Self::AuthBusy => "too many passwords are being verified; come again a little later".to_owned(),
            Self::Loop => "the request has passed through this node before".to_owned(),
            Self::Misdirected => "no site is served here under this host name".to_owned(),
            Self::NoRoute => "nothing is served under this path".to_owned(),
            Self::Denied => "this is not served to your address".to_owned(),
            Self::TooManyRequests(_) => "too many requests; come again a little later".to_owned(),
            Self::Origin(_) => "the server behind this proxy gave no usable answer".to_owned(),
            Self::Body(error) => error.to_string(),
        }
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<NoRoute> for Refusal {
    fn from(error: NoRoute) -> Self {
        match error {
            NoRoute::UnknownHost => Self::Misdirected,
            NoRoute::UnknownPath => Self::NoRoute,
        }
    }
}

impl From<ExchangeError> for Refusal {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Origin(error) => Self::Origin(error),
            ExchangeError::Client(error) => Self::Body(error),
        }
    }
}

/// Whether the client would rather read JSON than HTML: the one that its Accept names first.
pub fn wants_json(fields: &RequestFields) -> bool {
    let Some(accept) = fields.first(Known::ACCEPT) else {
        return false;
    };
    let position = |text: &[u8]| accept.windows(text.len()).position(|part| part == text);
    match (position(b"json"), position(b"html")) {
        (Some(json), Some(html)) => json < html,
        (json, None) => json.is_some(),
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn json_is_for_those_who_ask_for_it_first() {
        for (accept, expected) in [
            ("*/*", false),
            ("text/html,application/xhtml+xml", false),
            ("application/json", true),
            ("application/problem+json, text/html", true),
            ("text/html, application/json", false),
        ] {
            let fields = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_json(&fields.into()), expected, "{accept}");
        }
    }
}
