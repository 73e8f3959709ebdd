//! Why a handshake failed: one enum, one word each, and what counts it; towards servers the words of RFC 9209.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::http::origin_error::OriginError;
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
    /// The client has shown no certificate, where one is required.
    NoCertificate,
    /// The client's certificate is signed by none of the authorities in `client_ca`.
    UnknownIssuer,
    /// The client's certificate has expired, or is not yet valid.
    ExpiredCertificate,
    /// The client's certificate is bad in another way.
    BadCertificate,
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
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(bad) => match bad {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::ExpiredCertificate,
                _ => Self::BadCertificate,
            },
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
            Self::NoCertificate => "client_certificate_missing",
            Self::UnknownIssuer => "client_certificate_unknown_issuer",
            Self::ExpiredCertificate => "client_certificate_expired",
            Self::BadCertificate => "client_certificate_bad",
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
            Self::NoCertificate => Counter::TlsNoCertificate,
            Self::UnknownIssuer => Counter::TlsUnknownIssuer,
            Self::ExpiredCertificate => Counter::TlsExpiredCertificate,
            Self::BadCertificate => Counter::TlsBadCertificate,
            Self::Malformed => Counter::TlsMalformed,
            Self::Limit => Counter::TlsLimit,
            Self::Internal => Counter::TlsInternal,
        }
    }
}

/// The word for what a server did in TLS; `None` for errors of the socket.
pub(crate) fn word_for(error: &io::Error) -> Option<OriginError> {
    if error.kind() == io::ErrorKind::InvalidData && error.get_ref().is_none() {
        // Text where TLS was to be.
        return Some(OriginError::TlsProtocolError);
    }
    Some(match error.get_ref()?.downcast_ref::<Error>()? {
        Error::AlertReceived(_) => OriginError::TlsAlertReceived,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented | Error::InvalidCertRevocationList(_) => {
            OriginError::TlsCertificateError
        }
        Error::General(_) | Error::FailedToGetRandomBytes | Error::FailedToGetCurrentTime | Error::EncryptError => {
            OriginError::ProxyInternalError
        }
        _ => OriginError::TlsProtocolError,
    })
}

#[cfg(test)]
mod tests {
    use rustls::PeerMisbehaved;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_clients_certificate_has_a_word() {
        for (error, expected) in [
            (Error::NoCertificatesPresented, "client_certificate_missing"),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "client_certificate_unknown_issuer",
            ),
            (
                Error::InvalidCertificate(CertificateError::NotValidYet),
                "client_certificate_expired",
            ),
            (
                Error::InvalidCertificate(CertificateError::BadEncoding),
                "client_certificate_bad",
            ),
        ] {
            assert_eq!(HandshakeFailure::of(&error).word(), expected, "{error}");
        }
    }

    #[test]
    fn what_servers_do_in_tls_has_the_words_of_rfc_9209() {
        let of = |error: Error| word_for(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, expected) in [
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                OriginError::TlsAlertReceived,
            ),
            (
                Error::InvalidCertificate(CertificateError::Expired),
                OriginError::TlsCertificateError,
            ),
            (
                Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
                OriginError::TlsProtocolError,
            ),
            (Error::DecryptError, OriginError::TlsProtocolError),
            (Error::FailedToGetRandomBytes, OriginError::ProxyInternalError),
        ] {
            assert_eq!(of(error.clone()), Some(expected), "{error}");
        }
        assert_eq!(
            word_for(&io::ErrorKind::InvalidData.into()),
            Some(OriginError::TlsProtocolError)
        );
        assert_eq!(word_for(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
