//! Active health checks: one server is asked now and then, over a connection of its own.
//!
//! [`Rounds`] is pure and counts; [`watch`] asks and tells `watch.rs`. Runs on the control thread, never on a worker, and
//! takes no place in a pool.

mod grpc; // by gRPC's health protocol
mod grpc_message; // its messages: pure

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::{HOST, HeaderValue, USER_AGENT};
use memchr::memmem;

use super::connect::Opening;
use super::send::Backend;
use super::settings::{HealthSettings, HttpProtocol};
use super::standing::{Order, mix};
use crate::http::body::Body;
use crate::http::head::Head;
use crate::http::outgoing::OutgoingHead;
use crate::http1::client::{Connection, Home};
use crate::http2;
use crate::net::proxy_protocol::Header;
use crate::net::stream::Stream;
use crate::time::{MonoTime, mono_now};

/// Bytes of a response body in which the expected text is looked for.
const BODY_MAX: usize = 64 << 10;

/// Checks a server for as long as it is polled.
pub(super) async fn watch(backend: Arc<Backend>, number: usize, settings: HealthSettings) {
    let mut rounds = Rounds::default();
    let mut seed = backend.standings[number].name_hash();
    for round in 0_u64.. {
        // The first rounds are spread over the interval, so that many processes do not ask at the same moment.
        let pause = if round == 0 {
            settings.interval / 10
        } else {
            settings.interval
        };
        tokio::time::sleep(jittered(pause, mix(seed ^ round))).await;
        let standing = &backend.standings[number];
        if standing.order() == Order::Down || standing.is_gone() {
            continue;
        }
        if standing.name_hash() != seed {
            // Its place has become another server's.
            (seed, rounds) = (standing.name_hash(), Rounds::default());
        }
        let checked = tokio::time::timeout(settings.timeout, check(&backend, number, &settings)).await;
        let checked = checked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if let Some(is_healthy) = rounds.count(checked.is_ok(), &settings) {
            let why = checked.err().unwrap_or_default();
            backend.note_health(number, is_healthy, &why, mono_now());
        }
    }
}

/// Good and bad checks in a row.
#[derive(Debug, Default)]
struct Rounds {
    is_down: bool,
    /// Checks in a row that say the opposite of what is believed.
    against: u32,
}

impl Rounds {
    /// Counts one check; what is to be believed from now on, where that changes. Servers are healthy until shown otherwise.
    fn count(&mut self, is_good: bool, settings: &HealthSettings) -> Option<bool> {
        if is_good != self.is_down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.is_down { settings.rise } else { settings.fall };
        if self.against < enough {
            return None;
        }
        *self = Self {
            is_down: !self.is_down,
            against: 0,
        };
        Some(!self.is_down)
    }
}

/// The pause, a tenth more or less.
fn jittered(pause: Duration, random: u64) -> Duration {
    let thousandths = 900 + u32::try_from(random % 201).unwrap_or(100);
    pause.mul_f64(f64::from(thousandths) / 1000.0)
}

async fn check(backend: &Backend, number: usize, settings: &HealthSettings) -> Result<(), String> {
    let server = &backend.servers[number];
    let opening = Opening {
        timeout: backend.settings.limits.connect_timeout,
        is_http1: false,
        header: backend.settings.proxy_protocol.map(|version| (version, &Header::Own)),
    };
    let connected = server
        .addresses
        .connect(opening, &backend.connect_options, |_| ())
        .await;
    let mut connected = connected.map_err(|failure| failure.error.word().to_owned())?;
    let host = authority(&server.name(), settings)?;
    match (&settings.grpc, &settings.path) {
        (Some(service), _) => grpc::ask(backend, connected.stream, host, service, settings).await,
        (None, Some(path)) => ask(backend, connected.stream, host, path, settings).await,
        // The last message of a TLS handshake leaves with the first write, or now.
        (None, None) => {
            connected.stream.shutdown_write();
            Ok(())
        }
    }
}

/// What a check calls the server.
fn authority(server: &str, settings: &HealthSettings) -> Result<HeaderValue, String> {
    let host = settings.host.as_deref().unwrap_or_else(|| {
        if server.starts_with("unix:") {
            "localhost"
        } else {
            server
        }
    });
    HeaderValue::try_from(host).map_err(|error| error.to_string())
}

/// What checks call themselves.
const USER_AGENT_OF_CHECKS: HeaderValue = HeaderValue::from_static("tidegate-health");

async fn ask(
    backend: &Backend,
    stream: Stream,
    host: HeaderValue,
    path: &str,
    settings: &HealthSettings,
) -> Result<(), String> {
    let mut head = Head {
        uri: path.parse::<Uri>().map_err(|error| error.to_string())?,
        ..Head::default()
    };
    head.headers.insert(HOST, host);
    head.headers.insert(USER_AGENT, USER_AGENT_OF_CHECKS);
    let head = OutgoingHead::from(head);
    let limits = &backend.settings.limits;
    let is_http2 = match backend.settings.protocol {
        HttpProtocol::Http1 => false,
        HttpProtocol::Http2 => true,
        HttpProtocol::Auto => stream.is_http2(),
    };
    let answered = if is_http2 {
        let opened = http2::client::open(stream, backend.settings.http2, limits.head_bytes_max).await;
        let (client, driver) = opened.map_err(|error| error.to_string())?;
        // Ends with the check, which holds the only stream.
        drop(tokio::spawn(driver));
        http2::ask::exchange(client, &head, Body::Empty, limits, Nowhere).await
    } else {
        let connection = Connection::new(stream);
        let exchange = connection.exchange(&head, Body::Empty, limits, mono_now(), Nowhere);
        exchange.await.map(|(response, _)| response)
    };
    let response = answered.map_err(|failure| failure.error.to_string())?;
    let status = response.status.as_u16();
    if !settings.statuses.contains(&status) {
        return Err(format!("status {status}"));
    }
    match &settings.body {
        Some(expected) => contains(response.body, expected).await,
        None => Ok(()),
    }
}

