//! A scripted name server: answers A and SRV questions over UDP from a zone that a test may change while it runs.
//!
//! One thread; it ends when the [`NameServer`] is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// A running name server.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<BTreeMap<(String, u16), Records>>,
    fails: AtomicBool,
    questions: AtomicUsize,
    stopping: AtomicBool,
}

/// The data of each record of one name and type.
type Records = Vec<Vec<u8>>;

const A: u16 = 1;
const SRV: u16 = 33;
/// Seconds: tests wait for the next look-up.
const TTL: u32 = 1;

impl NameServer {
    /// One that knows nothing yet.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&socket, &served));
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// `name` has this address from now on.
    pub fn host(&self, name: &str, address: Ipv4Addr) {
        let records = vec![address.octets().to_vec()];
        self.shared.zone.lock().insert((name.to_owned(), A), records);
    }

    /// `name` has these SRV records from now on, each `priority weight port target`.
    pub fn service(&self, name: &str, records: &[String]) {
        let records = records.iter().map(|record| srv(record)).collect();
        self.shared.zone.lock().insert((name.to_owned(), SRV), records);
    }

    /// Whether every question gets SERVFAIL from now on.
    pub fn fail(&self, fails: bool) {
        self.shared.fails.store(fails, Ordering::SeqCst);
    }

    /// Questions that came so far.
    pub fn questions(&self) -> usize {
        self.shared.questions.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut packet = [0; 1500];
    while !shared.stopping.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut packet) else {
            continue;
        };
        shared.questions.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = answer(&packet[..length], shared) {
            drop(socket.send_to(&answer, from));
        }
    }
}

/// The answer to a packet with one question (RFC 1035 §4.1).
fn answer(packet: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(packet.get(at..at + length)?.to_ascii_lowercase()).ok()?);
        at += length;
    }
    let question = packet.get(12..at + 4)?;
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    let zone = shared.zone.lock();
    let name = labels.join(".");
    let is_known = zone.keys().any(|(known, _)| *known == name);
    let records = zone.get(&(name, kind)).cloned().unwrap_or_default();
    let (code, records): (u8, _) = match shared.fails.load(Ordering::SeqCst) {
        true => (2, Vec::new()),                          // SERVFAIL
        false => (if is_known { 0 } else { 3 }, records), // NXDOMAIN
    };
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    let mut out = vec![
        packet[0],
        packet[1],
        0x85,
        0x80 | code,
        0,
        1,
        count[0],
        count[1],
        0,
        0,
        0,
        0,
    ];
    out.extend_from_slice(question);
    for record in records {
        out.extend_from_slice(&[0xc0, 12]); // the name of the question
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]); // IN
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&u16::try_from(record.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&record);
    }
    Some(out)
}

/// `priority weight port target` as RFC 2782 has it.
fn srv(record: &str) -> Vec<u8> {
    let parts: Vec<&str> = record.split(' ').collect();
    let numbers = parts[..3]
        .iter()
        .flat_map(|number| number.parse::<u16>().unwrap().to_be_bytes());
    let mut out: Vec<u8> = numbers.collect();
    for label in parts[3].split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
