//! Least privilege: what a serving process cannot do any more, and that everything it has to do still works.

use std::os::unix::fs::symlink;
use std::path::Path;

use tests::certificates::Made;
use tests::client::{Client, once};
use tests::health;
use tests::origin::Origin;
use tests::programs::skipped;
use tests::setup::Setup;
use tests::sys::{SIGTERM, SIGUSR1, is_root};
use tests::tidegate::{Node, Tidegate, folder};
use tests::tls::Tls;
use tests::wait::eventually;

/// Of "secret".
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

const LAYERS: [&str; 3] = ["drop_privileges", "landlock", "seccomp"];

fn with_layers(setup: Setup, word: &str) -> Setup {
    LAYERS.iter().fold(setup, |setup, layer| {
        setup.set(&format!("process.{layer}"), &format!("'{word}'"))
    })
}

/// Whether this kernel has all layers, as a process that tries them says.
fn has_all_layers(node: &Node) -> bool {
    states(node).iter().all(|state| state == "on")
}

fn states(node: &Node) -> Vec<String> {
    let report = health::report(node.address("admin"));
    let layers = report["confined"].as_array().unwrap().clone();
    assert_eq!(layers.len(), LAYERS.len(), "{report:#}");
    layers
        .iter()
        .map(|layer| layer["state"].as_str().unwrap().to_owned())
        .collect()
}

/// What the kernel says of each thread in a line of its status.
fn of_threads(node: &Node, line: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.process.id())).unwrap();
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).ok()?;
        let value = status.lines().find_map(|found| found.strip_prefix(line))?;
        Some(value.trim().to_owned())
    };
    tasks.filter_map(of_thread).collect()
}

/// Puts a file in the place of another, as renewals do.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A process with everything that reads or writes files while it serves, in a folder of its own.
fn full(origin: &Origin, path: &Path) -> Setup {
    let files = Made::ecdsa(&["www.example.com"]).write(path, "www");
    std::fs::write(path.join("deny"), "192.0.2.1\n").unwrap();
    std::fs::write(path.join("users"), format!("ann:{HASH}\n")).unwrap();
    let sites = format!(
        "[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\n\
         [[site.route]]\nprefix = '/closed'\nauth = {{ file = '{}' }}\n",
        path.join("users").display()
    );
    let listen = format!(
        "['127.0.0.1:0', {{ address = '[::1]:0', tls = 't', deny = ['file:{}'] }}]",
        path.join("deny").display()
    );
    std::fs::create_dir(path.join("log")).unwrap();
    Setup::with_sites(&sites)
        .origin("o", &origin.address())
        .set("front.listen", &listen)
        .set("tls.t.certificates", &format!("[{}]", files.entry()))
        .set("tls.t.reload_every", "'100ms'")
        .set("limits.lists_reload_every", "'100ms'")
        .set("log.access.to", &format!("'{}'", path.join("log/access.log").display()))
        .set("log.access.flush", "'1ms'")
}

#[test]
fn a_serving_process_has_no_capability_no_file_and_no_call_that_it_does_not_need() {
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let tried = full(&origin, &path).start();
    if !has_all_layers(&tried.front) {
        return skipped("confinement: this kernel does not have all of it");
    }
    drop(tried);
    let (_folder, path) = folder();
    let tidegate = with_layers(full(&origin, &path), "enforce").start();
    assert_eq!(states(&tidegate.front), ["on"; 3]);
    for (line, expected) in [
        ("Seccomp:", "2"),
        ("NoNewPrivs:", "1"),
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
    ] {
        let threads = of_threads(&tidegate.front, line);
        // Workers, admin, access log, files, backends, passwords, and the one that looks.
        assert!(threads.len() >= 8, "{threads:?}");
        assert!(threads.iter().all(|value| value == expected), "{line} {threads:?}");
    }
    assert_eq!(tidegate.get("/").text(), "hello");
    let log = tidegate.front.process.log();
    for layer in LAYERS {
        let line = format!("layer=\"{layer}\" state=on");
        assert!(log.contains(&line), "{line} in\n{log}");
    }
}

