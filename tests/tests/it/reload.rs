//! Files that are read again on order: `POST /reload`, `tidegate reload`, SIGHUP. What is bad stays as it was.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::certificates::Made;
use tests::client::{get, once, request};
use tests::origin::Origin;
use tests::setup::Setup;
use tests::sys::SIGHUP;
use tests::tidegate::{Tidegate, folder, run};
use tests::tls::Tls;
use tests::wait::eventually;

/// `secret`, by crypt(3).
const ANN: &str = "ann:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
/// Nothing is looked at by itself while a test runs.
const NEVER: &str = "'1h'";

struct Running {
    tidegate: Tidegate,
    path: PathBuf,
    old: Made,
    _origin: Origin,
    _folder: tempfile::TempDir,
}

/// A front with files of each kind.
fn start() -> Running {
    let (folder, path) = folder();
    let origin = Origin::saying("hello");
    let old = Made::ecdsa(&["www.example.com"]);
    let files = old.write(&path, "www");
    fs::write(path.join("tickets"), (0..80).collect::<Vec<u8>>()).unwrap();
    fs::write(path.join("deny"), "192.0.2.0/24\n").unwrap();
    fs::write(path.join("users"), ANN).unwrap();
    let at = |name: &str| path.join(name).display().to_string();
    let sites = format!(
        "[[site]]\nhosts = ['www.example.com']\norigin = 'o'\ndeny = ['file:{}']\n\
         [[site.route]]\nprefix = '/staff'\nauth = {{ realm = 'staff', file = '{}' }}\n",
        at("deny"),
        at("users")
    );
    let tidegate = Setup::with_sites(&sites)
        .origin("o", &origin.address())
        .set(
            "front.listen",
            "[{ address = '127.0.0.1:0' }, { address = '127.0.0.2:0', tls = 'test' }]",
        )
        .set("limits.lists_reload_every", NEVER)
        .set("tls.test.certificates", &format!("[{}]", files.entry()))
        .set("tls.test.ticket_keys", &format!("['{}']", at("tickets")))
        .set("tls.test.reload_every", NEVER)
        .start();
    Running {
        tidegate,
        path,
        old,
        _origin: origin,
        _folder: folder,
    }
}

impl Running {
    /// The certificate that a client gets now.
    #[track_caller]
    fn served(&self) -> Vec<u8> {
        let address = self.tidegate.front.address_of("127.0.0.2:0");
        let client = Tls::offering(&[]).connect(address, "www.example.com").unwrap();
        client.certificate().to_vec()
    }

    fn admin(&self) -> &str {
        self.tidegate.front.address("admin")
    }

    #[track_caller]
    fn reload(&self) -> (u16, Value) {
        let response = once(self.admin(), request("POST", "/reload", "Connection: close\r\n", ""));
        (response.status, serde_json::from_str(&response.text()).unwrap())
    }

    fn reloads(&self, kind: &str, result: &str) -> u64 {
        let labels = format!(r#"kind="{kind}",result="{result}""#);
        self.tidegate.metric("tidegate_file_reloads_total", &labels)
    }
}

/// What an answer says about these kinds of files.
fn kinds(list: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn an_order_takes_everything_over_at_once_and_drops_no_connection() {
    let running = start();
    let mut open = running.tidegate.client();
    assert_eq!(open.get("/").status, 200);
    let new = Made::ecdsa(&["www.example.com"]);
    new.write(&running.path, "www");
    fs::write(running.path.join("deny"), "127.0.0.0/8\n").unwrap();
    assert_eq!((running.served(), open.get("/").status), (running.old.der.clone(), 200));

    let (status, answer) = running.reload();
    assert_eq!(status, 200, "{answer}");
    let all = ["address_list", "certificates", "ticket_keys", "users"];
    assert_eq!(
        (kinds(&answer["taken_over"]), &answer["kept"]),
        (all.to_vec(), &json!([]))
    );
    assert_eq!(running.served(), new.der);
    assert_eq!(open.get("/").status, 403, "the same connection, by the new list");
    for kind in all {
        assert_eq!(
            (running.reloads(kind, "taken_over"), running.reloads(kind, "failed")),
            (1, 0)
        );
    }
}

#[test]
fn what_is_bad_is_kept_and_told_with_its_reason_and_the_rest_is_taken_over() {
    let running = start();
    let new = Made::ecdsa(&["www.example.com"]);
    new.write(&running.path, "www");
    fs::write(running.path.join("tickets"), "short").unwrap();
    fs::write(running.path.join("deny"), "127.0.0.0/8\nnonsense\n").unwrap();
    let (status, answer) = running.reload();
    assert_eq!(status, 409, "{answer}");
    assert_eq!(kinds(&answer["taken_over"]), ["certificates", "users"]);
    assert_eq!(kinds(&answer["kept"]), ["address_list", "ticket_keys"]);
    let reasons = answer["kept"].to_string();
    for told in ["deny:2:", "nonsense", "tickets: has 5 bytes"] {
        assert!(reasons.contains(told), "{told}: {reasons}");
    }
    assert_eq!(running.served(), new.der);
    assert_eq!(running.tidegate.get("/").status, 200, "the old list stays");
    assert_eq!(running.reloads("address_list", "failed"), 1);

    // By the subcommand it is the same, and its exit status says so.
    let outcome = run(&["reload", "--admin", running.admin()]);
    assert_eq!(outcome.code, 1, "{}", outcome.text());
    assert!(outcome.stderr.contains("tickets: has 5 bytes"), "{}", outcome.text());
    fs::write(running.path.join("tickets"), (1..81).collect::<Vec<u8>>()).unwrap();
    fs::write(running.path.join("deny"), "").unwrap();
    let outcome = run(&["reload", "--admin", running.admin()]);
    assert_eq!(outcome.code, 0, "{}", outcome.text());
    assert!(outcome.stdout.contains("\"kept\":[]"), "{}", outcome.text());
}

#[test]
fn a_hang_up_is_the_same_order() {
    let running = start();
    let mut open = running.tidegate.client();
    assert_eq!(open.get("/").status, 200);
    let new = Made::ecdsa(&["www.example.com"]);
    new.write(&running.path, "www");
    fs::write(running.path.join("deny"), "nonsense\n").unwrap();
    running.tidegate.front.process.signal(SIGHUP);
    eventually("the new certificate is served", || running.served() == new.der);
    let log = &running.tidegate.front.process;
    log.wait_for_line("what is bad is named", |line| line.contains("deny:1:"));
    log.wait_for_line("the sum is told", |line| line.contains("taken_over=3 kept=1"));
    assert_eq!(open.get("/").status, 200);
}

#[test]
fn only_what_is_asked_on_purpose_reads_files() {
    let running = start();
    for (asked, status) in [
        (get("/reload"), 405),
        (request("POST", "/reload", "Origin: http://evil.example\r\n", ""), 403),
    ] {
        assert_eq!(once(running.admin(), asked).status, status);
    }
    assert_eq!(running.reloads("certificates", "taken_over"), 0);
}
