//! The access log: one line per exchange, in both formats, to file and stdout, reopened on SIGUSR1.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tests::client::{get, request};
use tests::origin::Origin;
use tests::script::Script;
use tests::setup::Setup;
use tests::sys::{SIGTERM, SIGUSR1};
use tests::tidegate::folder;
use tests::wait::eventually;

fn setup(origin: &Origin, to: &str, format: &str) -> Setup {
    Setup::of(&origin.address())
        .set("log.access.to", &format!("'{to}'"))
        .set("log.access.format", &format!("'{format}'"))
        .set("log.access.flush", "'20ms'")
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn wait_for_lines(file: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{} has {count} lines", file.display()), || {
        lines(file).len() >= count
    });
    let lines = lines(file);
    assert_eq!(lines.len(), count, "one line per exchange: {lines:#?}");
    lines
}

#[test]
fn a_json_line_tells_all_about_an_exchange() {
    let (_folder, path) = folder();
    let file = path.join("access.log");
    let origin = Origin::start(|request| match request.path() {
        "/fails" => Script::new().close(),
        _ => Script::cacheable("hello"),
    });
    let setup = setup(&origin, file.to_str().unwrap(), "json").set("process.workers", "1");
    let tidegate = setup.start();
    let lines = "User-Agent: tests/1.0 \"quoted\"\r\nReferer: http://r.example/\r\n";
    let asked = request("GET", "/a?b=c", lines, "");
    let mut client = tidegate.client();
    assert_eq!((client.ask(&asked).status, client.ask(&asked).status), (200, 200));
    assert_eq!(client.get("/fails").status, 502);
    let mut other = tidegate.client();
    other.send("NONSENSE\r\n\r\n");
    other.wait_for_end();

    let lines = wait_for_lines(&file, 4);
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines[..2] {
        expect_the_request(line);
        assert_eq!(line["conn.id"], lines[0]["conn.id"], "the same connection");
    }
    let text = |line: usize, key: &str| lines[line][key].as_str().unwrap_or_default().to_owned();
    assert!(
        text(0, "cache.outcome").contains("uri-miss") && text(1, "cache.outcome").contains("hit"),
        "{lines:?}"
    );
    assert_eq!(
        (text(0, "origin"), text(0, "origin.addr")),
        ("o".to_owned(), origin.address()),
        "{}",
        lines[0]
    );
    assert!(lines[1].get("origin.addr").is_none(), "a hit asks nobody: {}", lines[1]);
    assert!(lines[0]["body_us"].is_u64(), "{}", lines[0]);
    for key in ["connect_us", "first_byte_us", "total_us"] {
        assert!(lines[0][key].as_u64() > Some(0), "{key} in {}", lines[0]);
    }
    assert_eq!(
        (&lines[2]["target"], &lines[2]["status"]),
        (&Value::from("/fails"), &Value::from(502))
    );
    let error = text(2, "error.kind");
    assert!(
        ["http_response_incomplete", "connection_terminated"].contains(&error.as_str()),
        "{}",
        lines[2]
    );
    assert_eq!(
        (&lines[3]["status"], &lines[3]["close"]),
        (&Value::from(400), &Value::from("malformed"))
    );
    let ids: BTreeSet<_> = (0..lines.len()).map(|line| text(line, "req.id")).collect();
    assert!(
        ids.len() == lines.len() && !ids.contains(""),
        "each exchange has an id of its own: {ids:?}"
    );
}

