//! Ten thousand failures of every kind at once, each kind with a server of its own behind one tidegate: each has its word, and
//! afterwards no place is taken.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tests::certificates::Made;
use tests::dual_origin::{DualOrigin, Http2};
use tests::name_server::NameServer;
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};
use tests::tls_origin::{self, TlsOrigin};
use tests::wait::eventually;

use crate::fault_injection::{FAULTS, Outcomes, outcome};

const FAILURES: usize = 10_000;
const CLIENTS: usize = 32;
/// The fault with which requests are answered all the same: byte by byte.
const ANSWERS: usize = 1;
/// What turns to nobody, and what turns to ourselves.
const SERVICES: [&str; 2] = ["_nobody._tcp.app.test", "_we._tcp.app.test"];

/// One kind of failure, and what has to come of it.
struct Kind {
    what: &'static str,
    server: String,
    documented: &'static [&'static str],
    /// Keys of its origin.
    keys: Vec<(&'static str, String)>,
}

/// Who fails.
struct Servers {
    /// As `FAULTS` say.
    origins: Vec<Origin>,
    refusing: RefusingPort,
    blackhole: Blackhole,
    tls: TlsOrigin,
    roots: String,
    goaway: DualOrigin,
    names: NameServer,
}

impl Kind {
    fn of(what: &'static str, server: String, documented: &'static [&'static str]) -> Self {
        Self {
            what,
            server,
            documented,
            keys: Vec::new(),
        }
    }

    fn set(mut self, key: &'static str, value: &str) -> Self {
        self.keys.push((key, value.to_owned()));
        self
    }

    /// Only what is meant to take too long does, however busy the machine is.
    fn limits(&self) -> [(&'static str, &'static str); 3] {
        let limit = |key, outcome| match self.documented {
            [only] if *only == outcome => (key, "'100ms'"),
            _ => (key, "'60s'"),
        };
        [
            limit("connect_timeout", "504 connection_timeout"),
            limit("response_timeout", "504 http_response_timeout"),
            limit("body_timeout", "cut"),
        ]
    }

    fn configure(&self, setup: Setup, number: usize) -> Setup {
        let key = |key: &str| format!("origin.o{number}.{key}");
        let limits = self.limits().into_iter();
        let setup = limits
            .fold(setup, |setup, (limit, time)| setup.set(&key(limit), time))
            .origin(&format!("o{number}"), &self.server)
            .set(&key("retries"), "0")
            .set(&key("ejection.failures"), "0");
        let more = self.keys.iter();
        more.fold(setup, |setup, (name, value)| setup.set(&key(name), value))
    }
}

impl Servers {
    fn start(folder: &Path) -> Self {
        let other = Made::ecdsa(&["other.example"]);
        let servers = Self {
            origins: FAULTS.iter().map(|(_, start, _)| start()).collect(),
            refusing: RefusingPort::reserve(),
            blackhole: Blackhole::fill(),
            tls: TlsOrigin::start(&tls_origin::Kind::hello(&other)),
            roots: format!("'{}'", other.write(folder, "roots").certificate.display()),
            goaway: goaway(),
            names: NameServer::start(),
        };
        servers.names.host("here.test", Ipv4Addr::LOCALHOST);
        for service in SERVICES {
            servers.turn(service, &servers.origins[ANSWERS].address());
        }
        servers
    }

    /// The service is there from now on.
    fn turn(&self, service: &str, address: &str) {
        let port = address.rsplit_once(':').unwrap().1;
        self.names.service(service, &[format!("0 0 {port} here.test.")]);
    }

