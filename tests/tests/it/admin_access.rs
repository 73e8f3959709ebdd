//! Who may use the admin listener: tokens, client certificates, unix sockets.

use std::fs;

use tests::certificates::{Files, Made};
use tests::client::{get, once};
use tests::origin::Origin;
use tests::programs::installed;
use tests::setup::Setup;
use tests::tidegate::{Node, folder, run, write_config};
use tests::wait::eventually;

const TOKEN: &str = "correct-horse-battery-staple";

fn ask(admin: &str, method: &str, path: &str, token: Option<&str>) -> u16 {
    let line = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    once(
        admin,
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n{line}\r\n"),
    )
    .status
}

#[test]
fn an_admin_listener_with_tokens_takes_nothing_without_one() {
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let tokens = path.join("tokens");
    fs::write(&tokens, format!("{TOKEN}\n")).unwrap();
    let config = Setup::of(&origin.address())
        // Every address of this machine: other machines reach it.
        .set("admin.listen", "'0.0.0.0:0'")
        .set("admin.token_file", &format!("'{}'", tokens.display()))
        .in_process();
    let node = Node::start(&path.join("tidegate.toml"), &config);
    let port = node.address("admin").rsplit(':').next().unwrap().to_owned();
    let admin = format!("127.0.0.1:{port}");
    for (method, page) in [
        ("GET", "/health"),
        ("GET", "/health/handshakes"),
        ("GET", "/metrics"),
        ("GET", "/dashboard"),
        ("GET", "/events"),
        ("GET", "/history"),
        ("GET", "/nowhere"),
        ("POST", "/purge?all"),
        ("POST", "/backends/o/x/drain"),
        ("GET", "/explain?url=http://www.example.com/"),
    ] {
        assert_eq!(ask(&admin, method, page, None), 401, "{page}");
        assert_eq!(ask(&admin, method, page, Some("wrong")), 401, "{page}");
    }
    assert_eq!(ask(&admin, "GET", "/health", Some(TOKEN)), 200);
    assert_eq!(ask(&admin, "POST", "/purge?all", Some(TOKEN)), 200);
    assert_eq!(
        (ask(&admin, "GET", "/live", None), ask(&admin, "GET", "/ready", None)),
        (200, 200)
    );
    let refused = once(&admin, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(refused.field("www-authenticate").starts_with("Bearer"), "{refused:?}");
    // The subcommands.
    let file = tokens.to_str().unwrap();
    for (arguments, code) in [
        (&["purge", "--all", "--admin", &admin][..], 1),
        (&["purge", "--all", "--admin", &admin, "--token-file", file], 0),
        (&["doctor", "--admin", &admin, "--json"], 2),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {}", outcome.text());
    }
    let report = run(&["doctor", "--admin", &admin, "--token-file", file, "--json"]);
    assert!(report.stdout.starts_with("{\"schema\":1"), "{}", report.text());
    let mut with_variable = tests::tidegate::command(&["backend", "--admin", &admin]);
    with_variable.env("TIDEGATE_ADMIN_TOKEN", TOKEN);
    assert_eq!(tests::process::run_to_end(with_variable).code, 0);
    // Another token, while it runs; then nonsense, which changes nothing.
    fs::write(&tokens, "another-token-0123456789\n").unwrap();
    eventually("the new token is taken", || {
        ask(&admin, "GET", "/health", Some("another-token-0123456789")) == 200
    });
    assert_eq!(ask(&admin, "GET", "/health", Some(TOKEN)), 401);
    fs::write(&tokens, "short\n").unwrap();
    node.process.wait_for_line("old tokens are kept", |line| {
        line.contains("what was read before stays")
    });
    assert_eq!(ask(&admin, "GET", "/health", Some("another-token-0123456789")), 200);
}

#[test]
fn an_admin_listener_on_a_unix_socket_serves_the_subcommands() {
    let origin = Origin::start(|_| tests::script::Script::cacheable("hello"));
    let (_folder, path) = folder();
    let socket = format!("unix:{}", path.join("admin.sock").display());
    let config = Setup::of(&origin.address())
        .set("admin.listen", &format!("'{socket}'"))
        .in_process();
    let node = Node::start(&path.join("tidegate.toml"), &config);
    assert_eq!(once(node.address("front"), get("/")).status, 200);
    for arguments in [
        &["purge", "--all", "--admin", &socket][..],
        &["backend", "--admin", &socket],
        &["backend", "o", &origin.address(), "drain", "--admin", &socket],
        &["explain", "http://www.example.com/", "--admin", &socket],
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.text());
    }
    let doctor = run(&["doctor", "--admin", &socket, "--json"]);
    assert!(doctor.stdout.contains("\"state\":\"draining\""), "{}", doctor.text());
}