fn expect_the_request(line: &Value) {
    for (key, value) in [
        ("client.addr", "127.0.0.1"),
        ("method", "GET"),
        ("target", "/a?b=c"),
        ("version", "HTTP/1.1"),
        ("host", "www.example.com"),
        ("user_agent", "tests/1.0 \"quoted\""),
        ("referer", "http://r.example/"),
        ("end", "whole"),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!(
        (&line["status"], &line["body_bytes"]),
        (&Value::from(200), &Value::from(5)),
        "{line}"
    );
    assert!(
        line["bytes_sent"].as_u64() > Some(5) && line["bytes_received"].as_u64() > Some(100),
        "{line}"
    );
}

#[test]
fn a_combined_line_is_what_log_readers_expect() {
    let (_folder, path) = folder();
    let file = path.join("access.log");
    let origin = Origin::saying("hello");
    // Lines of different workers may change places.
    let tidegate = setup(&origin, file.to_str().unwrap(), "combined")
        .set("process.workers", "1")
        .start();
    let lines = "User-Agent: a \"b\" \\c\r\nReferer: http://r.example/?\r\nAuthorization: Basic eA==\r\n";
    assert_eq!(tidegate.ask(request("GET", "/a?b", lines, "")).status, 200);
    assert_eq!(tidegate.ask(request("HEAD", "/", "", "")).status, 200);
    let lines = wait_for_lines(&file, 2);
    assert!(lines[0].starts_with("127.0.0.1 - "), "{}", lines[0]);
    assert!(
        lines[0].contains("] \"GET /a?b HTTP/1.1\" 200 5 \"http://r.example/?\" \"a "),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains("] \"HEAD / HTTP/1.1\" 200 "), "{}", lines[1]);
    let time = lines[0].split(['[', ']']).nth(1).unwrap();
    assert!(
        time.len() == "06/Nov/1994:08:49:37 +0000".len() && time.matches([':', '/']).count() == 5,
        "{time}"
    );
}

/// What a client sends cannot forge a line, in either format.
#[test]
fn a_client_cannot_write_lines_of_its_own() {
    for format in ["combined", "json"] {
        let (_folder, path) = folder();
        let file = path.join("access.log");
        let origin = Origin::saying("hello");
        let tidegate = setup(&origin, file.to_str().unwrap(), format).start();
        let text = request("GET", "/%0a[x]", "User-Agent: \"\tx\u{9f}\u{e9} \\\" 200 5 \\\r\n", "");
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        assert_eq!(tidegate.ask(bytes).status, 200);
        let line = wait_for_lines(&file, 1).remove(0);
        assert!(
            line.bytes().all(|byte| byte >= b' ' && byte != 0x7f),
            "control characters in {line:?}"
        );
        assert_eq!(format == "json", serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
}

#[test]
fn the_log_goes_to_stdout_and_is_whole_after_a_drain() {
    let origin = Origin::saying("hello");
    let mut tidegate = setup(&origin, "stdout", "combined")
        .set("log.access.flush", "'1m'")
        .start();
    let mut client = tidegate.client();
    for i in 0..100 {
        assert_eq!(client.get(&format!("/{i}")).status, 200);
    }
    tidegate.front.process.signal(SIGTERM);
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
    let output = tidegate.front.process.output();
    assert_eq!(output.lines().count(), 100, "{output}");
    assert!(
        (0..100).all(|i| output.contains(&format!("\"GET /{i} HTTP/1.1\" 200 5 "))),
        "{output}"
    );
}

#[test]
fn sigusr1_reopens_the_file() {
    let (_folder, path) = folder();
    let (file, rotated) = (path.join("access.log"), path.join("access.log.1"));
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin, file.to_str().unwrap(), "combined").start();
    assert_eq!(tidegate.get("/before").status, 200);
    wait_for_lines(&file, 1);
    std::fs::rename(&file, &rotated).unwrap();
    tidegate.front.process.signal(SIGUSR1);
    eventually("the file is there again", || file.exists());
    assert_eq!(tidegate.get("/after").status, 200);
    assert!(wait_for_lines(&file, 1)[0].contains("/after"));
    let old = lines(&rotated);
    assert!(old.len() == 1 && old[0].contains("/before"), "{old:?}");
}

/// Many connections, several workers, batches of a few lines, a file that is moved away meanwhile, and a drain.
#[test]
fn under_load_no_line_is_torn_lost_or_doubled() {
    const CLIENTS: usize = 12;
    const REQUESTS: usize = 150;
    const MOVES: usize = 5;
    for format in ["combined", "json"] {
        let (_folder, path) = folder();
        let file = path.join("access.log");
        let origin = Origin::start(|_| Script::cacheable("hello"));
        let mut tidegate = setup(&origin, file.to_str().unwrap(), format)
            .set("log.access.buffer", "'4KiB'")
            .set("process.workers", "4")
            .start();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let mut connection = tidegate.client();
                scope.spawn(move || {
                    for i in 0..REQUESTS {
                        let agent = format!("User-Agent: <{client}-{i}>\r\n");
                        assert_eq!(connection.ask(request("GET", "/page", &agent, "")).status, 200);
                    }
                });
            }
            for moved in 0..MOVES {
                eventually("there are lines", || !lines(&file).is_empty());
                std::fs::rename(&file, path.join(moved.to_string())).unwrap();
                tidegate.front.process.signal(SIGUSR1);
                eventually("the file is there again", || file.exists());
                assert_eq!(tidegate.get("/other").status, 200);
            }
        });
        tidegate.front.process.signal(SIGTERM);
        assert_eq!(tidegate.front.process.wait_for_exit(), 0);

        let files = (0..MOVES).map(|moved| path.join(moved.to_string())).chain([file]);
        let all: Vec<String> = files.flat_map(|file| lines(&file)).collect();
        assert_eq!(all.len(), CLIENTS * REQUESTS + MOVES, "{format}");
        for line in &all {
            expect_whole(line, format);
        }
        let agent = |line: &String| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
        let agents: BTreeSet<String> = all.iter().filter_map(agent).collect();
        assert_eq!(agents.len(), CLIENTS * REQUESTS, "{format}");
    }
}

#[track_caller]
fn expect_whole(line: &str, format: &str) {
    if format == "json" {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        return;
    }
    let number = line
        .rsplit_once(" total_us=")
        .and_then(|(_, number)| number.parse::<u64>().ok());
    assert!(line.starts_with("127.0.0.1 - - [") && number.is_some(), "{line}");
    assert_eq!(line.matches(" req.id=").count(), 1, "{line}");
}

#[test]
fn lines_are_counted() {
    let (_folder, path) = folder();
    let origin = Origin::saying("hello");
    let tidegate = setup(&origin, path.join("access.log").to_str().unwrap(), "json").start();
    for _ in 0..5 {
        assert_eq!(tidegate.ask(get("/")).status, 200);
    }
    tidegate.expect_metric_of_at_least("tidegate_access_log_lines_total", "", 5);
    assert_eq!(tidegate.metric("tidegate_access_log_dropped_total", ""), 0);
}
