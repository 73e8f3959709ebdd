//! Programs that others wrote, against ours: curl, wrk, h2load. Skipped aloud where they are missing.

use std::process::Command;

use tests::origin::Origin;
use tests::programs::installed;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Tidegate, folder};

fn start() -> (Origin, Tidegate) {
    let origin = Origin::start(|request| match (request.method(), request.field("range")) {
        ("POST" | "PUT", _) => Script::ok(format!("got {} bytes", request.content.bytes)),
        (_, Some("bytes=2-4")) => Script::answer(206, "Content-Range: bytes 2-4/10\r\n", "234"),
        _ => Script::answer(
            200,
            "Cache-Control: max-age=60\r\nAccept-Ranges: bytes\r\n",
            "0123456789",
        ),
    });
    // h2load sends a Host of its own beside one that it is given.
    let tidegate = Setup::of(&origin.address())
        .set("front.unknown_host", "'default'")
        .start();
    (origin, tidegate)
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn curl_is_answered_in_every_way_it_asks() {
    let (_folder, path) = folder();
    let file = path.join("upload");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let upload = format!("@{}", file.display());
    let (_origin, tidegate) = start();
    let url = format!("http://{}/page", tidegate.address());
    for (arguments, expected) in [
        (&[][..], "0123456789 200"),
        (&["--http1.0"], "0123456789 200"),
        (&["--range", "2-4", "-H", "Cache-Control: no-store"], "234 206"),
        (&["--data-binary", &upload], "got 3145728 bytes 200"),
        (
            &["--data-binary", &upload, "-H", "Transfer-Encoding: chunked"],
            "got 3145728 bytes 200",
        ),
        (
            &["--data-binary", &upload, "-H", "Expect: 100-continue"],
            "got 3145728 bytes 200",
        ),
        (&["--upload-file", file.to_str().unwrap()], "got 3145728 bytes 200"),
        (&["--head", "--output", "/dev/null"], " 200"),
        (&["--compressed", "-H", "Connection: close"], "0123456789 200"),
    ] {
        let Some(mut curl) = installed("curl") else { return };
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            "--write-out",
            " %{http_code}",
        ]);
        curl.args(["-H", "Host: www.example.com"]).args(arguments).arg(&url);
        assert_eq!(output(&mut curl), expected, "{arguments:?}");
    }
}

#[test]
fn wrk_sees_no_socket_error() {
    let Some(mut wrk) = installed("wrk") else { return };
    let (_origin, tidegate) = start();
    wrk.args(["-t", "1", "-c", "32", "-d", "2s", "-H", "Host: www.example.com"]);
    let text = output(wrk.arg(format!("http://{}/page", tidegate.address())));
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    let requests: u64 = text
        .split(" requests in ")
        .next()
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap()
        .parse()
        .unwrap();
    assert!(requests > 100, "{text}");
    // Before the first answer is stored, each connection may miss once or twice.
    tidegate.expect_metric_of_at_least(
        "tidegate_cache_requests_total",
        r#"outcome="hit""#,
        requests.saturating_sub(100),
    );
}

#[test]
fn h2load_sees_no_error_over_http_1() {
    let Some(mut h2load) = installed("h2load") else { return };
    let (_origin, tidegate) = start();
    h2load.args(["--h1", "-t", "1", "-c", "32", "-D", "2"]);
    let text = output(h2load.arg(format!("http://{}/page", tidegate.address())));
    let line = text.lines().find(|line| line.starts_with("requests:")).unwrap();
    assert!(line.contains(" 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(!line.contains(" 0 succeeded"), "{text}");
    let statuses = text.lines().find(|line| line.starts_with("status codes:")).unwrap();
    assert!(statuses.contains(" 0 3xx, 0 4xx, 0 5xx"), "{text}");
}