#[test]
fn an_address_that_others_reach_needs_a_token_or_certificates() {
    let (_folder, path) = folder();
    let tokens = path.join("tokens");
    let setup = Setup::of("127.0.0.1:9").set("admin.listen", "'0.0.0.0:0'");
    let with_tokens = setup
        .clone()
        .set("admin.token_file", &format!("'{}'", tokens.display()));
    let check = |setup: &Setup| run(&["check", "-c", &write_config(&path, &setup.in_process())]);
    let bare = check(&setup);
    assert_eq!(bare.code, 1, "{}", bare.text());
    bare.expect_one_line_about("admin.listen: other machines reach 0.0.0.0:0");
    let ca_alone = check(&setup.set("admin.client_ca", "'/etc/ca.pem'"));
    assert_eq!(ca_alone.code, 1, "{}", ca_alone.text());
    ca_alone.expect_one_line_about("admin.client_ca: means nothing without admin.tls");
    for (content, code, culprit) in [
        (None, 1, "admin.token_file: "),
        (Some(""), 1, "there is no token in it"),
        (Some("\nshort\n"), 1, "line 2 is no token of 16"),
        (Some(TOKEN), 0, "configuration is valid"),
    ] {
        if let Some(content) = content {
            fs::write(&tokens, content).unwrap();
        }
        let outcome = check(&with_tokens);
        assert_eq!(outcome.code, code, "{content:?}: {}", outcome.text());
        outcome.expect_one_line_about(culprit);
    }
}

#[test]
fn an_admin_listener_with_client_certificates_takes_only_those() {
    let Some(mut curl) = installed("curl") else { return };
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let server = Made::ecdsa(&["admin.example"]).write(&path, "server");
    let known = Made::ecdsa(&["operator.example"]).write(&path, "known");
    let stranger = Made::ecdsa(&["operator.example"]).write(&path, "stranger");
    let config = Setup::of(&origin.address())
        .set("tls.admin.certificates", &format!("[{}]", server.entry()))
        .set("admin.listen", "'0.0.0.0:0'")
        .set("admin.tls", "'admin'")
        // A certificate that is its own authority.
        .set("admin.client_ca", &format!("'{}'", known.certificate.display()))
        .in_process();
    let node = Node::start(&path.join("tidegate.toml"), &config);
    let port = node.address("admin").rsplit(':').next().unwrap().to_owned();
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--max-time",
        "20",
        "--http1.1",
    ]);
    curl.args(["--resolve", &format!("admin.example:{port}:127.0.0.1"), "--cacert"]);
    curl.arg(&server.certificate)
        .arg(format!("https://admin.example:{port}/live"));
    let code = |files: Option<&Files>| {
        let mut asked = std::process::Command::new(curl.get_program());
        asked.args(curl.get_args());
        if let Some(files) = files {
            asked.arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
        }
        String::from_utf8(asked.output().unwrap().stdout).unwrap()
    };
    assert_eq!(code(Some(&known)), "200");
    assert_eq!(code(Some(&stranger)), "000", "the handshake fails");
    assert_eq!(code(None), "000", "the handshake fails");
}

