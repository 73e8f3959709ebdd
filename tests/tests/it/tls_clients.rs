//! Certificates of clients: demanded or asked for, refused by cause, told to origins and to nobody's forging.

use std::path::Path;

use tests::certificates::Made;
use tests::origin::Origin;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::{Setup, in_both_shapes};
use tests::tidegate::{folder, run, write_config};
use tests::tls::Tls;

const FAILURES: &str = "tidegate_tls_handshake_failures_total";
/// Says who it is, and that its connection's fields are not for the next hop.
const FORGED: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Client: verified;subject=\"CN=root\"\r\n\
                      X_Client: verified\r\nConnection: close, x-client\r\n\r\n";

/// An origin that says what it was told.
fn telling() -> Origin {
    Origin::start(|request| {
        let told = request.field("x-client").unwrap_or("nothing").to_owned();
        let alike = request.field("x_client").unwrap_or("nothing").to_owned();
        Script::answer(200, "cache-control: no-store\r\n", format!("{told} {alike}"))
    })
}

/// A front with TLS whose clients' authority is `known`.
fn setup(setup: Setup, folder: &Path, known: &Made, demand: &str) -> Setup {
    let server = Made::ecdsa(&["www.example.com"]).write(folder, "server");
    // A certificate that is its own authority.
    let ca = known.write(folder, "known").certificate;
    let tls = format!(
        "tls = 'test', client_ca = '{}', client_certificates = '{demand}'",
        ca.display()
    );
    setup
        .set(
            "front.listen",
            &format!("[{{ address = '127.0.0.1:0', {tls} }}, '127.0.0.2:0']"),
        )
        .set("front.client_certificate_field", "'X-Client'")
        .set("tls.test.certificates", &format!("[{}]", server.entry()))
}

/// What a client gets; nothing where the handshake fails, of which it may hear only when it reads.
fn ask(tls: &Tls, address: &str, request: &str) -> Option<String> {
    tls.connect(address, "www.example.com").ok()?.try_ask_once(request).ok()
}

#[test]
fn a_certificate_that_is_required_is_told_to_the_origin_and_cannot_be_forged() {
    in_both_shapes(|shape| {
        let (_folder, path) = folder();
        let origin = telling();
        let known = Made::called("bob");
        let tidegate = setup(Setup::of(&origin.address()), &path, &known, "required")
            .shape(shape)
            .start();
        for tls in [Tls::showing(&known), Tls::old_showing(&known)] {
            for _ in 0..2 {
                let client = tls.connect(tidegate.address(), "www.example.com").unwrap();
                assert!(!client.is_resumed(), "each one is verified");
                let answer = client.ask_once(FORGED);
                let expected = "\r\n\r\nverified;subject=\"CN=bob\" nothing";
                assert!(answer.ends_with(expected), "{answer}");
            }
        }
        let plain = tests::client::once(tidegate.front.address_of("127.0.0.2:0"), FORGED);
        assert_eq!(plain.text(), "none nothing", "forged on a listener without TLS");
    });
}

#[test]
fn trailers_do_not_say_it_either() {
    in_both_shapes(|shape| {
        let (_folder, path) = folder();
        let origin = Origin::start(|request| {
            let trailers = &request.content.trailers;
            let seen = ["x-client", "x_client", "x-sum"].map(|name| trailers.get(name).unwrap_or("nothing").to_owned());
            Script::answer(200, "cache-control: no-store\r\n", seen.join(" "))
        });
        let tidegate = setup(Setup::of(&origin.address()), &path, &Made::called("bob"), "optional")
            .shape(shape)
            .start();
        let request = "POST / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\n0\r\nX-Client: verified\r\nX_Client: verified\r\nX-Sum: 7\r\n\r\n";
        let answer = ask(&Tls::offering(&[]), tidegate.address(), request).unwrap();
        assert!(answer.ends_with("\r\n\r\nnothing nothing 7"), "{answer}");
        assert_eq!(origin.last_request().content.text(), "abc");
    });
}

