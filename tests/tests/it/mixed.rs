//! Mixed pairs: other people's caches behind our front, and their front before our cache server. Skipped aloud where they
//! are not installed.

use std::path::Path;
use std::process::Command;

use tests::client::{Client, get};
use tests::message::Response;
use tests::origin::Origin;
use tests::process::Process;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::SIGKILL;
use tests::tidegate::{Node, folder};
use tests::wait::eventually;

/// An origin whose responses tell how often it was asked.
fn counting() -> Origin {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |request| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Script::cacheable(format!("{} {number}", request.target()))
    })
}

/// Starts a server and waits until its unix socket takes connections.
pub(crate) fn serve(command: Command, socket: &Path) -> Process {
    let process = Process::spawn(command);
    let address = socket.to_str().unwrap();
    eventually("it listens", || Client::try_connect(address).is_ok());
    process
}

/// nginx with this in its `server` block, which listens on `socket` in `folder`, as `listen` says.
pub(crate) fn nginx(mut command: Command, folder: &Path, listen: &str, server: &str) -> Command {
    let path = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {path}/pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
         fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
         proxy_cache_path {path}/cache keys_zone=kept:1m;\n\
         server {{ listen unix:{path}/socket {listen}; {server} }} }}\n"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(folder);
    command
}

/// A front of ours with this one cache server.
fn front(setup: &Setup, folder: &Path) -> Node {
    let servers = format!("unix:{}/socket", folder.display());
    Node::start(&folder.join("front.toml"), &setup.front(&[servers]))
}

fn ask(front: &Node, path: &str) -> Response {
    tests::client::once(front.address("front"), get(path))
}

/// Everything that is asked of a front whose cache is somebody else's: stored there, and the origin when that is gone.
fn check(mut cache: Process, folder: &Path, origin: &Origin) {
    let front = front(&Setup::of(&origin.address()), folder);
    let first = ask(&front, "/a").text();
    for _ in 0..3 {
        assert_eq!(ask(&front, "/a").text(), first, "it is stored there");
    }
    assert_eq!(origin.count("/a"), 1);
    assert!(origin.last_request().field("via").unwrap().contains("tidegate"));
    let posted = tests::client::request("POST", "/post", "Content-Length: 1\r\n", "x");
    assert_eq!(tests::client::once(front.address("front"), posted).status, 200);
    cache.signal(SIGKILL);
    cache.wait_for_exit();
    // Varnish's child answers until it sees that its manager has gone.
    let socket = folder.join("socket");
    eventually("nobody listens", || {
        Client::try_connect(socket.to_str().unwrap()).is_err()
    });
    let direct = ask(&front, "/a");
    assert_eq!((direct.status, origin.count("/a")), (200, 2), "{direct:?}");
    assert_eq!(front.metric("tidegate_tier_fallback_total", ""), 1);
}

#[test]
fn nginx_is_a_cache_server_behind_our_front() {
    let Some(command) = installed("nginx") else { return };
    let (_folder, path) = folder();
    let origin = counting();
    let server = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Host $host; proxy_cache kept; }}",
        origin.address()
    );
    let cache = serve(nginx(command, &path, "", &server), &path.join("socket"));
    check(cache, &path, &origin);
}

#[test]
fn varnish_is_a_cache_server_behind_our_front() {
    let Some(mut command) = installed("varnishd") else {
        return;
    };
    let (_folder, path) = folder();
    let origin = counting();
    command.args([
        "-F",
        "-j",
        "none",
        "-T",
        "none",
        "-s",
        "malloc,16M",
        "-b",
        &origin.address(),
    ]);
    command
        .arg("-a")
        .arg(path.join("socket"))
        .arg("-n")
        .arg(path.join("varnish"));
    let cache = serve(command, &path.join("socket"));
    check(cache, &path, &origin);
}

#[test]
fn nginx_is_a_front_before_our_cache_server() {
    let Some(command) = installed("nginx") else { return };
    let (_folder, path) = folder();
    let origin = counting();
    let tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(1)).start();
    let server = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Host $host; \
         proxy_set_header Connection ''; }}",
        tidegate.cache_servers[0].address("cache")
    );
    let _front = serve(nginx(command, &path, "", &server), &path.join("socket"));
    let mut client = Client::connect(path.join("socket").to_str().unwrap());
    let first = client.get("/a");
    assert_eq!(first.status, 200, "{first:?}");
    for _ in 0..3 {
        let response = client.get("/a");
        assert!(response.is_hit() && response.text() == first.text(), "{response:?}");
    }
    assert_eq!(origin.count("/a"), 1);
}
