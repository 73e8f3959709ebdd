//! TLS towards origins: which name is asked for, whose certificate is believed, how handshakes fail, sessions, clients'
//! certificates, the end of a response.

use std::path::Path;

use tests::certificates::Made;
use tests::client::get;
use tests::message::Response;
use tests::origin::Origin;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder, run, write_config};
use tests::tls_origin::{Close, Kind, TlsOrigin};
use tests::wait::eventually;

/// The name that a literal address has to prove.
const HERE: &[&str] = &["127.0.0.1"];

fn setup(server: &str, roots: &Path) -> Setup {
    Setup::of(server)
        .uncached()
        .set("origin.o.tls.roots", &format!("'{}'", roots.display()))
        .set("origin.o.ejection.failures", "0")
}

fn errors(tidegate: &Tidegate, word: &str) -> u64 {
    tidegate.metric("tidegate_backend_errors_total", &format!(r#"error="{word}""#))
}

#[track_caller]
fn expect_error(response: &Response, status: u16, word: &str) {
    let told = response.field("proxy-status");
    assert!(response.status == status && told.contains(word), "{response:?}");
}

#[test]
fn a_request_goes_to_an_origin_over_tls_and_so_does_the_next_one_on_the_same_connection() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(HERE);
    let origin = TlsOrigin::start(&Kind::hello(&made));
    let tidegate = setup(&origin.url(), &made.write(&path, "o").certificate).start();
    for _ in 0..3 {
        assert_eq!(tidegate.get("/").text(), "hello");
    }
    let seen = origin.seen();
    assert_eq!(
        (seen.names.len(), seen.heads.len(), seen.names[0].as_str()),
        (1, 3, ""),
        "no SNI for an address"
    );
    assert_eq!(seen.protocols, ["http/1.1"]);
    assert_eq!(
        tidegate.metric("tidegate_backend_tls_handshakes_total", r#"kind="full""#),
        1
    );
    assert_eq!(tidegate.metric("tidegate_backend_tls_seconds_count", ""), 1);
    assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="busy""#), 0);
}

#[test]
fn the_name_of_a_server_is_asked_for_and_may_be_another_one() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(&["localhost", "origin.example"]);
    let origin = TlsOrigin::start(&Kind::hello(&made));
    let roots = made.write(&path, "o").certificate;
    let named = format!("https://localhost:{}", origin.port());
    for (server, name, expected) in [
        (&named, None, "localhost"),
        (&named, Some("origin.example"), "origin.example"),
        (&origin.url(), Some("origin.example"), "origin.example"),
    ] {
        let mut setup = setup(server, &roots);
        if let Some(name) = name {
            setup = setup.set("origin.o.tls.server_name", &format!("'{name}'"));
        }
        assert_eq!(setup.start().get("/").text(), "hello");
        assert_eq!(origin.seen().names.last().map(String::as_str), Some(expected));
    }
}

#[test]
fn a_certificate_that_is_not_good_is_refused_and_named_so() {
    let (_folder, path) = folder();
    let (good, other) = (Made::ecdsa(HERE), Made::ecdsa(HERE));
    let (expired, misnamed) = (Made::expired(HERE), Made::ecdsa(&["other.example"]));
    for (what, shown, believed) in [
        ("expired", &expired, &expired),
        ("for another name", &misnamed, &misnamed),
        ("of an unknown issuer", &good, &other),
    ] {
        let origin = TlsOrigin::start(&Kind::hello(shown));
        let roots = believed.write(&path, "roots").certificate;
        let tidegate = setup(&origin.url(), &roots).start();
        expect_error(&tidegate.get("/"), 502, "tls_certificate_error");
        assert_eq!(errors(&tidegate, "tls_certificate_error"), 1, "{what}");
        assert_eq!(origin.seen().heads.len(), 0, "{what}: nothing was sent");
        assert_eq!(tidegate.metric("tidegate_backend_connections", r#"state="busy""#), 0);

        let careless = Setup::of(&origin.url())
            .uncached()
            .set("origin.o.tls.verify", "false")
            .start();
        assert_eq!(careless.get("/").text(), "hello", "{what}");
        let log = careless.front.process.log();
        assert!(log.contains("certificates are NOT checked"), "{log}");
    }
}

#[test]
fn a_server_that_wants_a_certificate_gets_ours_or_says_that_it_misses_it() {
    let (_folder, path) = folder();
    let (made, us) = (Made::ecdsa(HERE), Made::ecdsa(&[]));
    let origin = TlsOrigin::start(&Kind {
        clients: Some(&us),
        ..Kind::hello(&made)
    });
    let setup = setup(&origin.url(), &made.write(&path, "o").certificate);
    let without = setup.start();
    expect_error(&without.get("/"), 502, "tls_alert_received");
    let with = setup
        .set("origin.o.tls.certificate", &us.write(&path, "us").entry())
        .start();
    assert_eq!(with.get("/").text(), "hello");
    assert_eq!(origin.seen().clients, [us.der]);
}

#[test]
fn what_is_no_tls_is_a_protocol_error_and_what_never_comes_a_timeout() {
    let (_folder, path) = folder();
    let roots = Made::ecdsa(HERE).write(&path, "o").certificate;
    let plain = Origin::at_accept(|_| tests::script::Script::says("HTTP/1.1 400 Bad Request\r\n\r\n").hold());
    let tidegate = setup(&format!("https://{}", plain.address()), &roots).start();
    expect_error(&tidegate.get("/"), 502, "tls_protocol_error");
    let silent = Origin::at_accept(|_| tests::script::Script::new().hold());
    let tidegate = setup(&format!("https://{}", silent.address()), &roots)
        .set("origin.o.connect_timeout", "'200ms'")
        .start();
    expect_error(&tidegate.get("/"), 504, "connection_timeout");
    let closing = Origin::at_accept(|_| tests::script::Script::new().close());
    let tidegate = setup(&format!("https://{}", closing.address()), &roots).start();
    expect_error(&tidegate.get("/"), 502, "connection_terminated");
}

#[test]
fn sessions_are_resumed() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(HERE);
    let origin = TlsOrigin::start(&Kind {
        answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        ..Kind::hello(&made)
    });
    let tidegate = setup(&origin.url(), &made.write(&path, "o").certificate).start();
    for _ in 0..4 {
        assert_eq!(tidegate.get("/").text(), "hello");
    }
    assert_eq!(origin.seen().resumed, 3);
    assert_eq!(
        tidegate.metric("tidegate_backend_tls_handshakes_total", r#"kind="resumed""#),
        3
    );
}

#[test]
fn a_response_that_ends_with_the_connection_is_whole_only_when_tls_says_so() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(HERE);
    let roots = made.write(&path, "o").certificate;
    for (close, is_whole) in [(Close::InOrder, true), (Close::Abruptly, false)] {
        let origin = TlsOrigin::start(&Kind {
            answer: "HTTP/1.1 200 OK\r\n\r\nhello",
            close,
            ..Kind::hello(&made)
        });
        let tidegate = setup(&origin.url(), &roots).start();
        let mut client = tidegate.client();
        client.send(get("/"));
        let response = client.try_read_answer_to(get("/"));
        let whole = response.is_ok_and(|response| response.status == 200 && response.text() == "hello");
        assert_eq!(whole, is_whole, "{close:?}");
        assert_eq!(
            errors(&tidegate, "http_response_incomplete"),
            u64::from(!is_whole),
            "{close:?}"
        );
    }
}

#[test]
fn health_checks_speak_tls_too() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(HERE);
    let origin = TlsOrigin::start(&Kind::hello(&made));
    let roots = made.write(&path, "o").certificate;
    let healthy = setup(&origin.url(), &roots)
        .set("origin.o.health.path", "'/up'")
        .set("origin.o.health.interval", "'20ms'")
        .start();
    eventually("it is asked", || origin.seen().heads.len() > 3);
    assert_eq!(healthy.metric("tidegate_backend_server_state", r#"state="up""#), 1);
    let other = Made::ecdsa(HERE).write(&path, "other").certificate;
    let wary = setup(&origin.url(), &other)
        .set("origin.o.health.interval", "'20ms'")
        .start();
    let is_unhealthy = || wary.metric("tidegate_backend_server_state", r#"state="unhealthy""#) == 1;
    eventually("a certificate that is not believed is ill health", is_unhealthy);
}

#[test]
fn certificates_that_change_are_taken_over_while_running() {
    let (_folder, path) = folder();
    let (made, other) = (Made::ecdsa(HERE), Made::ecdsa(HERE));
    let origin = TlsOrigin::start(&Kind::hello(&made));
    let roots = other.write(&path, "roots").certificate;
    let tidegate = setup(&origin.url(), &roots).set("origin.o.retries", "0").start();
    expect_error(&tidegate.get("/"), 502, "tls_certificate_error");
    made.write(&path, "roots");
    eventually("the new root is believed", || tidegate.get("/").status == 200);
}

#[test]
fn what_is_wrong_with_the_files_is_told_by_check() {
    let (_folder, path) = folder();
    let (us, other) = (
        Made::ecdsa(&[]).write(&path, "us"),
        Made::ecdsa(&[]).write(&path, "other"),
    );
    let config = |tls: &str| {
        let text = format!(
            "[front]\nlisten = ['127.0.0.1:0']\n[origin.o]\nservers = ['https://127.0.0.1:1']\ntls = {{ {tls} }}\n\
             [[site]]\ndefault = true\norigin = 'o'\n"
        );
        write_config(&path, &text)
    };
    let missing = format!("roots = '{}'", path.join("none.pem").display());
    let no_root = format!("roots = '{}'", us.key.display());
    let mixed = format!(
        "certificate = {{ certificate = '{}', key = '{}' }}",
        us.certificate.display(),
        other.key.display()
    );
    for (tls, said) in [
        (missing.as_str(), "none.pem: No such file"),
        (no_root.as_str(), "holds no certificate in PEM"),
        (mixed.as_str(), "is not the key of the certificate in"),
    ] {
        let file = config(&format!("{tls}, server_name = 'a.example'"));
        let outcome = run(&["check", "-c", &file]);
        let text = outcome.text();
        assert!(
            outcome.code == 1 && text.contains("origin.o.tls: ") && text.contains(said),
            "{text}"
        );
    }
}

#[test]
fn connections_that_are_made_ahead_are_good_for_the_first_request() {
    let (_folder, path) = folder();
    let made = Made::ecdsa(HERE);
    let origin = TlsOrigin::start(&Kind::hello(&made));
    let tidegate = setup(&origin.url(), &made.write(&path, "o").certificate)
        .set("origin.o.keepalive_min", "2")
        .start();
    let idle = || tidegate.metric("tidegate_backend_connections", r#"state="idle""#);
    eventually("two are ready", || idle() == 2);
    for _ in 0..4 {
        assert_eq!(tidegate.get("/").text(), "hello");
    }
    assert_eq!(tidegate.metric("tidegate_backend_connects_total", ""), 2);
    assert_eq!(origin.seen().heads.len(), 4);
}