#[test]
fn what_is_read_and_written_while_serving_still_is() {
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let tidegate = full(&origin, &path).start();
    let tls_address = tidegate.front.address_of("[::1]:0").to_owned();
    let tls = Tls::offering(&[]);

    // Certificates and lists, by renaming new files over the old ones.
    let renewed = Made::ecdsa(&["www.example.com"]);
    let files = renewed.write(&path, "renewed");
    std::fs::rename(&files.key, path.join("www.key")).unwrap();
    std::fs::rename(&files.certificate, path.join("www.pem")).unwrap();
    eventually("the new certificate is shown", || {
        let client = tls.connect(&tls_address, "www.example.com");
        client.is_ok_and(|client| client.certificate() == renewed.der)
    });
    replace(&path.join("deny"), "::1\n");
    eventually("the new list is used", || {
        tls.connect(&tls_address, "www.example.com").is_err()
    });
    replace(&path.join("deny"), "192.0.2.1\n");
    eventually("the newest list is used", || {
        tls.connect(&tls_address, "www.example.com").is_ok()
    });

    // A list that became a link to elsewhere.
    let (_elsewhere, elsewhere) = folder();
    std::fs::write(elsewhere.join("secret"), "::1\n").unwrap();
    let link = path.join("link");
    symlink(elsewhere.join("secret"), &link).unwrap();
    std::fs::rename(link, path.join("deny")).unwrap();
    if states(&tidegate.front)[1] == "on" {
        tidegate.expect_metric(
            "tidegate_file_reloads_total",
            "kind=\"address_list\",result=\"failed\"",
            1,
        );
        let log = tidegate.front.process.log();
        assert!(log.contains("Permission denied"), "{log}");
        assert!(
            tls.connect(&tls_address, "www.example.com").is_ok(),
            "the old list stays"
        );
    }

    // The access log after a rotation.
    let log = path.join("log/access.log");
    assert_eq!(tidegate.get("/before").status, 200);
    std::fs::rename(&log, path.join("log/access.log.1")).unwrap();
    tidegate.front.process.signal(SIGUSR1);
    eventually("a new file is there", || log.exists());
    assert_eq!(tidegate.get("/after").status, 200);
    eventually("the new file has the line", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/after"))
    });
}

#[test]
fn a_process_that_became_another_user_is_confined_and_removes_its_socket() {
    if !is_root() {
        return skipped("becoming another user: not root");
    }
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&path, open).unwrap();
    let socket = path.join("admin.sock");
    let mut tidegate: Tidegate = Setup::of(&origin.address())
        .set("process.user", "'nobody'")
        .set("admin.listen", &format!("'unix:{}'", socket.display()))
        .start();
    assert_eq!(tidegate.get("/").text(), "hello");
    assert_eq!(of_threads(&tidegate.front, "CapPrm:")[0], "0000000000000000");
    let health = once(
        socket.to_str().unwrap(),
        "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(health.status, 200);
    let mut admin = Client::connect(socket.to_str().unwrap());
    let ready = admin.ask("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(ready.status, 200);
    tidegate.front.process.signal(SIGTERM);
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    assert!(!socket.exists(), "{}", tidegate.front.process.log());
}

#[test]
fn what_is_off_is_not_applied_and_health_says_so() {
    let origin = Origin::saying("hello");
    let tidegate = with_layers(Setup::of(&origin.address()), "off").start();
    assert_eq!(states(&tidegate.front), ["off"; 3]);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in ["Seccomp:", "NoNewPrivs:"] {
        let ours = own.lines().find_map(|found| found.strip_prefix(line)).unwrap().trim();
        assert!(
            of_threads(&tidegate.front, line).iter().all(|value| value == ours),
            "{line}"
        );
    }
}
