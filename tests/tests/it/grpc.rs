//! gRPC by its own library (Python's grpcio, Debian's python3-grpcio) on both sides. Skipped aloud where that is missing.

use std::path::Path;
use std::process::Command;

use tests::certificates::Made;
use tests::process::{Process, run_to_end};
use tests::programs::skipped;
use tests::setup::{Setup, in_both_shapes};
use tests::tidegate::{Tidegate, folder};

const SAID: &str = "unary True 5 OK\n\
                    large True 2000000 OK\n\
                    empty True 0 OK\n\
                    refused [] NOT_FOUND no such thing\n\
                    unknown [] UNIMPLEMENTED Method not found!\n\
                    broken off [b'first'] DATA_LOSS broke off\n\
                    counted 1000 b'999'\n\
                    joined b'a+b+c'\n\
                    overlapping [b'0', b'1', b'2'] [] OK\n\
                    taken back b'waiting'\n\
                    late [b'waiting'] DEADLINE_EXCEEDED Deadline Exceeded\n";

/// A Python that has the library: the system's, where another one comes first in the path.
fn python() -> Option<&'static str> {
    let has_library = |python: &&str| {
        let mut command = Command::new(python);
        let output = command.args(["-c", "import grpc"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_library);
    if found.is_none() {
        skipped("no Python here has grpcio (python3-grpcio)");
    }
    found
}

fn script(python: &str, name: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new(python);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/grpc");
    command.arg(folder.join(name)).args(arguments);
    command
}

/// The server, and its port.
fn serve(command: Command) -> (Process, String) {
    let server = Process::spawn(command);
    server.wait_for_line("its port", |line| line.starts_with("port "));
    let port = server.log().split(' ').nth(1).unwrap().to_owned();
    (server, port)
}

fn check(tidegate: &Tidegate, server: &Process, client: Command) {
    let outcome = run_to_end(client);
    assert_eq!(outcome.stdout, SAID, "{}", outcome.stderr);
    // The one that was cancelled, and the one whose time was over.
    server.wait_for_line("calls were taken back", |line| line == "taken back");
    tidegate.wait_until_no_backend_is_busy();
    let failed = tidegate.metric("tidegate_responses_total", r#"class="5xx""#);
    assert_eq!(failed, 0);
}

#[test]
fn calls_of_every_kind_pass_in_plain_text() {
    let Some(python) = python() else { return };
    // Between front and cache server HTTP/1.1 is spoken: there, too, both directions flow at once and trailers pass.
    in_both_shapes(|shape| {
        let (server, port) = serve(script(python, "server.py", &[]));
        let tidegate = Setup::of(&format!("127.0.0.1:{port}"))
            .shape(shape)
            .set("front.listen", "[{ address = '127.0.0.1:0', http2 = true }]")
            .set("origin.o.protocol", "'http2'")
            .start();
        let client = script(python, "client.py", &[Path::new(tidegate.address())]);
        check(&tidegate, &server, client);
    });
}

#[test]
fn calls_of_every_kind_pass_with_tls_on_both_sides() {
    let Some(python) = python() else { return };
    let (_folder, path) = folder();
    let ours = Made::ecdsa(&["www.example.com"]).write(&path, "ours");
    let theirs = Made::ecdsa(&["127.0.0.1"]).write(&path, "theirs");
    let (server, port) = serve(script(python, "server.py", &[&theirs.certificate, &theirs.key]));
    let tidegate = Setup::of(&format!("https://127.0.0.1:{port}"))
        .set("front.listen", "[{ address = '127.0.0.1:0', tls = 'test' }]")
        .set("tls.test.certificates", &format!("[{}]", ours.entry()))
        .set("origin.o.protocol", "'auto'")
        .set("origin.o.tls.roots", &format!("'{}'", theirs.certificate.display()))
        .start();
    let client = script(python, "client.py", &[Path::new(tidegate.address()), &ours.certificate]);
    check(&tidegate, &server, client);
}
