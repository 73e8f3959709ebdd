//! The scripted origin: one task per connection, on a unix socket. What it answers is the world's; how it fails is the
//! dice's: errors, slow heads, slow and cut contents, connections that just close.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::world::{Event, State, World, content};

/// A listener, gone when dropped.
pub(super) struct Origin {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

/// One answer: what is sent, and where it pauses or ends too early.
struct Plan {
    number: usize,
    head: String,
    content: String,
    before_head: Option<Arc<Notify>>,
    in_content: Option<Arc<Notify>>,
    is_cut: bool,
    says_nothing: bool,
}

impl Origin {
    pub(super) fn start(world: &World, seed: u64) -> Self {
        let name = format!("tidegate-sim-{}-{seed}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let world = world.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(world.clone(), stream)));
            }
        });
        Self { path, task }
    }

    pub(super) fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
        drop(std::fs::remove_file(&self.path));
    }
}

async fn serve(world: World, mut stream: UnixStream) {
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let plan = plan(&world, &String::from_utf8(std::mem::take(&mut head)).unwrap());
        let number = plan.number;
        let goes_on = answer(&world, &mut stream, plan).await;
        let at = world.tick();
        let event = &mut world.state().events[number];
        (event.ended_at, event.broke_off) = (Some(at), !goes_on);
        if !goes_on {
            return;
        }
    }
}

/// Sends an answer; whether another request may come.
async fn answer(world: &World, stream: &mut UnixStream, plan: Plan) -> bool {
    if let Some(gate) = plan.before_head {
        gate.notified().await;
        let now = world.clock().wall();
        let mut state = world.state();
        let event = &state.events[plan.number];
        let is_late = now.saturating_since(event.asked).as_secs() >= event.kind.lifetime;
        state.was_not_shared |= is_late && event.path == 0;
    }
    if plan.says_nothing {
        return false;
    }
    let half = plan.content.len() / 2;
    let first = plan.head + &plan.content[..half];
    if stream.write_all(first.as_bytes()).await.is_err() {
        return false;
    }
    if let Some(gate) = plan.in_content {
        gate.notified().await;
    }
    !plan.is_cut && stream.write_all(&plan.content.as_bytes()[half..]).await.is_ok()
}

/// A request as far as the answer depends on it.
struct Received<'a> {
    method: &'a str,
    path: u64,
    variant: &'a str,
    known_tags: &'a str,
    range: &'a str,
    if_range: &'a str,
    id: &'a str,
}

impl<'a> Received<'a> {
    fn read(head: &'a str) -> Self {
        let mut words = head.lines().next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value)
        };
        Self {
            method,
            path: target.trim_start_matches('/').parse().unwrap(),
            variant: field("x-variant"),
            known_tags: field("if-none-match"),
            range: field("range"),
            if_range: field("if-range"),
            id: field("x-request-id"),
        }
    }
}

fn plan(world: &World, head: &str) -> Plan {
    let asked = Received::read(head);
    let at = world.tick();
    let (is_slow, is_slow_within, fails, how) = {
        let dice = &mut world.state().dice;
        (dice.chance(30), dice.chance(30), dice.below(100), dice.below(4))
    };
    let gate = |is_slow: bool| is_slow.then(|| world.hold());
    let (before_head, in_content) = (gate(is_slow), gate(is_slow_within));
    let mut state = world.state();
    let fails = fails < state.failing;
    let number = state.events.len();
    let event = event(world, &state, &asked, at, fails && how < 2);
    let (head, content) = message(&asked, &event, number);
    state.was_not_shared |= event.status == 503 && event.path == 0;
    let status = event.status;
    state.events.push(event);
    drop(state);
    world.tell(|| {
        let (method, path) = (asked.method, asked.path);
        format!("{at}: origin: {method} /{path} -> {status} fetch {number} slow {is_slow} {is_slow_within} fails {fails} {how}")
    });
    Plan {
        number,
        head,
        in_content: in_content.filter(|_| !content.is_empty()),
        content,
        before_head,
        is_cut: fails && how == 2,
        says_nothing: fails && how == 3,
    }
}

fn event(world: &World, state: &State, asked: &Received<'_>, at: u64, is_error: bool) -> Event {
    let index = usize::try_from(asked.path).unwrap();
    let kind = state.kinds[index];
    let mut event = Event {
        path: asked.path,
        variant: if kind.has_variants() { asked.variant } else { "" }.to_owned(),
        version: state.versions[index],
        kind,
        status: 200,
        range: asked.range.to_owned(),
        request: asked.id.to_owned(),
        asked: world.clock().wall(),
        asked_at: at,
        ended_at: None,
        broke_off: false,
        clients: 0,
    };
    let tag = tag(&event);
    event.status = match asked.method {
        "POST" => 204,
        _ if is_error => 503,
        _ if kind.has_tag && asked.known_tags.split(", ").any(|known| known == tag) => 304,
        "GET"
            if kind.gives_ranges && !asked.range.is_empty() && (asked.if_range.is_empty() || asked.if_range == tag) =>
        {
            match resolve(asked.range, content(event.path, &event.variant, event.version).len()) {
                Some(_) => 206,
                None => 416,
            }
        }
        _ => 200,
    };
    event
}

/// The first and last byte that a range names of a content of `length` bytes; `None`: there are none.
pub(super) fn resolve(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let last = last.parse::<usize>().ok();
    match (first.parse::<usize>().ok(), last) {
        (Some(first), last) => (first < length).then(|| (first, last.unwrap_or(length).min(length - 1))),
        (None, suffix) => Some((length.saturating_sub(suffix.unwrap()), length - 1)),
    }
}

fn tag(event: &Event) -> String {
    format!("\"{}-{}-{}\"", event.path, event.variant, event.version)
}

/// Head and content of an answer.
fn message(asked: &Received<'_>, event: &Event, number: usize) -> (String, String) {
    let (status, kind) = (event.status, event.kind);
    let mut head = format!("HTTP/1.1 {status} Said\r\nX-Fetch: {number}\r\n");
    if matches!(status, 200 | 206 | 304) {
        let date = event.asked.http_date();
        write!(head, "Cache-Control: {}\r\nDate: {date}\r\n", kind.control).unwrap();
        head += if kind.varies { "Vary: X-Variant\r\n" } else { "" };
        if kind.has_tag {
            write!(head, "ETag: {}\r\n", tag(event)).unwrap();
        }
    }
    let whole = content(event.path, &event.variant, event.version);
    let content = match status {
        200 => whole,
        206 => {
            let (first, last) = resolve(&event.range, whole.len()).unwrap();
            write!(head, "Content-Range: bytes {first}-{last}/{}\r\n", whole.len()).unwrap();
            whole[first..=last].to_owned()
        }
        416 => {
            write!(head, "Content-Range: bytes */{}\r\n", whole.len()).unwrap();
            String::new()
        }
        503 => "no".to_owned(),
        _ => String::new(),
    };
    if matches!(status, 200 | 206 | 416 | 503) {
        write!(head, "Content-Length: {}\r\n", content.len()).unwrap();
    }
    let content = if asked.method == "HEAD" { String::new() } else { content };
    (head + "\r\n", content)
}
