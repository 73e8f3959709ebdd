//! Real sockets on loopback, and unix sockets in a directory of their own.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use socket2::SockRef;

use super::*;
use crate::net::settings::TcpKeepalive;
use crate::process::own_process::{in_own_process, none_starts};

fn tcp(address: &str) -> ListenSettings {
    ListenSettings {
        name: address.to_owned(),
        address: ListenAddress::Tcp(address.parse().unwrap()),
        backlog: Backlog::Auto,
        defer_accept: None,
        v6only: true,
        tcp_keepalive: None,
    }
}

/// No other test listens on it, so that a port given back stays free.
const OWN_ADDRESS: &str = "127.0.0.77:0";

fn unix(path: PathBuf) -> ListenSettings {
    ListenSettings {
        address: ListenAddress::Unix { path, mode: 0o620 },
        ..tcp("127.0.0.1:0")
    }
}

fn accept(bound: &Bound, shard: usize) -> io::Result<TcpStream> {
    let Some(ShardSocket::Tcp(listener)) = bound.duplicate(shard)? else {
        panic!("not an open TCP shard");
    };
    listener.accept().map(|(stream, _)| stream)
}

#[test]
fn all_shards_have_the_port_that_the_kernel_chose_and_each_gets_connections() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let bound = bind(&tcp(address), 2).unwrap();
        let local = bound.local_addr.unwrap();
        assert_ne!(local.port(), 0);
        assert_eq!(bound.to_string(), local.to_string());
        // The kernel picks a shard by a hash of the ports: 1 in 2^63 that one of two gets none of 64.
        let _clients: Vec<_> = (0..64).map(|_| TcpStream::connect(local).unwrap()).collect();
        let taken = [0, 1].map(|shard| std::iter::from_fn(|| accept(&bound, shard).ok()).count());
        assert_eq!(taken[0] + taken[1], 64);
        assert!(taken[0] > 0 && taken[1] > 0, "{taken:?}");
    }
}

#[test]
fn accepted_connections_inherit_the_options_of_the_listening_socket() {
    let settings = ListenSettings {
        tcp_keepalive: Some(TcpKeepalive {
            idle: Duration::from_secs(61),
            interval: Duration::from_secs(7),
            count: 5,
        }),
        ..tcp("127.0.0.1:0")
    };
    let bound = bind(&settings, 2).unwrap();
    let _clients: Vec<_> = (0..16)
        .map(|_| TcpStream::connect(bound.local_addr.unwrap()).unwrap())
        .collect();
    let accepted: Vec<_> = [0, 1]
        .iter()
        .flat_map(|shard| std::iter::from_fn(|| accept(&bound, *shard).ok()))
        .collect();
    assert_eq!(accepted.len(), 16);
    for stream in &accepted {
        let socket = SockRef::from(stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(61));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
    }
}

#[test]
fn a_deferred_connection_is_handed_over_when_its_data_came() {
    let settings = ListenSettings {
        defer_accept: Some(Duration::from_millis(1500)),
        ..tcp("127.0.0.1:0")
    };
    let bound = bind(&settings, 1).unwrap();
    let mut client = TcpStream::connect(bound.local_addr.unwrap()).unwrap();
    assert_eq!(accept(&bound, 0).unwrap_err().kind(), ErrorKind::WouldBlock);
    io::Write::write_all(&mut client, b"x").unwrap();
    accept(&bound, 0).unwrap();
}

#[test]
fn a_port_is_in_use_for_everybody_else_however_many_shards_have_it() {
    let _descriptors_are_ours = none_starts();
    for shards in [1, 2] {
        let first = bind(&tcp(OWN_ADDRESS), shards).unwrap();
        let again = tcp(&first.to_string());
        for shards_of_second in [1, 2] {
            let error = bind(&again, shards_of_second).unwrap_err();
            assert!(matches!(error.cause, BindCause::InUse), "{error}");
            assert_eq!(error.exit_code(), 69);
        }
        drop(first);
        bind(&again, shards).unwrap();
    }
}

#[test]
fn an_earlier_process_s_connections_do_not_hold_the_port() {
    let _descriptors_are_ours = none_starts();
    let first = bind(&tcp(OWN_ADDRESS), 2).unwrap();
    let again = tcp(&first.to_string());
    let client = TcpStream::connect(first.local_addr.unwrap()).unwrap();
    let accepted = accept(&first, 0).or_else(|_| accept(&first, 1)).unwrap();
    drop(first);
    drop(bind(&again, 2).unwrap());
    // The side that closes first goes to TIME_WAIT.
    drop(accepted);
    drop(client);
    bind(&again, 2).unwrap();
}

