//! Connections to an origin for many clients: one pool for all workers, so never more than requests at once, and hardly any
//! is made after the first ones.

use std::sync::Barrier;
use std::thread;

use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::raise_open_files;
use tests::wait::Gate;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CLIENTS: usize = 256;
const WORKERS: usize = 2;
/// Of each client.
const REQUESTS: usize = 100;

#[test]
fn two_workers_with_256_clients_never_have_more_than_258_connections_and_reuse_nearly_all() {
    raise_open_files(4096);
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |request| match request.path() {
            "/first" => Script::says("").wait(&gate).send(HELLO),
            _ => Script::says(HELLO),
        }
    });
    let tidegate = Setup::of(&origin.address())
        .uncached()
        .set("process.workers", &WORKERS.to_string())
        .start();
    let counted = || {
        ["requests", "connects", "reused"].map(|what| tidegate.metric(&format!("tidegate_backend_{what}_total"), ""))
    };
    // Each has a request under way at the same moment.
    let (all_have_asked, go_on) = (&Barrier::new(CLIENTS + 1), &Barrier::new(CLIENTS + 1));
    let (most, at_first) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (tidegate, origin) = (&tidegate, &origin);
                scope.spawn(move || {
                    let mut client = tidegate.client();
                    assert_eq!(client.get("/first").text(), "hello");
                    all_have_asked.wait();
                    go_on.wait();
                    let mut most = 0;
                    for _ in 0..REQUESTS {
                        assert_eq!(client.get("/").text(), "hello");
                        most = most.max(origin.open_connections());
                    }
                    most
                })
            })
            .collect();
        gate.wait_for_arrivals(CLIENTS);
        gate.open();
        all_have_asked.wait();
        tidegate.wait_until_no_backend_is_busy();
        let at_first = counted();
        go_on.wait();
        let most = clients.into_iter().map(|client| client.join().unwrap()).max();
        (most.unwrap(), at_first)
    });
    assert!(most <= CLIENTS + WORKERS, "{most} connections open at once");
    let clients = CLIENTS as u64;
    assert_eq!(at_first, [clients, clients, 0], "as many at once need as many");
    let now = counted();
    let [requests, made, reused] = std::array::from_fn(|i| now[i] - at_first[i]);
    assert_eq!(requests, (CLIENTS * REQUESTS) as u64);
    assert_eq!(
        reused + made,
        requests,
        "each takes a connection that is there, or makes one"
    );
    assert!(
        made * 1000 < requests,
        "{made} connections made for {requests} requests: 99.9 % are to use one that is there"
    );
    tidegate.wait_until_no_backend_is_busy();
}
