//! TLS towards clients: which certificate, how handshakes fail, renewal while running, redirects to https.

use std::path::Path;

use tests::certificates::{Files, Made};
use tests::client::{Client, get, once};
use tests::origin::Origin;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder, run, write_config};
use tests::tls::Tls;
use tests::wait::eventually;

const ASK: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
const HANDSHAKES: &str = "tidegate_tls_handshakes_total";
const FAILURES: &str = "tidegate_tls_handshake_failures_total";

/// A front that speaks TLS with these certificates.
fn setup(origin: &Origin, files: &[Files]) -> Setup {
    let entries: Vec<_> = files.iter().map(Files::entry).collect();
    Setup::of(&origin.address())
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{}]", entries.join(", ")))
        .set("tls.test.reload_every", "'100ms'")
}

fn one(folder: &Path) -> (Made, Files) {
    let made = Made::ecdsa(&["www.example.com"]);
    let files = made.write(folder, "www");
    (made, files)
}

#[test]
fn the_name_decides_which_certificate_a_client_gets() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let made = [
        Made::ecdsa(&["www.example.com"]),
        Made::rsa(&["*.img.example.com"]),
        Made::ecdsa(&["a.img.example.com"]),
    ];
    let files: Vec<_> = made
        .iter()
        .enumerate()
        .map(|(i, made)| made.write(&path, &i.to_string()))
        .collect();
    let tidegate = setup(&origin, &files).start();
    for (name, expected) in [
        ("www.example.com", 0),
        ("b.img.example.com", 1),
        ("a.img.example.com", 2),
        ("b.b.img.example.com", 0),
        ("unknown.example", 0),
    ] {
        let client = Tls::offering(&[]).connect(tidegate.address(), name).unwrap();
        assert_eq!(client.certificate(), made[expected].der, "{name}");
    }
}

#[test]
fn a_request_over_tls_is_answered_and_the_origin_hears_of_https() {
    let (_folder, path) = folder();
    let origin = Origin::start(|request| Script::ok(request.field("x-forwarded-proto").unwrap_or("none")));
    let tidegate = setup(&origin, &[one(&path).1]).start();
    for (tls, version) in [(Tls::offering(&[]), "1.3"), (Tls::old(), "1.2")] {
        let client = tls.connect(tidegate.address(), "www.example.com").unwrap();
        let answer = client.ask_once(ASK);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhttps"),
            "{answer}"
        );
        let labels = format!(r#"version="{version}",resumed="no""#);
        assert_eq!(tidegate.metric(HANDSHAKES, &labels), 1);
    }
    assert_eq!(tidegate.metric(FAILURES, ""), 0);
}

#[test]
fn the_protocol_is_the_best_that_both_know() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let files = one(&path).1;
    let listen = "[{ address = '127.0.0.1:0', tls = 'test', http2 = false }]";
    let both = setup(&origin, std::slice::from_ref(&files)).start();
    let only_1 = setup(&origin, &[files]).set("front.listen", listen).start();
    for (tidegate, offered, expected) in [
        (&both, &["http/1.1", "h2"][..], Some("h2")),
        (&both, &["http/1.1"], Some("http/1.1")),
        (&both, &[], None),
        (&only_1, &["http/1.1", "h2"], Some("http/1.1")),
    ] {
        let client = Tls::offering(offered)
            .connect(tidegate.address(), "www.example.com")
            .unwrap();
        assert_eq!(client.protocol(), expected, "{offered:?}");
    }
}

