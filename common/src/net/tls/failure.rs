//! Why a handshake failed: one enum, one word each, and what counts it.

use rustls::{AlertDescription, Error};

use crate::telemetry::metrics::Counter;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It was not finished in time.
    Timeout,
    /// The client closed or reset the connection.
    ClientGone,
    /// The client spoke HTTP without TLS.
    PlainHttp,
    /// No certificate for the name that the client asked for.
    UnknownName,
    /// No version, cipher suite, group or signature that both sides know.
    NothingInCommon,
    /// The client broke off with an alert: it does not like our certificate, say.
    Alert,
    /// What came is not TLS, or against its rules.
    Malformed,
    /// Too many handshakes ran.
    Limit,
    /// Something of ours.
    Internal,
}

impl HandshakeFailure {
    /// By what the library says.
    pub(super) const fn of(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => Self::ClientGone,
            Error::AlertReceived(_) => Self::Alert,
            Error::General(_) | Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime | Error::EncryptError => {
                Self::Internal
            }
            _ => Self::Malformed,
        }
    }

    /// The word in log and metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::PlainHttp => "plain_http",
            Self::UnknownName => "unknown_name",
            Self::NothingInCommon => "nothing_in_common",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::Internal => "internal",
        }
    }

    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Timeout => Counter::TlsTimeout,
            Self::ClientGone => Counter::TlsClientGone,
            Self::PlainHttp => Counter::TlsPlainHttp,
            Self::UnknownName => Counter::TlsUnknownName,
            Self::NothingInCommon => Counter::TlsNothingInCommon,
            Self::Alert => Counter::TlsAlert,
            Self::Malformed => Counter::TlsMalformed,
            Self::Limit => Counter::TlsLimit,
            Self::Internal => Counter::TlsInternal,
        }
    }
}