async fn contains(mut body: Body, expected: &str) -> Result<(), String> {
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            let room = BODY_MAX - seen.len();
            seen.extend_from_slice(&data[..data.len().min(room)]);
        }
        if memmem::find(&seen, expected.as_bytes()).is_some() {
            return Ok(());
        }
        if seen.len() >= BODY_MAX {
            break;
        }
    }
    Err("the body does not contain what it should".to_owned())
}

/// A connection of a check is used once.
struct Nowhere;

impl Home for Nowhere {
    fn take_back(self, _: Connection, _: MonoTime) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::BackendSettings;
    use crate::backend::testing::{self, Server, request};
    use crate::backend::{ServerState, resolve};
    use std::io::Write as _;

    const SETTINGS: HealthSettings = HealthSettings {
        path: None,
        grpc: None,
        host: None,
        statuses: Vec::new(),
        body: None,
        interval: Duration::from_millis(1),
        timeout: testing::LONG,
        rise: 2,
        fall: 3,
    };

    #[test]
    fn a_belief_changes_after_enough_checks_in_a_row_against_it() {
        let mut rounds = Rounds::default();
        let mut count = |good: &str| -> Vec<Option<bool>> {
            good.bytes().map(|byte| rounds.count(byte == b'+', &SETTINGS)).collect()
        };
        assert_eq!(count("++--+--"), [None; 7]);
        assert_eq!(count("-"), [Some(false)]);
        assert_eq!(count("--+-+"), [None; 5]);
        assert_eq!(count("+"), [Some(true)]);
        assert_eq!(count("+--"), [None; 3]);
    }

    #[test]
    fn pauses_differ_by_a_tenth_at_most() {
        let pause = Duration::from_secs(10);
        let drawn: Vec<_> = (0..1000).map(|i| jittered(pause, mix(i))).collect();
        assert!(drawn.iter().all(|drawn| (9.0..=11.0).contains(&drawn.as_secs_f64())));
        assert!(
            drawn.iter().any(|drawn| drawn.as_secs_f64() < 9.1) && drawn.iter().any(|drawn| drawn.as_secs_f64() > 10.9)
        );
    }

    fn backend(server: &Server) -> Arc<Backend> {
        let settings = BackendSettings {
            ..testing::settings(vec![server.socket()])
        };
        let addresses = resolve(&settings).unwrap();
        Arc::new(Backend::new(settings, addresses, 1))
    }

    #[tokio::test]
    async fn the_status_and_the_body_have_to_be_right() {
        let server = Server::scripted(|_, stream| {
            let asked = request(stream).unwrap();
            let body = if asked.starts_with("GET /well HTTP/1.1\r\n") && asked.contains("\r\nhost: app.test\r\n") {
                "HTTP/1.1 204 No Content\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nall is well\n"
            };
            drop(stream.write_all(body.as_bytes()));
        });
        let backend = backend(&server);
        let http = |path: &str, statuses: &[u16], body: Option<&str>| HealthSettings {
            path: Some(path.to_owned()),
            host: Some("app.test".to_owned()),
            statuses: statuses.to_vec(),
            body: body.map(str::to_owned),
            ..SETTINGS
        };
        for (http, expected) in [
            (SETTINGS, Ok(())),
            (http("/", &[200], None), Ok(())),
            (http("/well", &[200], None), Err("status 204")),
            (http("/well", &[200, 204], None), Ok(())),
            (http("/", &[200], Some("is well")), Ok(())),
            (
                http("/", &[200], Some("is ill")),
                Err("the body does not contain what it should"),
            ),
        ] {
            let checked = check(&backend, 0, &http).await;
            assert_eq!(checked, expected.map_err(str::to_owned), "{http:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_stops_answering_is_left_alone_until_it_answers_again() {
        let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = Arc::clone(&is_well);
        let server = Server::scripted(move |_, stream| {
            let status = if told.load(std::sync::atomic::Ordering::SeqCst) {
                "200 OK"
            } else {
                "500 Ill"
            };
            if request(stream).is_some() {
                drop(write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
            }
        });
        let backend = backend(&server);
        let settings = HealthSettings {
            path: Some("/".to_owned()),
            statuses: vec![200],
            ..SETTINGS
        };
        let state = async |expected: ServerState| {
            while backend.snapshot()[0].state != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = watch(Arc::clone(&backend), 0, settings) => {}
            () = async {
                state(ServerState::Unhealthy).await;
                is_well.store(true, std::sync::atomic::Ordering::SeqCst);
                state(ServerState::Up).await;
            } => {}
        }
        let changes = backend.snapshot().remove(0).changes;
        assert!(
            changes.contains(&(ServerState::Unhealthy, 1)) && changes.contains(&(ServerState::Up, 1)),
            "{changes:?}"
        );
        assert_eq!(backend.snapshot()[0].busy, 0, "checks take no place in the pool");
    }
}
