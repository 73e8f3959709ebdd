//! The health of cache servers on the front's page: the four steps from clients to origins on one page, also when a cache
//! server is silent, talks nonsense, or is gone.

use serde_json::Value;
use tempfile::TempDir;
use tests::binary::workspace;
use tests::browser::{Browser, Screen};
use tests::certificates::Made;
use tests::health::{page, report};
use tests::origin::Origin;
use tests::ports::{Blackhole, RefusingPort};
use tests::schema::problems;
use tests::script::Script;
use tests::setup::Setup;
use tests::tidegate::{Node, folder};
use tests::wait::eventually;

/// A front that asks these admin listeners, and the cache server behind it.
struct TwoTiers {
    front: Node,
    cache_server: Node,
    _folder: TempDir,
}

impl TwoTiers {
    fn start(setup: &Setup, more: &str, admins: impl FnOnce(&Node) -> Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let cache_server = Node::start(&folder.path().join("cache.toml"), &setup.cache_server());
        let front = setup.front(&[cache_server.address("cache").to_owned()]);
        let watch = format!(
            "[cache.servers_health]\nadmin = {:?}\nevery = '100ms'\n{more}",
            admins(&cache_server)
        );
        Self {
            front: Node::start(&folder.path().join("front.toml"), &(front + &watch)),
            cache_server,
            _folder: folder,
        }
    }

    fn report(&self) -> Value {
        report(self.front.address("admin"))
    }

    fn text(&self) -> String {
        page(self.front.address("admin"), "/health?format=text").text()
    }
}

fn own_admin(node: &Node) -> Vec<String> {
    vec![node.address("admin").to_owned()]
}

