//! The dashboard: its page in a browser, the event stream that it follows, the hour that it draws.
//!
//! `TIDEGATE_PICTURES=folder cargo test dashboard` keeps pictures of the page, to be looked at.

use std::path::PathBuf;

use serde_json::Value;
use tests::browser::{Browser, Screen};
use tests::client::{Client, get, once};
use tests::message::Response;
use tests::origin::Origin;
use tests::ports::RefusingPort;
use tests::script::Script;
use tests::setup::{Setup, Shape};
use tests::sys::SIGTERM;
use tests::tidegate::Tidegate;
use tests::wait::{Gate, eventually};

const SCREENS: [Screen; 7] = [
    screen(360, 740, "dark"),
    screen(390, 844, "light"),
    screen(390, 844, "dark"),
    screen(800, 1000, "light"),
    screen(1400, 900, "light"),
    screen(1400, 900, "dark"),
    screen(2560, 1400, "dark"),
];

const fn screen(width: u32, height: u32, scheme: &'static str) -> Screen {
    Screen { width, height, scheme }
}

#[track_caller]
fn admin(tidegate: &Tidegate, path: &str) -> Response {
    let admin = tidegate.front.address("admin");
    once(
        admin,
        format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n"),
    )
}

/// A connection on which the events come, its head read.
#[track_caller]
fn events(tidegate: &Tidegate) -> (Client, u16) {
    let mut client = Client::connect(tidegate.front.address("admin"));
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_head();
    assert!(
        head.status != 200 || head.field("content-type") == "text/event-stream",
        "{head:?}"
    );
    (client, head.status)
}

/// The text of the page's legs, in their order.
const LEGS: &str = "[...document.querySelectorAll('.leg .state')].map(state => state.textContent).join(', ')";

#[test]
fn a_browser_shows_the_verdicts_and_has_nothing_to_complain_about() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    assert_eq!(tidegate.get("/").status, 200);
    for screen in SCREENS {
        look(
            &mut browser,
            &tidegate,
            screen,
            "healthy, same process, healthy",
            "healthy",
        );
        assert_eq!(
            browser.evaluate("document.querySelectorAll('article.finding').length"),
            0
        );
    }
}

#[test]
fn a_browser_shows_each_finding_with_its_remedy() {
    let Some(mut browser) = Browser::start() else { return };
    let refusing = RefusingPort::reserve();
    let tidegate = Setup::of(&refusing.address()).uncached().start();
    for _ in 0..20 {
        assert!(tidegate.get("/").status >= 500);
    }
    for screen in SCREENS {
        look(&mut browser, &tidegate, screen, "healthy, same process, lossy", "lossy");
        let finding = browser.evaluate("document.querySelector('article.finding').innerText");
        let finding = finding.as_str().unwrap();
        for words in ["connect_refused", "Evidence", "start the program on that server"] {
            assert!(finding.contains(words), "{words} in {finding}");
        }
        let news = browser.evaluate("document.querySelector('[aria-live]').textContent");
        assert!(
            news.as_str().unwrap().contains("connect_refused on cache-origin"),
            "{news}"
        );
    }
}

#[test]
fn a_browser_shows_a_front_and_its_cache_server_as_two_processes() {
    let Some(mut browser) = Browser::start() else { return };
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).shape(Shape::TwoTier(1)).start();
    assert_eq!(tidegate.get("/").status, 200);
    look(
        &mut browser,
        &tidegate,
        SCREENS[4],
        "healthy, healthy, healthy",
        "two-tier",
    );
    let notes = "[...document.querySelectorAll('.stop small')].map(note => note.textContent).join(', ')";
    let notes = browser.evaluate(notes);
    assert!(
        notes
            .as_str()
            .unwrap()
            .ends_with("connected, this process, elsewhere, 1 server"),
        "{notes}"
    );
}

/// Opens the page, waits for these words, and checks that it fits its screen and that nothing went wrong in it.
#[track_caller]
fn look(browser: &mut Browser, tidegate: &Tidegate, screen: Screen, legs: &str, name: &str) {
    browser.open(&format!("http://{}/dashboard", tidegate.front.address("admin")), screen);
    browser.wait_until(&format!(
        "{LEGS} === '{legs}' && document.querySelector('#link').textContent === 'live'"
    ));
    if let Some(folder) = std::env::var_os("TIDEGATE_PICTURES") {
        let Screen { width, height, scheme } = screen;
        browser.take_picture(&PathBuf::from(folder).join(format!("{name}-{width}x{height}-{scheme}.png")));
    }
    let too_wide = browser.evaluate("document.documentElement.scrollWidth > window.innerWidth");
    assert_eq!(too_wide, false, "the page is wider than {screen:?}");
    assert_eq!(browser.complaints(), [""; 0], "on {screen:?}");
}

#[test]
fn events_are_whole_snapshots_and_end_with_the_drain() {
    let gate = Gate::new();
    let origin = Origin::start({
        let gate = gate.clone();
        move |_| {
            Script::new()
                .wait(&gate)
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
    });
    let mut tidegate = Setup::of(&origin.address()).start();
    let (mut client, status) = events(&tidegate);
    assert_eq!(status, 200);
    let mut text = client.read_bytes(1);
    while text.matches("\n\n").count() < 2 {
        text = client.read_bytes(text.len() + 1);
    }
    let data: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(data.len() >= 2, "{text}");
    for snapshot in &data {
        assert_eq!(
            (&snapshot["schema"], &snapshot["health"]["status"]),
            (&1.into(), &"ok".into()),
            "{snapshot:#}"
        );
    }
    assert!(data[1]["traffic"]["requests_per_second"].is_number(), "{:#}", data[1]);
    let mut running = tidegate.client();
    running.send(get("/slow"));
    gate.wait_for_arrivals(1);
    tidegate.front.process.signal(SIGTERM);
    while !text.ends_with("\r\n0\r\n\r\n") {
        text = client.read_bytes(text.len() + 1);
    }
    assert_eq!(events(&tidegate).1, 503, "a draining process has no more to tell");
    gate.open();
    assert_eq!(running.read().status, 200);
    assert_eq!(tidegate.front.process.wait_for_exit(), 0);
}

#[test]
fn so_many_may_listen_and_a_place_is_given_back() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let mut listening: Vec<_> = (0..32).map(|_| events(&tidegate)).collect();
    assert!(listening.iter().all(|(_, status)| *status == 200));
    assert_eq!(events(&tidegate).1, 503);
    listening.pop();
    eventually("there is room for one more", || events(&tidegate).1 == 200);
}

#[test]
fn the_history_begins_empty_and_names_its_causes() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let history: Value = serde_json::from_str(&admin(&tidegate, "/history").text()).unwrap();
    assert_eq!(
        (&history["schema"], &history["step_seconds"]),
        (&1.into(), &10.into()),
        "{history:#}"
    );
    assert!(
        history["causes"].as_array().unwrap().contains(&"tw_recycle".into()),
        "{history:#}"
    );
    assert!(history["points"].is_array(), "{history:#}");
}

#[test]
fn the_page_may_fetch_nothing_from_elsewhere() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address()).start();
    let page = admin(&tidegate, "/dashboard");
    let policy = page.field("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self'"),
        "{page:?}"
    );
    assert!(page.content.bytes < 60 << 10, "{} bytes", page.content.bytes);
}