/// A process whose admin listener wants TLS, a certificate and a token, and what shows and proves each of them.
struct Guarded {
    _folder: tempfile::TempDir,
    _node: Node,
    origin: Origin,
    admin: String,
    prove: Vec<String>,
    known: Vec<String>,
    stranger: Vec<String>,
    token: Vec<String>,
}

impl Guarded {
    fn start() -> Self {
        let origin = Origin::start(|_| tests::script::Script::cacheable("hello"));
        let (folder, path) = folder();
        let server = Made::ecdsa(&["admin.example"]).write(&path, "server");
        let known = Made::ecdsa(&["operator.example"]).write(&path, "known");
        let stranger = Made::ecdsa(&["operator.example"]).write(&path, "stranger");
        let tokens = path.join("tokens");
        fs::write(&tokens, format!("{TOKEN}\n")).unwrap();
        let config = Setup::of(&origin.address())
            .set("tls.admin.certificates", &format!("[{}]", server.entry()))
            .set("admin.tls", "'admin'")
            .set("admin.client_ca", &format!("'{}'", known.certificate.display()))
            .set("admin.token_file", &format!("'{}'", tokens.display()))
            .in_process();
        let node = Node::start(&path.join("tidegate.toml"), &config);
        assert_eq!(once(node.address("front"), get("/")).status, 200);
        let words = |words: &[&dyn std::fmt::Display]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let show = |files: &Files| words(&[&"--cert", &files.certificate.display(), &"--key", &files.key.display()]);
        Self {
            admin: format!("https://{}", node.address("admin")),
            prove: words(&[
                &"--ca",
                &server.certificate.display(),
                &"--server-name",
                &"admin.example",
            ]),
            known: show(&known),
            stranger: show(&stranger),
            token: words(&[&"--token-file", &tokens.display()]),
            _folder: folder,
            _node: node,
            origin,
        }
    }

    fn ask(&self, words: &[&str], with: &[&[String]]) -> tests::process::Outcome {
        let mut arguments = words.to_vec();
        arguments.extend(["--admin", self.admin.as_str()]);
        arguments.extend(with.iter().flat_map(|with| with.iter()).map(String::as_str));
        run(&arguments)
    }
}

#[test]
fn the_subcommands_reach_an_admin_listener_that_speaks_tls() {
    let guarded = Guarded::start();
    let Guarded {
        origin,
        prove,
        known,
        token,
        ..
    } = &guarded;
    for words in [
        &["doctor", "--json"][..],
        &["purge", "--all"],
        &["backend"],
        &["backend", "o", &origin.address(), "drain"],
        &["explain", "http://www.example.com/"],
    ] {
        let outcome = guarded.ask(words, &[prove, known, token]);
        // The doctor of a machine on which other tests run may have findings.
        let expected = if words[0] == "doctor" { 0..=1 } else { 0..=0 };
        assert!(expected.contains(&outcome.code), "{words:?}: {}", outcome.text());
    }
    let report = guarded.ask(&["doctor", "--json"], &[prove, known, token]);
    assert!(report.stdout.contains("\"state\":\"draining\""), "{}", report.text());
}

#[test]
fn who_cannot_prove_who_it_is_does_not_reach_the_admin_listener() {
    let guarded = Guarded::start();
    let Guarded {
        prove,
        known,
        stranger,
        token,
        ..
    } = &guarded;
    for (with, told) in [
        // A certificate that nobody vouches for, or that is for another name; none of our own, a stranger's; no token.
        (&[&known[..], token][..], "TLS handshake: "),
        (&[&prove[..2], known, token], "TLS handshake: "),
        (&[prove, token], "CertificateRequired"),
        (&[prove, stranger, token], "alert"),
        (&[prove, known], "token"),
    ] {
        let outcome = guarded.ask(&["doctor"], with);
        assert_eq!(outcome.code, 2, "{with:?}: {}", outcome.text());
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    }
    // Without TLS there is nothing to prove.
    let plain = run(&["doctor", "--admin", "127.0.0.1:9", "--ca", &prove[1]]);
    assert_eq!(plain.code, 2, "{}", plain.text());
    plain.expect_one_line_about("https://");
}
