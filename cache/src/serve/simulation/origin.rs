//! The scripted origin: one task per connection, on a unix socket. What it answers is the world's; how it fails is the
//! dice's: errors, slow heads, slow and cut contents, connections that just close.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::world::{Event, World, content};

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
        world.state().events[number].ended_at = Some(at);
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
    !plan.is_cut && stream.write_all(plan.content[half..].as_bytes()).await.is_ok()
}

fn plan(world: &World, head: &str) -> Plan {
    let at = world.tick();
    let now = world.clock().wall();
    let line = head.lines().next().unwrap();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let path: u64 = target.trim_start_matches('/').parse().unwrap();
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .next()
    };
    let (is_slow, is_slow_within, fails, how) = {
        let dice = &mut world.state().dice;
        (dice.chance(30), dice.chance(30), dice.below(100), dice.below(4))
    };
    let gate = |is_slow: bool| is_slow.then(|| world.hold());
    let (before_head, in_content) = (gate(is_slow), gate(is_slow_within));
    let mut state = world.state();
    let index = usize::try_from(path).unwrap();
    let (kind, version) = (state.kinds[index], state.versions[index]);
    let fails = fails < state.failing;
    let variant = match kind.varies {
        true => field("x-variant").unwrap_or_default(),
        false => String::new(),
    };
    let tag = format!("\"{path}-{variant}-{version}\"");
    let is_same = kind.has_tag && field("if-none-match").is_some_and(|list| list.split(", ").any(|one| one == tag));
    let number = state.events.len();
    let is_error = fails && how < 2 && method != "POST";
    let status = match method {
        _ if is_error => 503,
        "POST" => 204,
        _ if is_same => 304,
        _ => 200,
    };
    let text = match (status, is_error) {
        (200, _) if method != "HEAD" => content(path, &variant, version),
        (503, _) if method != "HEAD" => "no".to_owned(),
        _ => String::new(),
    };
    state.was_not_shared |= is_error && path == 0;
    state.events.push(Event {
        path,
        variant,
        version,
        kind,
        status,
        asked: now,
        asked_at: at,
        ended_at: None,
        clients: 0,
    });
    let mut answer = format!("HTTP/1.1 {status} Said\r\nX-Fetch: {number}\r\n");
    if status == 200 || status == 304 {
        let written = write!(
            answer,
            "Cache-Control: {}\r\nDate: {}\r\n",
            kind.control,
            now.http_date()
        );
        written.unwrap();
        answer += if kind.varies { "Vary: X-Variant\r\n" } else { "" };
        answer += &if kind.has_tag {
            format!("ETag: {tag}\r\n")
        } else {
            String::new()
        };
    }
    answer += &match (status, method) {
        (200, "HEAD") => format!(
            "Content-Length: {}\r\n\r\n",
            content(path, &state.events[number].variant, version).len()
        ),
        (204 | 304, _) => "\r\n".to_owned(),
        _ => format!("Content-Length: {}\r\n\r\n", text.len()),
    };
    drop(state);
    world.tell(|| {
        format!("{at}: origin: {line} -> {status} fetch {number} slow {is_slow} {is_slow_within} fails {fails} {how}")
    });
    Plan {
        number,
        head: answer,
        in_content: in_content.filter(|_| !text.is_empty()),
        content: text,
        before_head,
        is_cut: fails && how == 2,
        says_nothing: fails && how == 3,
    }
}
