//! An origin that takes its time: a thread per connection in this process, so that its moments are on our clock.
//!
//! `/slow/…` may be stored, `/once/…` may not. Its threads end when their connections do.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clock;

/// From a request to the head of its answer.
pub(super) const HEAD_AFTER: Duration = Duration::from_millis(300);
/// The body, and how it comes.
pub(super) const BODY: usize = 64 << 10;
pub(super) const PARTS: usize = 16;
pub(super) const PART_EVERY: Duration = Duration::from_millis(50);
/// Of a thread that does next to nothing.
const STACK: usize = 64 << 10;

/// It runs until the process ends.
pub(super) struct SlowOrigin {
    pub(super) address: SocketAddr,
    notes: Arc<Notes>,
}

/// What it has seen, in µs since `start`.
struct Notes {
    start: Instant,
    asked: AtomicU64,
    second_asked: AtomicU64,
    last_asked: AtomicU64,
    last_byte: AtomicU64,
}

/// The same as moments.
pub(super) struct Told {
    pub(super) asked: u64,
    /// The second request: the first one that did not have to wait, or whose waiting was over.
    pub(super) second_asked: Instant,
    pub(super) last_asked: Instant,
    pub(super) last_byte: Instant,
}

impl SlowOrigin {
    pub(super) fn start() -> Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.listen(4096)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        let notes = Arc::new(Notes {
            start: clock::now(),
            asked: AtomicU64::new(0),
            second_asked: AtomicU64::new(0),
            last_asked: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
        });
        let own = Arc::clone(&notes);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&own);
                // A proxy that goes away ends its connections: that is no error here.
                let serve = move || drop(serve(stream, &notes));
                drop(thread::Builder::new().stack_size(STACK).spawn(serve));
            }
        });
        Ok(Self { address, notes })
    }

    /// Counts anew.
    pub(super) fn forget(&self) {
        let Notes {
            start: _,
            asked,
            second_asked,
            last_asked,
            last_byte,
        } = &*self.notes;
        for number in [asked, second_asked, last_asked, last_byte] {
            number.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn told(&self) -> Told {
        let moment = |micros: &AtomicU64| self.notes.start + Duration::from_micros(micros.load(Ordering::Relaxed));
        Told {
            asked: self.notes.asked.load(Ordering::Relaxed),
            second_asked: moment(&self.notes.second_asked),
            last_asked: moment(&self.notes.last_asked),
            last_byte: moment(&self.notes.last_byte),
        }
    }
}

impl Notes {
    fn note(&self, moment: &AtomicU64) {
        let micros = clock::now().duration_since(self.start).as_micros();
        moment.fetch_max(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, notes: &Notes) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(4096, stream.try_clone()?);
    let mut output = stream;
    loop {
        let (mut line, mut is_first, mut may_store) = (String::new(), true, false);
        loop {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if std::mem::take(&mut is_first) {
                may_store = line.starts_with("GET /slow/");
            }
            if line == "\r\n" {
                break;
            }
        }
        if notes.asked.fetch_add(1, Ordering::Relaxed) == 1 {
            notes.note(&notes.second_asked);
        }
        notes.note(&notes.last_asked);
        answer(&mut output, may_store, notes)?;
    }
}

fn answer(output: &mut TcpStream, may_store: bool, notes: &Notes) -> io::Result<()> {
    let control = if may_store { "max-age=3600" } else { "no-store" };
    let date = httpdate::fmt_http_date(clock::wall());
    clock::sleep(HEAD_AFTER);
    write!(
        output,
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nCache-Control: {control}\r\nContent-Length: {BODY}\r\n\r\n"
    )?;
    for _ in 0..PARTS {
        clock::sleep(PART_EVERY);
        notes.note(&notes.last_byte);
        output.write_all(&[b'x'; BODY / PARTS])?;
    }
    Ok(())
}