fn verdicts(report: &Value) -> Vec<String> {
    let steps = report["way"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn expect_valid(report: &Value) {
    let schema = std::fs::read_to_string(workspace().join("docs/health.schema.json")).unwrap();
    let problems = problems(&serde_json::from_str(&schema).unwrap(), report);
    assert!(problems.is_empty(), "{}\n{report:#}", problems.join("\n"));
}

#[test]
fn one_page_answers_the_four_steps() {
    let origin = Origin::saying("hello");
    let tiers = TwoTiers::start(&Setup::of(&origin.address()), "", own_admin);
    let admin = tiers.cache_server.address("admin");
    // What else happens on this machine may make the two server ends suspect; the two client ends are our own.
    eventually("all four are known", || {
        let verdicts = verdicts(&tiers.report());
        verdicts[1] == "healthy"
            && verdicts[3] == "healthy"
            && !verdicts[0].contains("un")
            && !verdicts[2].contains("un")
    });
    let report = tiers.report();
    expect_valid(&report);
    let server = &report["cache_servers"][0];
    assert_eq!(server["admin"], admin);
    assert_eq!(server["report"]["roles"], serde_json::json!(["cache", "cache-server"]));
    assert!(
        server["age_seconds"].as_u64() < Some(30) && server["unavailable"].is_null(),
        "{server:#}"
    );
    let text = tiers.text();
    assert!(text.contains("2. front to cache servers, as client: healthy"), "{text}");
    assert!(text.contains(&format!("cache server {admin}: ")), "{text}");
    let ours = tests::health::report(admin);
    assert_eq!(
        (verdicts(&ours)[0].as_str(), verdicts(&ours)[1].as_str()),
        ("absent", "absent")
    );
}

#[test]
fn what_a_cache_server_loses_is_on_the_fronts_page() {
    let refusing = RefusingPort::reserve();
    let setup = Setup::of(&refusing.address()).set("cache.when_down", "'error'");
    let tiers = TwoTiers::start(&setup, "", own_admin);
    let admin = tiers.cache_server.address("admin");
    eventually("step 4 loses handshakes", || {
        let get = tests::client::get("/");
        assert!(tests::client::once(tiers.front.address("front"), get).status >= 500);
        verdicts(&tiers.report())[3] == "lossy"
    });
    let report = tiers.report();
    expect_valid(&report);
    assert_eq!(report["way"][3]["at"], admin);
    let text = tiers.text();
    assert!(
        text.contains(&format!("4. cache to origins, as client: lossy at {admin}")),
        "{text}"
    );
    assert!(
        text.contains("  cache-origin: connect_refused (certain) on o/"),
        "{text}"
    );
    look_at_the_dashboard(tiers.front.address("admin"));
    let labels = format!(r#"server="{admin}",status="degraded""#);
    assert_eq!(tiers.front.metric("tidegate_cache_server_health", &labels), 1);
}

fn look_at_the_dashboard(admin: &str) {
    let Some(mut browser) = Browser::start() else { return };
    let screen = Screen {
        width: 390,
        height: 844,
        scheme: "dark",
    };
    browser.open(&format!("http://{admin}/dashboard"), screen);
    browser.wait_until("!!document.querySelector('#cacheservers:not([hidden]) article.finding')");
    if let Some(folder) = std::env::var_os("TIDEGATE_PICTURES") {
        browser.take_picture(&std::path::PathBuf::from(folder).join("cache-servers.png"));
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_cache_server_that_is_gone_is_unavailable_and_its_last_word_ages() {
    let origin = Origin::saying("hello");
    let mut tiers = TwoTiers::start(&Setup::of(&origin.address()), "", own_admin);
    eventually("it has answered", || {
        tiers.report()["cache_servers"][0]["report"].is_object()
    });
    let admin = tiers.cache_server.address("admin").to_owned();
    tiers.cache_server.process.signal(tests::sys::SIGKILL);
    tiers.cache_server.process.wait_for_exit();
    eventually("it is unavailable", || {
        tiers.report()["cache_servers"][0]["unavailable"].is_string()
    });
    let report = tiers.report();
    expect_valid(&report);
    assert_eq!(report["way"][2]["verdict"], "unknown");
    assert!(
        report["way"][2]["because"]
            .as_str()
            .unwrap()
            .starts_with("unavailable: "),
        "{report:#}"
    );
    assert_eq!(report["cache_servers"][0]["report"]["status"], "ok", "its last word");
    assert!(
        tiers
            .text()
            .contains(&format!("cache server {admin}: unavailable, because ")),
        "{}",
        tiers.text()
    );
    let labels = format!(r#"server="{admin}",status="unavailable""#);
    assert_eq!(tiers.front.metric("tidegate_cache_server_health", &labels), 1);
}

#[test]
fn who_answers_with_something_else_or_not_at_all_is_unavailable_with_the_reason() {
    let origin = Origin::saying("hello");
    let nonsense = Origin::saying("{\"schema\": 1, \"status\": ");
    let another = Origin::saying("{\"schema\": 2}");
    let endless = Origin::start(|_| Script::says("HTTP/1.1 200 OK\r\n\r\n").forever("{\"schema\": 1, "));
    let blackhole = Blackhole::fill();
    let refusing = RefusingPort::reserve();
    let expected = [
        (nonsense.address(), "the answer is not JSON"),
        (another.address(), "its report has schema 2, not 1"),
        (endless.address(), "the answer has more than 65536 bytes"),
        (blackhole.address(), "no answer within 200ms"),
        (refusing.address(), "refused"),
        ("unix:/nowhere.sock".to_owned(), "No such file"),
    ];
    let admins = expected.iter().map(|(admin, _)| admin.clone()).collect();
    let more = "report_max = '64KiB'\ntimeout = '200ms'\n";
    let tiers = TwoTiers::start(&Setup::of(&origin.address()), more, |_| admins);
    for (index, (admin, why)) in expected.iter().enumerate() {
        eventually(&format!("{admin} is unavailable, because {why}"), || {
            let report = tiers.report();
            let server = &report["cache_servers"][index];
            server["admin"] == **admin && server["unavailable"].as_str().is_some_and(|told| told.contains(why))
        });
    }
    expect_valid(&tiers.report());
    assert_eq!(verdicts(&tiers.report())[3], "unknown");
}

#[test]
fn a_front_that_was_not_told_to_ask_says_so() {
    let origin = Origin::saying("hello");
    let tidegate = Setup::of(&origin.address())
        .shape(tests::setup::Shape::TwoTier(1))
        .start();
    let report = report(tidegate.front.address("admin"));
    let step = &report["way"][2];
    assert_eq!(
        (&step["verdict"], &report["cache_servers"]),
        (&"unknown".into(), &serde_json::json!([]))
    );
    assert!(
        step["because"].as_str().unwrap().contains("cache.servers_health"),
        "{step}"
    );
}

#[test]
fn a_cache_server_whose_admin_listener_wants_certificates_is_on_the_fronts_page() {
    let origin = Origin::saying("hello");
    let (_folder, path) = folder();
    let server = Made::ecdsa(&["admin.example"]).write(&path, "server");
    let front = Made::ecdsa(&["front.example"]).write(&path, "front");
    let setup = Setup::of(&origin.address());
    let guarded = setup
        .clone()
        .set("tls.admin.certificates", &format!("[{}]", server.entry()))
        .set("admin.tls", "'admin'")
        .set("admin.client_ca", &format!("'{}'", front.certificate.display()));
    let cache_server = Node::start(&path.join("cache.toml"), &guarded.cache_server());
    let admin = format!("https://{}", cache_server.address("admin"));
    let front_that_shows = |certificate: &str, name: &str| {
        let tls = format!(
            "[cache.servers_health]\nadmin = ['{admin}']\nevery = '100ms'\n\
             [cache.servers_health.tls]\nserver_name = 'admin.example'\nroots = '{}'\n{certificate}",
            server.certificate.display()
        );
        let config = setup.front(&[cache_server.address("cache").to_owned()]) + &tls;
        Node::start(&path.join(name), &config)
    };
    let known = front_that_shows(&format!("certificate = {}", front.entry()), "front.toml");
    eventually("its health is known", || {
        report(known.address("admin"))["cache_servers"][0]["report"]["schema"] == 1
    });
    let told = report(known.address("admin"));
    expect_valid(&told);
    assert_eq!(told["cache_servers"][0]["admin"], admin);
    let stranger = front_that_shows("", "stranger.toml");
    eventually("why it is not known is told", || {
        let told = report(stranger.address("admin"));
        told["cache_servers"][0]["unavailable"]
            .as_str()
            .is_some_and(|why| why.contains("CertificateRequired"))
    });
}
