//! Connections to an origin for many clients: one pool for all workers, so never more than requests at once, and hardly any
//! is made after the first ones.

use std::sync::Barrier;
use std::thread;

use tests::origin::Origin;
use tests::setup::Setup;
use tests::sys::raise_open_files;

const CLIENTS: usize = 256;
const WORKERS: usize = 2;
/// Of each client. Connections are made for requests at once and not for requests: however many come, no more are made.
const REQUESTS: usize = 100;
/// Requests of a benchmark, for which the share of those that reuse a connection is told.
const BENCHMARK: u64 = 300_000;

#[test]
fn two_workers_with_256_clients_never_have_more_than_258_connections_and_reuse_nearly_all() {
    raise_open_files(4096);
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address())
        .uncached()
        .set("process.workers", &WORKERS.to_string())
        .start();
    let all_are_here = Barrier::new(CLIENTS);
    let most = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (tidegate, all_are_here, origin) = (&tidegate, &all_are_here, &origin);
                scope.spawn(move || {
                    let mut client = tidegate.client();
                    all_are_here.wait();
                    let mut most = 0;
                    for _ in 0..REQUESTS {
                        assert_eq!(client.get("/").text(), "hello");
                        most = most.max(origin.open_connections());
                    }
                    most
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).max().unwrap()
    });
    assert!(most <= CLIENTS + WORKERS, "{most} connections open at once");
    let requests = tidegate.metric("tidegate_backend_requests_total", "");
    let reused = tidegate.metric("tidegate_backend_reused_total", "");
    let made = tidegate.metric("tidegate_backend_connects_total", "");
    assert_eq!(requests, (CLIENTS * REQUESTS) as u64);
    assert!(made <= (CLIENTS + WORKERS) as u64, "{made} connections made");
    assert_eq!(
        reused + made,
        requests,
        "each takes a connection that is there, or makes one"
    );
    // More than 99.9 % reuse one, since nobody made more than this.
    assert!(made * 1000 < BENCHMARK, "{made} connections are too many");
    tidegate.wait_until_no_backend_is_busy();
}