#[test]
fn a_session_is_resumed_with_its_ticket() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin, &[one(&path).1]).start();
    for (tls, version) in [(Tls::offering(&[]), "1.3"), (Tls::old(), "1.2")] {
        for is_resumed in [false, true] {
            let client = tls.connect(tidegate.address(), "www.example.com").unwrap();
            assert_eq!(client.is_resumed(), is_resumed, "{version}");
            client.ask_once(ASK);
        }
        assert_eq!(
            tidegate.metric(HANDSHAKES, &format!(r#"version="{version}",resumed="yes""#)),
            1
        );
    }
}

#[test]
fn what_is_no_handshake_is_refused_and_counted_and_others_notice_nothing() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let setup = setup(&origin, &[one(&path).1]).set("tls.test.unknown_name", "'refuse'");
    let tidegate = setup.start();
    let failures = |cause: &str, count: u64| {
        tidegate.expect_metric_of_at_least(FAILURES, &format!(r#"cause="{cause}""#), count);
    };

    let plain = once(tidegate.address(), get("/"));
    assert_eq!(plain.status, 400);
    assert!(
        plain.text().contains("plain HTTP was sent to a TLS port") && plain.says_close(),
        "{}",
        plain.text()
    );
    failures("plain_http", 1);

    for garbage in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\x00\x01\x02",
        b"\x16\x03\x01\xff\xff\x01",
    ] {
        let mut client = Client::connect(tidegate.address());
        client.send(garbage);
        client.half_close();
        client.wait_for_end();
    }
    failures("malformed", 2);

    drop(Client::connect(tidegate.address()));
    failures("client_gone", 1);

    let unknown = Tls::offering(&[]).connect(tidegate.address(), "unknown.example");
    assert!(unknown.is_err());
    failures("unknown_name", 1);

    let client = Tls::offering(&[])
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    assert!(client.ask_once(ASK).ends_with("hello"));
}

#[test]
fn handshakes_have_an_end_and_a_limit() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let files = one(&path).1;
    let hasty = setup(&origin, std::slice::from_ref(&files))
        .set("tls.test.handshake_timeout", "'50ms'")
        .start();
    let mut silent = Client::connect(hasty.address());
    silent.expect_closed();
    hasty.expect_metric_of_at_least(FAILURES, r#"cause="timeout""#, 1);

    let narrow = setup(&origin, &[files]).set("tls.test.handshakes_max", "1").start();
    let silent = Client::connect(narrow.address());
    eventually("the silent one has the only place", || {
        narrow.metric("tidegate_tls_handshakes_running", "") == 1
    });
    Client::connect(narrow.address()).expect_closed();
    narrow.expect_metric_of_at_least(FAILURES, r#"cause="limit""#, 1);
    drop(silent);
    eventually("the place is free again", || {
        narrow.metric("tidegate_tls_handshakes_running", "") == 0
    });
    assert!(Tls::offering(&[]).connect(narrow.address(), "www.example.com").is_ok());
}

#[test]
fn renewed_certificates_are_taken_over_and_bad_ones_are_not() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let (old, files) = one(&path);
    let tidegate = setup(&origin, std::slice::from_ref(&files)).start();
    let served = |tidegate: &Tidegate| {
        let client = Tls::offering(&[])
            .connect(tidegate.address(), "www.example.com")
            .unwrap();
        client.certificate().to_vec()
    };
    let keep_alive = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    let mut open = Tls::offering(&[])
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    assert!(open.ask(keep_alive, "hello").starts_with("HTTP/1.1 200"));

    std::fs::write(&files.certificate, "garbage").unwrap();
    tidegate.expect_metric_of_at_least("tidegate_tls_reloads_total", r#"result="failed""#, 1);
    assert_eq!(served(&tidegate), old.der, "the old one stays");
    tidegate
        .front
        .process
        .wait_for_line("the file that is bad is named", |line| line.contains("www.pem"));

    let new = Made::ecdsa(&["www.example.com"]);
    new.write(&path, "www");
    eventually("the new one is served", || served(&tidegate) == new.der);
    assert!(
        open.ask(keep_alive, "hello").starts_with("HTTP/1.1 200"),
        "open connections go on"
    );
}

#[test]
fn certificates_that_cannot_be_used_are_named_before_anything_is_bound() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let good = one(&path).1;
    let other = Made::ecdsa(&["www.example.com"]).write(&path, "other");
    let expired = Made::expired(&["www.example.com"]).write(&path, "expired");
    let missing = Files {
        certificate: path.join("missing.pem"),
        key: good.key.clone(),
    };
    let swapped = Files {
        certificate: good.certificate,
        key: other.key,
    };
    for (files, name, what) in [
        (swapped, "other.key", "is not the key of the certificate"),
        (expired, "expired.pem", "has expired"),
        (missing, "missing.pem", "No such file"),
    ] {
        let config = write_config(&path, &setup(&origin, &[files]).in_process());
        for (arguments, code) in [(["check", "-c", &config], 1), (["run", "-c", &config], 78)] {
            let outcome = run(&arguments);
            assert_eq!(outcome.code, code, "{}", outcome.text());
            assert!(
                outcome.stderr.contains(name) && outcome.stderr.contains(what),
                "{}",
                outcome.text()
            );
        }
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_about_and_counted() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let files = [(13, "soon"), (15, "later")]
        .map(|(days, name)| Made::expiring(&[&format!("{name}.example")], days).write(&path, name));
    let setup = setup(&origin, &files);
    let outcome = run(&["check", "-c", &write_config(&path, &setup.in_process())]);
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    let warned = |text: &str, name: &str| text.lines().any(|line| line.contains(name) && line.contains("expires"));
    assert!(warned(&outcome.stderr, "soon.pem") && !warned(&outcome.stderr, "later.pem"));
    let tidegate = setup.start();
    assert_eq!(
        tidegate.metric("tidegate_tls_certificates_expiring", r#"tls="test""#),
        1
    );
    let log = tidegate.front.process.log();
    assert!(warned(&log, "soon.pem") && !warned(&log, "later.pem"), "{log}");
}

#[test]
fn keys_are_exchanged_so_that_no_quantum_computer_reads_them_later() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin, &[one(&path).1]).start();
    let client = Tls::offering(&[])
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    assert_eq!(client.group(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn http_is_redirected_and_https_is_marked() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let listen = "[{ address = '127.0.0.1:0', redirect_https = true }, \
                  { address = '127.0.0.2:0', tls = 'test', hsts = '365d' }]";
    let tidegate = setup(&origin, &[one(&path).1]).set("front.listen", listen).start();
    let moved = tidegate.get("/a?b=c");
    assert_eq!(
        (moved.status, moved.field("location")),
        (308, "https://www.example.com/a?b=c")
    );
    assert!(!moved.has("strict-transport-security"));
    assert_eq!(origin.connections(), 0);
    let address = tidegate.front.address_of("127.0.0.2:0");
    let answer = Tls::offering(&[])
        .connect(address, "www.example.com")
        .unwrap()
        .ask_once(ASK);
    assert!(
        answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"),
        "{answer}"
    );
}

#[test]
fn curl_and_openssl_are_served() {
    let (_folder, path) = folder();
    let origin = Origin::start(|request| match request.method() {
        "POST" => Script::ok(format!("got {} bytes", request.content.bytes)),
        _ => Script::cacheable("x".repeat(1 << 20)),
    });
    let (_, files) = one(&path);
    let tidegate = setup(&origin, std::slice::from_ref(&files)).start();
    let upload = path.join("upload");
    std::fs::write(&upload, vec![b'x'; 3 << 20]).unwrap();
    let port = tidegate.address().rsplit(':').next().unwrap();
    for version in ["--http1.1", "--http2"] {
        for (arguments, expected) in [
            (
                vec!["--output".to_owned(), path.join("out").display().to_string()],
                "200 1048576",
            ),
            (
                vec!["--data-binary".to_owned(), format!("@{}", upload.display())],
                "got 3145728 bytes200 17",
            ),
        ] {
            let Some(mut curl) = installed("curl") else { return };
            curl.args([
                "--silent",
                "--show-error",
                "--max-time",
                "30",
                "--noproxy",
                "*",
                version,
                "--cacert",
            ]);
            curl.arg(&files.certificate);
            curl.args(["--resolve", &format!("www.example.com:{port}:127.0.0.1")]);
            curl.args(["--write-out", "%{http_code} %{size_download}"])
                .args(&arguments);
            let output = curl.arg(format!("https://www.example.com:{port}/")).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(text, expected, "{version}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let Some(mut openssl) = installed("openssl") else {
        return;
    };
    openssl.args([
        "s_client",
        "-connect",
        tidegate.address(),
        "-servername",
        "www.example.com",
        "-CAfile",
    ]);
    let output = openssl
        .arg(&files.certificate)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Verify return code: 0 (ok)") && text.contains("TLS_AES_128_GCM_SHA256"),
        "{text}"
    );
}