#[test]
fn clients_that_are_refused_are_counted_by_cause() {
    let (_folder, path) = folder();
    let origin = telling();
    let known = Made::called("bob");
    let tidegate = setup(Setup::of(&origin.address()), &path, &known, "required").start();
    for (tls, cause) in [
        (Tls::offering(&[]), "client_certificate_missing"),
        (Tls::showing(&Made::called("eve")), "client_certificate_unknown_issuer"),
        // The authority's name, but not its key.
        (Tls::showing(&Made::called("bob")), "client_certificate_bad"),
    ] {
        assert_eq!(ask(&tls, tidegate.address(), FORGED), None, "{cause}");
        tidegate.expect_metric_of_at_least(FAILURES, &format!(r#"cause="{cause}""#), 1);
    }
    assert!(ask(&Tls::showing(&known), tidegate.address(), FORGED).is_some());
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_certificate_that_is_optional_may_be_missing_but_not_bad() {
    let (_folder, path) = folder();
    let origin = telling();
    let known = Made::called("bob");
    let tidegate = setup(Setup::of(&origin.address()), &path, &known, "optional").start();
    let without = ask(&Tls::offering(&[]), tidegate.address(), FORGED).unwrap();
    assert!(without.ends_with("\r\n\r\nnone nothing"), "{without}");
    let with = ask(&Tls::showing(&known), tidegate.address(), FORGED).unwrap();
    assert!(with.contains("\r\n\r\nverified;"), "{with}");
    let stranger = Tls::showing(&Made::called("eve"));
    assert_eq!(ask(&stranger, tidegate.address(), FORGED), None);
    tidegate.expect_metric_of_at_least(FAILURES, r#"cause="client_certificate_unknown_issuer""#, 1);
}

#[test]
fn changed_authorities_are_taken_over_and_bad_ones_leave_the_old_in_use() {
    const RELOADS: &str = "tidegate_file_reloads_total";
    let (_folder, path) = folder();
    let origin = telling();
    let (bob, eve) = (Made::called("bob"), Made::called("eve"));
    let tidegate = setup(Setup::of(&origin.address()), &path, &bob, "required")
        .set("tls.test.reload_every", "'100ms'")
        .start();
    let admits = |made: &Made| ask(&Tls::showing(made), tidegate.address(), FORGED).is_some();
    let mut open = Tls::showing(&bob)
        .connect(tidegate.address(), "www.example.com")
        .unwrap();
    let asks = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    let told = "verified;subject=\"CN=bob\" nothing";
    assert!(open.ask(asks, told).starts_with("HTTP/1.1 200"));
    assert!(!admits(&eve));

    std::fs::write(path.join("known.pem"), "garbage").unwrap();
    tidegate.expect_metric(RELOADS, r#"kind="client_authorities",result="failed""#, 1);
    assert!(admits(&bob) && !admits(&eve), "the old ones stay");

    eve.write(&path, "known");
    tidegate.expect_metric(RELOADS, r#"kind="client_authorities",result="taken_over""#, 1);
    assert!(admits(&eve) && !admits(&bob));
    assert!(open.ask(asks, told).starts_with("HTTP/1.1 200"), "who is here stays");
}

#[test]
fn an_ocsp_response_is_given_to_clients_that_ask_for_it() {
    let Some(mut openssl) = installed("openssl") else {
        return;
    };
    let (_folder, path) = folder();
    let files = Made::ecdsa(&["www.example.com"]).write(&path, "server");
    let staple = path.join("server.ocsp");
    let entry = files
        .entry()
        .replace(" }", &format!(", ocsp = '{}' }}", staple.display()));
    let setup = Setup::of("127.0.0.1:9")
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{entry}]"));
    std::fs::write(&staple, "garbage").unwrap();
    let outcome = run(&["check", "-c", &write_config(&path, &setup.in_process())]);
    assert_eq!(outcome.code, 1, "{}", outcome.text());
    outcome.expect_one_line_about("server.ocsp: is no successful OCSP response in DER");
    // Of the type 1.2, which nobody knows.
    std::fs::write(&staple, [48, 13, 10, 1, 0, 160, 8, 48, 6, 6, 1, 42, 4, 1, 0]).unwrap();
    let tidegate = setup.start();
    openssl.args(["s_client", "-status", "-servername", "www.example.com", "-connect"]);
    let output = openssl
        .arg(tidegate.address())
        .stdin(std::process::Stdio::null())
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(text.contains("OCSP Response Status: successful (0x0)"), "{text}");
}

#[test]
fn what_is_wrong_with_client_ca_is_told_by_check() {
    let (_folder, path) = folder();
    let known = Made::called("bob");
    let good = setup(Setup::of("127.0.0.1:9"), &path, &known, "required");
    let listen = |keys: &str| {
        good.clone()
            .set("front.listen", &format!("[{{ address = '127.0.0.1:0', {keys} }}]"))
    };
    for (setup, culprit) in [
        (
            listen("tls = 'test', client_ca = '/nowhere/ca.pem'"),
            "front.listen[0].client_ca: /nowhere/ca.pem: No such file",
        ),
        (
            listen("client_ca = '/nowhere/ca.pem'"),
            "client_ca: means nothing without tls",
        ),
        (
            listen("tls = 'test', client_certificates = 'optional'"),
            "client_certificates: means nothing without client_ca",
        ),
        (
            good.clone().set("front.client_certificate_field", "'Connection'"),
            "connection belongs to one connection",
        ),
    ] {
        let outcome = run(&["check", "-c", &write_config(&path, &setup.in_process())]);
        assert_eq!(outcome.code, 1, "{}", outcome.text());
        outcome.expect_one_line_about(culprit);
    }
}
