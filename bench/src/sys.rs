//! The few system calls that std has no word for: epoll with timeouts in nanoseconds, pinning, signals by pid.
//!
//! The only file of this crate with unsafe code; everything it gives out is safe to use.
//! Raw epoll rather than mio, because an open loop at 50,000 requests/s has to wake between two milliseconds.
#![expect(
    unsafe_code,
    reason = "epoll, sched_setaffinity, prctl, kill and signal have no safe form in std"
)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// There is something to read, or the peer has ended its side.
pub(crate) const READABLE: u32 = libc::EPOLLIN.cast_unsigned();
/// There is room to write.
pub(crate) const WRITABLE: u32 = libc::EPOLLOUT.cast_unsigned();
/// The peer has ended its side (`EPOLLRDHUP`).
pub(crate) const PEER_ENDED: u32 = libc::EPOLLRDHUP.cast_unsigned();
/// Tell once per change (`EPOLLET`) instead of for as long as it is so.
pub(crate) const EDGE: u32 = libc::EPOLLET.cast_unsigned();

/// One thing that happened: `u64` is the token given to [`Epoll::add`].
pub(crate) type Event = libc::epoll_event;

/// Room for `count` events.
pub(crate) fn event_buffer(count: usize) -> Vec<Event> {
    vec![Event { events: 0, u64: 0 }; count]
}

/// An epoll instance, closed when dropped.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// A new one, closed on exec.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `fd`; closing it ends that.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what `fd` is watched for.
    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, operation: i32, fd: BorrowedFd<'_>, token: u64, interest: u32) -> io::Result<()> {
        let mut event = Event {
            events: interest,
            u64: token,
        };
        // SAFETY: `event` lives through the call, both descriptors are open.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Waits for events (Linux ≥ 5.11); empty when the time is over or a signal came.
    pub(crate) fn wait<'a>(&self, events: &'a mut [Event], timeout: Duration) -> io::Result<&'a [Event]> {
        // SAFETY: all-zero bytes are a valid timespec.
        let mut limit: libc::timespec = unsafe { mem::zeroed() };
        limit.tv_sec = libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX);
        limit.tv_nsec = libc::c_long::from(timeout.subsec_nanos().cast_signed());
        let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes at most `room` events into `events` and reads `limit`; there is no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                room,
                &raw const limit,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        match usize::try_from(count) {
            Ok(count) => Ok(&events[..count]),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
                error => Err(error),
            },
        }
    }
}

/// Makes `command` start on `cpus` and end when the thread that started it ends, however that happens.
pub(crate) fn start_pinned(command: &mut Command, cpus: &[usize]) {
    let set = cpu_set(cpus);
    let pinned = move || {
        pin_to(&set)?;
        // SAFETY: takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        Ok(())
    };
    // SAFETY: between fork and exec it makes two system calls and touches no memory but its own stack.
    unsafe { command.pre_exec(pinned) };
}

/// Moves the calling thread to `cpu`; what it starts from now on stays there too.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    pin_to(&cpu_set(&[cpu]))
}

fn pin_to(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is whole and as large as said; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), ptr::from_ref(set)) })?;
    Ok(())
}

fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: all-zero bytes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: libc checks the bounds of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// Lets timers of the calling thread fire when they are due, instead of up to 50 µs later.
pub(crate) fn exact_timers() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) })?;
    Ok(())
}

/// Raises the soft limit of open descriptors to the hard one and returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives through the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// Clock ticks per second, the unit of CPU time in `/proc`.
pub(crate) fn ticks_per_second() -> f64 {
    // SAFETY: takes no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u32::try_from(ticks).map_or(100.0, f64::from)
}

/// CPU time of all threads of a process so far, to the nanosecond.
pub(crate) fn process_cpu_time(pid: i32) -> io::Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` lives through the call.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: all-zero bytes are a valid timespec.
    let mut time: libc::timespec = unsafe { mem::zeroed() };
    // SAFETY: `time` lives through the call.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

/// Asks the process to end.
pub(crate) fn terminate(pid: i32) {
    signal(pid, libc::SIGTERM);
}

/// Has nginx read its configuration again.
pub(crate) fn hang_up(pid: i32) {
    signal(pid, libc::SIGHUP);
}

/// Has HAProxy's master start new workers.
pub(crate) fn user_signal_2(pid: i32) {
    signal(pid, libc::SIGUSR2);
}

/// Ends the process.
pub(crate) fn kill(pid: i32) {
    signal(pid, libc::SIGKILL);
}

fn signal(pid: i32, number: i32) {
    debug_assert!(pid > 1, "never a group, never everybody");
    // SAFETY: takes no pointers. A process that is gone already is no error here.
    unsafe { libc::kill(pid, number) };
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, SIGTERM and SIGHUP are noted, so that every loop ends and every child is ended by its owner.
pub(crate) fn note_signals() {
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores into an atomic, which is async-signal-safe.
        unsafe { libc::signal(number, on_signal as *const () as libc::sighandler_t) };
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether somebody wants us to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
