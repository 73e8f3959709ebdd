//! The sampler on the running machine and on an empty root.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::super::diagnosis::Engine;
use super::super::diagnosis::cause::Cause;
use super::super::diagnosis::context::Roles;
use super::super::diagnosis::finding::Finding;
use super::super::diagnosis::settings::Thresholds;
use super::super::report::diagnosis_text;
use super::*;
use crate::time::Clock;

fn now() -> Moment {
    Moment::now(&Clock::System)
}

fn own_listener(socket: &impl AsFd) -> OwnListener<'_> {
    OwnListener {
        leg: Leg::ClientFront,
        name: Arc::from("web"),
        shard: 0,
        port: None,
        backlog_asked: None,
        socket: socket.as_fd(),
    }
}

#[test]
fn the_running_machine_is_read_with_our_own_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let client = TcpStream::connect(address).expect("connected");
    let own = [own_listener(&listener)];
    let mut sampler = Sampler::new(ProcRoot::default());
    sampler.watch_servers(vec![address]);
    let sample = sampler.sample(now(), Listeners::Own(&own));
    assert_eq!(sample.listeners[0].queue.get().map(|queue| queue.depth), Some(1));
    let census = sample.census.ok().expect("a census");
    assert_eq!(census.by_server[&address].get(State::Established), 1);
    assert!(census.by_listener.contains_key(&address.port()));
    assert!(sample.netstat.ok().is_some() && sample.snmp.ok().is_some());
    let all = sampler.all_listeners().ok().expect("listeners");
    assert!(
        all.iter()
            .any(|found| found.port == Some(address.port()) && found.queue.get().is_some())
    );
    assert!(
        sampler
            .raw_counters()
            .iter()
            .any(|(table, name, _)| table == "TcpExt" && name == "ListenDrops")
    );
    drop(client);
}

#[test]
fn a_root_without_anything_leaves_everything_unavailable() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let own = [own_listener(&listener)];
    let sample = Sampler::new(ProcRoot::new(Path::new(dir.path()))).sample(now(), Listeners::Own(&own));
    assert_eq!(sample.netstat, Reading::Unavailable(Why::Absent));
    assert_eq!(sample.kernel.why(), Some(Why::Absent));
    assert_eq!(sample.half_open.why(), Some(Why::Absent));
    assert_eq!(
        sample.listeners[0].queue.why(),
        Some(ANOTHER_ROOT),
        "our queue does not explain that tree"
    );
}

#[test]
fn a_listener_of_this_machine_that_does_not_accept_is_found() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("bound");
    socket.listen(1).expect("listening");
    let address = socket.local_addr().expect("an address");
    let own = [own_listener(&socket)];
    let mut sampler = Sampler::new(ProcRoot::default());
    let roles = Roles {
        serves: vec![Leg::ClientFront],
        connects: Vec::new(),
    };
    let mut engine = Engine::new(Thresholds::default(), roles);
    engine.observe(sampler.sample(now(), Listeners::Own(&own)));
    // Two fit; the SYNs of the others are dropped.
    let connect = || {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("nonblocking");
        client.connect(&address).expect_err("under way");
        client
    };
    let clients: Vec<Socket> = (0..100).map(|_| connect()).collect();
    engine.observe(sampler.sample(now(), Listeners::Own(&own)));
    let found = |finding: &Finding| {
        finding.cause == Cause::AcceptQueue
            && finding.leg == Leg::ClientFront
            && finding.subject.as_deref() == Some("web")
    };
    assert!(
        engine.open().any(|open| found(&open.finding)),
        "{}",
        diagnosis_text(&engine)
    );
    drop(clients);
}
