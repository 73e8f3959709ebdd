//! Slow clients: hundreds that take a large stored response a little at a time, and a probe beside them.
//!
//! What they cost is the memory that the subject holds for them and the latency that others see. They connect with the
//! segments of a network and with small receive buffers: otherwise the kernel's buffers on loopback took all at once.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::load::{Generator, Outcome, Pace, Target};
use crate::measure::Bench;
use crate::usage;

/// How many there are.
pub(crate) const CLIENTS: u32 = 500;
/// What they ask for.
const PATH: &str = "/1048576";
const BODY_BYTES: u64 = 1 << 20;
/// What each takes at a time, and how often: 40 KiB/s.
const SIP_BYTES: usize = 2 << 10;
const SIP_EVERY: Duration = Duration::from_millis(50);
/// Of an Ethernet network, and as small as Linux allows roughly.
const SEGMENT_BYTES: u32 = 1400;
const RECEIVE_BYTES: usize = 8 << 10;
/// Requests per second of the probe.
const PROBE_RATE: f64 = 500.0;
/// Until the kernel's and the subject's buffers are full.
const SETTLE: Duration = Duration::from_secs(1);

/// What a probe saw, and what slow clients were given.
#[derive(Clone, Debug)]
pub(crate) struct SlowSample {
    /// Without them.
    pub(crate) alone: Outcome,
    /// Beside them.
    pub(crate) beside: Outcome,
    /// Resident memory of the subject for each of them.
    pub(crate) bytes_each: f64,
    /// How many the subject gave up.
    pub(crate) lost: u32,
}

/// One round.
pub(crate) fn measure(bench: &Bench<'_>) -> Result<SlowSample> {
    let running = bench.filled()?;
    let whole = Target::get(running.address, PATH, BODY_BYTES, 1);
    let filled = Generator::new(whole)?.run(Pace::count(1))?;
    ensure!(
        filled.responses == 1,
        "the large answer was wrong: {}",
        filled.fault_words()
    );
    let mut probe = Generator::new(bench.target(&running))?;
    probe.run(Pace::open(PROBE_RATE, bench.plan.warm_up))?;
    let alone = probe.run(Pace::open(PROBE_RATE, bench.plan.time))?;
    let before = usage::resident_bytes(running.process.pid())?;
    let mut clients = (0..CLIENTS)
        .map(|_| SlowClient::new(running.address))
        .collect::<io::Result<Vec<_>>>()
        .context("slow clients")?;
    let over = AtomicBool::new(false);
    let (beside, after, lost) = std::thread::scope(|scope| {
        let sipping = scope.spawn(|| sip(&mut clients, &over));
        let measured = clock::pause(SETTLE).and_then(|()| {
            let beside = probe.run(Pace::open(PROBE_RATE, bench.plan.time))?;
            Ok((beside, usage::resident_bytes(running.process.pid())?))
        });
        over.store(true, Ordering::Relaxed);
        let lost = sipping.join().unwrap_or(CLIENTS);
        measured.map(|(beside, after)| (beside, after, lost))
    })?;
    let kib = u32::try_from(after.saturating_sub(before) / 1024)?;
    Ok(SlowSample {
        alone,
        beside,
        bytes_each: f64::from(kib) * 1024.0 / f64::from(CLIENTS),
        lost,
    })
}

/// Lets all of them take a little now and then until it is over; how many were given up.
fn sip(clients: &mut Vec<SlowClient>, over: &AtomicBool) -> u32 {
    let mut lost = 0;
    while !over.load(Ordering::Relaxed) && clock::pause(SIP_EVERY).is_ok() {
        let all = clients.len();
        clients.retain_mut(SlowClient::sip);
        lost += u32::try_from(all - clients.len()).unwrap_or(u32::MAX);
    }
    lost
}

struct SlowClient(TcpStream);

impl SlowClient {
    /// Connects and asks.
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_mss(SEGMENT_BYTES)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: bench.test\r\n\r\n").as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Self(stream))
    }

    /// Takes a little; false when the connection is over.
    fn sip(&mut self) -> bool {
        match self.0.read(&mut [0; SIP_BYTES]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
