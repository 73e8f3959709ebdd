//! Whether a request that got no response, or one that says "not now", may be sent again, and where (RFC 9110 §9.2.2).
//! Pure; how many may be sent again at once is the `budget`'s to say.

use http::{Method, StatusCode};

use super::settings::RetryCause;
use crate::http::origin_error::OriginError;
use crate::http1::client::{ExchangeError, Failure};

/// What to do about an attempt that gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The client gets the error.
    Fail,
    /// The same server, on a new connection: the failure told about the old connection and not about the server, so it
    /// is not counted as a retry. "A client SHOULD NOT automatically retry a failed automatic retry" (RFC 9110 §9.2.2):
    /// it cannot repeat, since no later attempt reuses.
    NewConnection,
    /// The next server, as one of the retries.
    NextServer,
}

/// What is sent again, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    pub(super) retry_on: &'a [RetryCause],
    pub(super) retries_left: u32,
}

/// Decides about a failed attempt, on a connection that was `reused` or not.
pub(super) fn decide(failure: &Failure, reused: bool, method: &Method, policy: Policy<'_>) -> Decision {
    // "A proxy MUST NOT automatically retry non-idempotent requests." (RFC 9110 §9.2.2)
    // A client may, though, with "some means to detect that the original request was never applied" (ibid.): here, that
    // not one byte of it was sent. That is the first request then, not a repeated one.
    // "Idempotent methods are distinguished because the request can be repeated automatically if a communication failure
    // occurs before the client is able to read the server's response." (ibid.)
    let never_applied = !failure.sent;
    let ExchangeError::Origin(error) = failure.error else {
        return Decision::Fail;
    };
    if failure.answered || failure.body.is_none() || !(never_applied || method.is_idempotent()) {
        return Decision::Fail;
    }
    if reused && (never_applied || is_dead(error)) {
        return Decision::NewConnection;
    }
    if policy.retries_left > 0 && policy.retry_on.contains(&RetryCause::Error(error)) {
        return Decision::NextServer;
    }
    Decision::Fail
}

/// Decides about a response: an idempotent request without content may be sent again for its status.
pub(super) fn decide_response(status: StatusCode, has_content: bool, method: &Method, policy: Policy<'_>) -> Decision {
    let is_cause = policy.retry_on.contains(&RetryCause::Status(status.as_u16()));
    if is_cause && !has_content && method.is_idempotent() && policy.retries_left > 0 {
        return Decision::NextServer;
    }
    Decision::Fail
}

/// The server had closed the connection before it saw the request, as far as can be told.
pub(super) fn is_dead(error: OriginError) -> bool {
    matches!(
        error,
        OriginError::ConnectionTerminated | OriginError::HttpResponseIncomplete
    )
}

#[cfg(test)]
mod tests {
    use Decision::{Fail, NewConnection, NextServer};
    use OriginError::{ConnectionRefused, ConnectionTerminated, HttpResponseTimeout};

    use super::*;
    use crate::http::body::Body;

    const RETRY_ON: &[RetryCause] = &[
        RetryCause::Error(ConnectionRefused),
        RetryCause::Error(ConnectionTerminated),
        RetryCause::Status(503),
    ];

    #[derive(Clone, Copy, Debug)]
    struct Failed {
        error: OriginError,
        reused: bool,
        sent: bool,
        answered: bool,
        body_whole: bool,
    }

    const REUSED_AND_DEAD: Failed = Failed {
        error: ConnectionTerminated,
        reused: true,
        sent: true,
        answered: false,
        body_whole: true,
    };
    const NOT_CONNECTED: Failed = Failed {
        error: ConnectionRefused,
        reused: false,
        sent: false,
        ..REUSED_AND_DEAD
    };

    fn check(failed: Failed, method: &Method, retries_left: u32, expected: Decision) {
        let failure = Failure {
            error: failed.error.into(),
            body: failed.body_whole.then_some(Body::Empty),
            answered: failed.answered,
            sent: failed.sent,
        };
        let policy = Policy {
            retry_on: RETRY_ON,
            retries_left,
        };
        let decision = decide(&failure, failed.reused, method, policy);
        assert_eq!(decision, expected, "{method} {failed:?}, {retries_left} left");
    }

    #[test]
    fn a_failed_connect_moves_on_to_the_next_server_whatever_the_method() {
        for method in [Method::GET, Method::POST, Method::PATCH] {
            check(NOT_CONNECTED, &method, 1, NextServer);
            check(NOT_CONNECTED, &method, 0, Fail);
        }
    }

    #[test]
    fn an_idempotent_request_on_a_reused_connection_that_was_dead_is_sent_again_for_free() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            check(REUSED_AND_DEAD, &method, 0, NewConnection);
            check(REUSED_AND_DEAD, &method, 5, NewConnection);
        }
    }

    #[test]
    fn a_request_that_may_have_been_applied_is_not_sent_again() {
        for (failed, method) in [
            (REUSED_AND_DEAD, Method::POST),
            (REUSED_AND_DEAD, Method::PATCH),
            (REUSED_AND_DEAD, Method::from_bytes(b"BREW").unwrap()),
            (
                Failed {
                    reused: false,
                    ..REUSED_AND_DEAD
                },
                Method::POST,
            ),
            (
                Failed {
                    answered: true,
                    ..REUSED_AND_DEAD
                },
                Method::GET,
            ),
            (
                Failed {
                    body_whole: false,
                    ..REUSED_AND_DEAD
                },
                Method::PUT,
            ),
            (
                Failed {
                    error: HttpResponseTimeout,
                    ..REUSED_AND_DEAD
                },
                Method::GET,
            ),
        ] {
            check(failed, &method, 5, Fail);
        }
    }

    #[test]
    fn an_idempotent_request_moves_on_for_the_chosen_causes_only() {
        let new_and_dead = Failed {
            reused: false,
            ..REUSED_AND_DEAD
        };
        check(new_and_dead, &Method::GET, 1, NextServer);
        check(new_and_dead, &Method::GET, 0, Fail);
        let late = Failed {
            error: HttpResponseTimeout,
            ..new_and_dead
        };
        check(late, &Method::GET, 5, Fail);
        let unroutable = Failed {
            error: OriginError::DestinationIpUnroutable,
            ..NOT_CONNECTED
        };
        check(unroutable, &Method::GET, 5, Fail);
    }

    #[test]
    fn a_chosen_status_moves_an_idempotent_request_without_content_on() {
        for (status, has_content, method, retries_left, expected) in [
            (503, false, Method::GET, 1, NextServer),
            (503, false, Method::DELETE, 1, NextServer),
            (502, false, Method::GET, 1, Fail),
            (503, true, Method::PUT, 1, Fail),
            (503, false, Method::POST, 1, Fail),
            (503, false, Method::GET, 0, Fail),
        ] {
            let policy = Policy {
                retry_on: RETRY_ON,
                retries_left,
            };
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                decide_response(status, has_content, &method, policy),
                expected,
                "{method} {status}"
            );
        }
    }

    #[test]
    fn a_request_of_which_nothing_was_sent_is_sent_again_whatever_the_method() {
        let unsent = Failed {
            sent: false,
            ..REUSED_AND_DEAD
        };
        check(unsent, &Method::POST, 0, NewConnection);
        check(
            Failed {
                reused: false,
                ..unsent
            },
            &Method::POST,
            1,
            NextServer,
        );
        check(
            Failed {
                body_whole: false,
                ..unsent
            },
            &Method::POST,
            5,
            Fail,
        );
    }
}