#[test]
fn an_address_of_another_machine_is_told() {
    // TEST-NET-1 (RFC 5737).
    let error = bind(&tcp("192.0.2.1:0"), 1).unwrap_err();
    assert!(matches!(error.cause, BindCause::AddressNotHere), "{error}");
    assert_eq!(error.exit_code(), 78);
}

#[test]
fn a_privileged_port_without_privilege_is_a_question_of_permission() {
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim().parse::<u16>().unwrap() < 2) {
        println!("skipped: every port is free for everybody here");
        return;
    }
    let is_root = nix::unistd::geteuid().is_root();
    let name = "net::listener::tests::a_privileged_port_without_privilege_is_a_question_of_permission";
    if is_root && !in_own_process(name, Some(4_242_424)) {
        return;
    }
    let error = bind(&tcp("127.0.0.1:1"), 2).unwrap_err();
    assert!(matches!(error.cause, BindCause::PortPermission), "{error}");
    assert_eq!(error.exit_code(), 77);
}

#[test]
fn v6only_decides_whether_an_ipv6_wildcard_takes_ipv4() {
    for v6only in [true, false] {
        let bound = bind(
            &ListenSettings {
                v6only,
                ..tcp("[::]:0")
            },
            2,
        )
        .unwrap();
        let port = bound.local_addr.unwrap().port();
        assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_err(), v6only);
        TcpStream::connect(("::1", port)).unwrap();
    }
}

#[test]
fn a_unix_socket_has_its_mode_and_its_file_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    let bound = bind(&unix(path.clone()), 2).unwrap();
    assert_eq!(bound.to_string(), format!("unix:{}", path.display()));
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o620);
    let _client = UnixStream::connect(&path).unwrap();
    let Some(ShardSocket::Unix(shard)) = bound.duplicate(1).unwrap() else {
        panic!("not an open unix shard");
    };
    shard.accept().unwrap();
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_makes_way_and_a_live_one_does_not() {
    let _descriptors_are_ours = none_starts();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file, as a killed process does");
    let first = bind(&unix(path.clone()), 1).unwrap();
    let error = bind(&unix(path.clone()), 1).unwrap_err();
    assert!(matches!(error.cause, BindCause::InUse), "{error}");
    assert_eq!(error.exit_code(), 69);
    UnixStream::connect(&path).unwrap();
    drop(first);
}

#[test]
fn a_live_socket_with_a_full_queue_is_still_live() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ListenSettings {
        backlog: Backlog::Fixed(0),
        ..unix(dir.path().join("front.sock"))
    };
    let _first = bind(&settings, 1).unwrap();
    let _client = UnixStream::connect(dir.path().join("front.sock")).unwrap();
    assert!(matches!(bind(&settings, 1).unwrap_err().cause, BindCause::InUse));
}

#[test]
fn what_is_not_a_stale_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "precious").unwrap();
    let error = bind(&unix(path.clone()), 1).unwrap_err();
    assert!(matches!(error.cause, BindCause::NotASocket), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let error = bind(&unix(dir.path().join("no/such/front.sock")), 1).unwrap_err();
    assert!(matches!(error.cause, BindCause::NoDirectory), "{error}");

    let error = bind(&unix(dir.path().join("x".repeat(200))), 1).unwrap_err();
    assert!(matches!(error.cause, BindCause::PathTooLong), "{error}");
}

#[test]
fn a_successor_s_socket_file_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    let bound = bind(&unix(path.clone()), 1).unwrap();
    let successor = UnixListener::bind(dir.path().join("new.sock")).unwrap();
    fs::rename(dir.path().join("new.sock"), &path).unwrap();
    drop(bound);
    assert!(path.exists());
    drop(successor);
}

#[test]
fn times_become_whole_seconds_and_never_zero() {
    for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (u64::MAX, 65_535)] {
        assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
    }
}

#[test]
fn the_first_connections_after_each_sample_are_looked_at_and_then_a_part() {
    let looked_at = |counts: &AcceptCounts, of: u32| (0..of).filter(|_| counts.wants_a_look()).count();
    for (every, expected) in [(0, 0), (1, 300), (10, 120), (1000, 100)] {
        let counts = AcceptCounts::default();
        counts.look_at_each(every);
        assert_eq!(looked_at(&counts, 300), expected, "each {every}th");
        counts.begin_anew();
        assert_eq!(
            looked_at(&counts, 300),
            expected,
            "each {every}th, after another sample"
        );
    }
}
