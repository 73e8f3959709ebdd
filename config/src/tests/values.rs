//! Values: each table of a whole file is read as it stands there.

use super::*;

#[test]
fn a_process_is_read_with_its_values() {
    let config = good(VALUES);
    let process = &config.process;
    let workers = &process.workers;
    assert_eq!((workers.workers, workers.pin, workers.connections_max), (8, true, 1000));
    assert_eq!(
        (process.user.as_deref(), process.group.as_deref()),
        (Some("www"), Some("web"))
    );
    assert_eq!(workers.drain_timeout, Duration::ZERO);
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("debug", LogFormat::Json)
    );
    let access = config.log.access.expect("[log.access]");
    assert_eq!(access.to, AccessLogTarget::File("/var/log/t.log".into()));
    assert_eq!((access.buffer_bytes, access.flush), (64 << 10, Duration::from_secs(1)));
}

#[test]
fn a_front_is_read_with_its_values() {
    let front = good(VALUES).front.expect("[front]");
    let [first, second, third] = &front.listen[..] else {
        panic!("{:?}", front.listen)
    };
    let any_port: SocketAddr = "127.0.0.1:0".parse().expect("address");
    assert_eq!(
        (&first.socket.address, first.socket.backlog, first.socket.v6only),
        (&ListenAddress::Tcp(any_port), Backlog::Auto, true)
    );
    assert_eq!(
        (second.socket.backlog, second.socket.defer_accept),
        (Backlog::Fixed(511), Some(Duration::from_secs(5)))
    );
    assert_eq!((second.socket.name.as_str(), second.socket.v6only), ("[::]:443", false));
    let keepalive = TcpKeepalive {
        idle: Duration::from_secs(90),
        interval: Duration::from_secs(10),
        count: 9,
    };
    assert_eq!(second.socket.tcp_keepalive, Some(keepalive));
    let path = PathBuf::from("/run/t.sock");
    assert_eq!(third.socket.address, ListenAddress::Unix { path, mode: 0o600 });
    assert_eq!(front.serve.header_timeout, Duration::from_millis(1500));
    assert_eq!(
        (front.serve.body_bytes_max, front.serve.half_close),
        (u64::MAX, HalfClose::Cancel)
    );
    assert_eq!(
        (front.serve.head_bytes_max, front.serve.uri_bytes_max),
        (4096, 4096),
        "the target is in the head"
    );
    assert_eq!((front.forwarded.forwarded, front.forwarded.trusted.len()), (true, 2));
    assert_eq!(front.unknown_host, UnknownHost::Misdirected);
}

#[test]
fn an_origin_and_its_site_are_read_with_their_values() {
    let config = good(VALUES);
    let origin = &config.origins[0];
    let host = "b.example".to_owned();
    assert_eq!(origin.servers[1], ServerAddress::Name { host, port: 80 }.into());
    let backup = &origin.servers[3];
    assert_eq!(
        (backup.weight, backup.is_backup, &origin.servers[0]),
        (3, true, &address("10.0.0.1:80").into())
    );
    let causes = [
        RetryCause::Error(OriginError::ConnectionRefused),
        RetryCause::Status(503),
    ];
    assert_eq!((&origin.retry_on[..], origin.retry_budget_percent), (&causes[..], 5));
    assert_eq!(
        (origin.bind, origin.tcp_user_timeout),
        (Some([10, 0, 0, 9].into()), Some(Duration::from_secs(20)))
    );
    assert_eq!(
        (origin.try_timeout, origin.deadline),
        (Some(Duration::from_secs(2)), Some(Duration::from_secs(5)))
    );
    assert_eq!(
        (origin.ejection.failures, origin.ejection.error_percent),
        (7, 50),
        "the rest is as elsewhere"
    );
    let health = origin.health.as_ref().expect("[origin.a.health]");
    assert_eq!(
        (health.path.as_deref(), &health.statuses[..], health.rise),
        (Some("/up?a=b"), &[200, 204][..], 2)
    );
    assert_eq!((origin.balance, origin.retries), (Balance::ConsistentHash, 0));
    assert_eq!(
        (origin.keepalive, origin.connections_max),
        (100, 100),
        "idle ones are among all"
    );
    assert_eq!(
        (config.sites[0].name.as_str(), &config.cache.tier),
        ("a.example", &CacheTier::None)
    );
}

#[test]
fn shared_names_in_cache_mean_the_listener_or_the_servers() {
    let server = good(
        "[cache]\nmemory = \"1GiB\"\nlisten = [\"127.0.0.1:1\"]\nidle_timeout = \"9s\"\nbody_timeout = \"8s\"\n\
         [origin.a]\nservers = [\"a:1\"]\n[[site]]\ndefault = true\norigin = \"a\"\n",
    );
    let serve = &server.cache.serve;
    assert_eq!(
        (serve.idle_timeout, serve.body_timeout),
        (Duration::from_secs(9), Duration::from_secs(8))
    );
    assert_eq!(server.cache.unknown_host, UnknownHost::Site(0));
    assert_eq!(server.sites[0].name, "default");

    let asked = "[cache]\nservers = [\"a:1\"]\nidle_timeout = \"9s\"\nbody_timeout = \"8s\"\nwhen_down = \"error\"\n\
                 [cache.ejection]\nfailures = 9\n";
    let front = good(&format!("{LEAST}{asked}"));
    let CacheTier::Servers { backend, when_down } = &front.cache.tier else {
        panic!("{:?}", front.cache)
    };
    assert_eq!(
        (backend.idle_timeout, backend.limits.body_timeout),
        (Duration::from_secs(9), Duration::from_secs(8))
    );
    assert_eq!(
        (backend.balance, *when_down),
        (Balance::ConsistentHash, WhenDown::Error)
    );
    assert_eq!(
        (backend.ejection.failures, &backend.ejection.statuses[..]),
        (9, &[][..]),
        "what cache servers say is what origins said"
    );
    assert_eq!(backend.name, "cache.servers");
    assert_eq!(front.cache.serve, crate::defaults::SERVE);
}

const VALUES: &str = r#"
[process]
workers = 8
pin_workers = true
user = "www"
group = "web"
drain_timeout = "0s"
connections_max = 1_000
[front]
listen = [
    "127.0.0.1:0",
    { address = "[::]:443", backlog = 511, defer_accept = "5s", v6only = false, tcp_keepalive = { idle = "90s", count = 9 } },
    { address = "unix:/run/t.sock", mode = "0600" },
]
header_timeout = "1500ms"
request_head_max = "4KiB"
request_body_max = "unlimited"
half_close = "cancel"
[front.forwarded]
forwarded = true
trusted = ["10.0.0.0/8", "::1"]
[origin.a]
servers = ["10.0.0.1:80", "http://b.example", "unix:/run/a.sock", { address = "10.0.0.2:80", weight = 3, backup = true }]
balance = "consistent_hash"
connections_max = 100
retries = 0
retry_on = ["connection_refused", "503"]
retry_budget_percent = 5
try_timeout = "2s"
deadline = "5s"
bind = "10.0.0.9"
tcp_user_timeout = "20s"
[origin.a.ejection]
failures = 7
[origin.a.health]
path = "/up?a=b"
status = [200, 204]
[[site]]
hosts = ["A.example"]
origin = "a"
[health]
sample_every = "2s"
accepts_looked_at = 7
[health.thresholds]
window_short = "20s"
drops_min = 7
drops_share = "0.25%"
[log]
level = "debug"
format = "json"
[log.access]
to = "/var/log/t.log"
buffer = "64KiB"
flush = "1s"
"#;
