//! Errno by errno, and real accept queues on loopback.

use std::net::TcpStream as Client;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;
use crate::net::listener::bind;
use crate::net::settings::{Backlog, ListenAddress, ListenSettings};
use crate::process::own_process::{in_own_process, none_starts};
use crate::telemetry::access_log::AccessLog;
use crate::time::Clock;

fn acceptor(address: &str) -> (Acceptor, SocketAddr, Arc<Worker>) {
    let (acceptor, bound) = acceptor_of_bound(address);
    let worker = Arc::clone(&acceptor.worker);
    (acceptor, bound.local_addr.unwrap(), worker)
}

fn acceptor_of_bound(address: &str) -> (Acceptor, Arc<Bound>) {
    let settings = ListenSettings {
        name: address.to_owned(),
        address: ListenAddress::Tcp(address.parse().unwrap()),
        backlog: Backlog::Auto,
        defer_accept: None,
        v6only: false,
        tcp_keepalive: None,
    };
    let bound = Arc::new(bind(&settings, 1).unwrap());
    let worker = Worker::new(0, Clock::default(), AccessLog::default());
    (Acceptor::new(&bound, 0, &worker).unwrap(), bound)
}

#[test]
fn errors_of_accept_are_told_apart_by_errno() {
    for (errno, expected) in [
        (Errno::ECONNABORTED, AcceptError::PeerGone),
        (Errno::EPROTO, AcceptError::PeerGone),
        (Errno::EPERM, AcceptError::PeerGone),
        (Errno::ENETDOWN, AcceptError::PeerGone),
        (Errno::EHOSTUNREACH, AcceptError::PeerGone),
        (Errno::ETIMEDOUT, AcceptError::PeerGone),
        (Errno::EMFILE, AcceptError::Descriptors),
        (Errno::ENFILE, AcceptError::Descriptors),
        (Errno::ENOBUFS, AcceptError::Memory),
        (Errno::ENOMEM, AcceptError::Memory),
        (Errno::EBADF, AcceptError::Other),
        (Errno::EINVAL, AcceptError::Other),
    ] {
        assert_eq!(classify(&errno.into()), expected, "{errno}");
    }
    assert_eq!(classify(&io::Error::other("no errno")), AcceptError::Other);
}

#[tokio::test]
async fn an_ipv4_client_has_its_ipv4_address_on_an_ipv6_socket() {
    let (mut acceptor, address, _) = acceptor("[::]:0");
    let client = Client::connect(("127.0.0.1", address.port())).unwrap();
    let accepted = acceptor.accept().await;
    assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
}

#[tokio::test]
async fn closing_takes_what_is_queued_and_refuses_what_comes_later() {
    let (acceptor, address, _) = acceptor("127.0.0.1:0");
    let _descriptors_are_ours = none_starts();
    // The reactor has not heard of these.
    let clients: Vec<_> = (0..3).map(|_| Client::connect(address).unwrap()).collect();
    let mut taken = Vec::new();
    acceptor.close(|accepted| taken.push(accepted));
    let expected: Vec<_> = clients.iter().map(|client| client.local_addr().ok()).collect();
    assert_eq!(taken.iter().map(|accepted| accepted.peer).collect::<Vec<_>>(), expected);
    assert_eq!(
        Client::connect(address).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn an_acceptor_that_is_dropped_closes_its_shard() {
    let (acceptor, bound) = acceptor_of_bound("127.0.0.1:0");
    let address = bound.local_addr.unwrap();
    let _descriptors_are_ours = none_starts();
    drop(acceptor);
    assert_eq!(
        Client::connect(address).unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn other_tasks_have_their_turn_while_many_connections_come() {
    let (mut acceptor, address, _) = acceptor("127.0.0.1:0");
    let _clients: Vec<_> = (0..BATCH_MAX + 1).map(|_| Client::connect(address).unwrap()).collect();
    // This one waits for the reactor; the others are known to be there then.
    let _first = acceptor.accept().await;
    let other = tokio::spawn(async {});
    for _ in 1..BATCH_MAX {
        let _next = acceptor.accept().await;
    }
    assert!(!other.is_finished(), "there was nothing to wait for");
    let _one_more = acceptor.accept().await;
    assert!(other.is_finished());
}

/// In a process of its own: the limit of descriptors is the process's.
#[tokio::test(start_paused = true)]
async fn no_descriptor_left_is_waited_out() {
    if !in_own_process("net::accept::tests::no_descriptor_left_is_waited_out", None) {
        return;
    }
    let (mut acceptor, address, worker) = acceptor("127.0.0.1:0");
    let client = Client::connect(address).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let accepting = tokio::spawn(async move { acceptor.accept().await });
    while worker.metrics.get(Counter::AcceptErrorDescriptors) < 3 {
        assert!(!accepting.is_finished());
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let accepted = accepting.await.unwrap();
    assert_eq!(accepted.peer, Some(client.local_addr().unwrap()));
    assert_eq!(worker.metrics.get(Counter::AcceptErrorOther), 0);
}