    /// The two services come last.
    fn kinds(&self) -> Vec<Kind> {
        let http1 = FAULTS.iter().zip(&self.origins);
        let mut kinds: Vec<Kind> = http1
            .map(|((what, _, documented), origin)| Kind::of(what, origin.address(), documented))
            .collect();
        kinds.extend([
            Kind::of("refuses", self.refusing.address(), &["502 connection_refused"]),
            Kind::of("takes no SYN", self.blackhole.address(), &["504 connection_timeout"]),
            Kind::of(
                "has a wrong certificate",
                self.tls.url(),
                &["502 tls_certificate_error"],
            )
            .set("tls.roots", &self.roots),
            Kind::of(
                "says GOAWAY and resets streams",
                self.goaway.address(),
                &[
                    "200 -",
                    "cut",
                    "502 connection_terminated",
                    "502 http_response_incomplete",
                ],
            )
            .set("protocol", "'http2'"),
        ]);
        let name_servers = format!("['{}']", self.names.address());
        let services = [
            ("resolves to nothing", &["503 destination_unavailable"]),
            ("resolves to itself", &["508 proxy_loop_detected"]),
        ];
        kinds.extend(services.into_iter().zip(SERVICES).map(|((what, documented), service)| {
            Kind::of(what, format!("srv:{service}"), documented).set("name_servers", &name_servers)
        }));
        kinds
    }
}

/// A server of HTTP/2 that says GOAWAY after each third request, and resets streams before and within their answers.
fn goaway() -> DualOrigin {
    let asked = AtomicUsize::new(0);
    let failing = Http2::answering(move |_, mut respond| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            if number % 5 == 1 {
                return respond.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            if let Ok(mut stream) = respond.send_response(http::Response::new(()), false) {
                drop(stream.send_data("h2".into(), number % 5 != 2));
                if number % 5 == 2 {
                    stream.send_reset(h2::Reason::INTERNAL_ERROR);
                }
            }
        }
    });
    DualOrigin::plain(Http2 {
        requests_max: 3,
        ..failing
    })
}

/// Each kind behind `/NUMBER`.
fn start(kinds: &[Kind]) -> Tidegate {
    let mut sites = "[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o0'\ncache = false\n".to_owned();
    for number in 0..kinds.len() {
        sites += &format!("[[site.route]]\nprefix = '/{number}'\norigin = 'o{number}'\n");
    }
    let numbered = kinds.iter().enumerate();
    let setup = Setup::with_sites(&sites);
    numbered
        .fold(setup, |setup, (number, kind)| kind.configure(setup, number))
        .start()
}

/// Sends all the requests, kind after kind, many at a time; the outcomes of each kind.
fn crowd(tidegate: &Tidegate, kinds: usize) -> Vec<Outcomes> {
    let next = AtomicUsize::new(0);
    let ask = || {
        let (mut own, mut client) = (vec![Outcomes::new(); kinds], tidegate.client());
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= FAILURES {
                return own;
            }
            let (outcome, is_usable) = outcome(&mut client, &format!("/{}", number % kinds));
            *own[number % kinds].entry(outcome).or_default() += 1;
            if !is_usable {
                client = tidegate.client();
            }
        }
    };
    let mut all = vec![Outcomes::new(); kinds];
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        for client in clients {
            for (all, own) in all.iter_mut().zip(client.join().unwrap()) {
                for (outcome, count) in own {
                    *all.entry(outcome).or_default() += count;
                }
            }
        }
    });
    all
}

#[test]
fn ten_thousand_failures_of_all_kinds_at_once_leave_no_place_taken() {
    let (_folder, path) = folder();
    let servers = Servers::start(&path);
    let kinds = servers.kinds();
    let tidegate = start(&kinds);
    let (nobody, we) = (kinds.len() - 2, kinds.len() - 1);
    servers.names.service(SERVICES[0], &["0 0 0 .".to_owned()]);
    servers.turn(SERVICES[1], tidegate.address());
    eventually("nobody is there", || tidegate.get(&format!("/{nobody}")).status == 503);
    eventually("we are our own origin", || {
        tidegate.get(&format!("/{we}")).status == 508
    });

    let all = crowd(&tidegate, kinds.len());
    for (Kind { what, documented, .. }, outcomes) in kinds.iter().zip(&all) {
        let asked: usize = outcomes.values().sum();
        assert!(asked >= FAILURES / kinds.len(), "{what}: {outcomes:?}");
        assert!(
            outcomes.keys().all(|outcome| documented.contains(&&**outcome)),
            "{what}: {outcomes:?}, documented are {documented:?}"
        );
    }
    tidegate.wait_until_no_backend_is_busy();
    assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="waiting""#), 0);
    for (number, (origin, kind)) in servers.origins.iter().zip(&kinds).enumerate() {
        let idle = format!(r#"backend="o{number}",state="idle""#);
        let what = format!("{}: as many connections are open as are counted", kind.what);
        eventually(&what, || {
            origin.open_connections() as u64 == tidegate.metric("tidegate_backend_connections", &idle)
        });
    }
}
