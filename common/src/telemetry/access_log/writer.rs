//! The queue of full buffers between the workers and the one thread that writes them.
//!
//! The thread is the only one that waits for the file. What it cannot write (a full disk, a closed pipe) is counted, told
//! once, and not tried again: a log that is behind must not fill the memory.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{AccessLog, AccessLogSettings, AccessLogTarget};

/// The access log's file and thread; for the whole process.
#[derive(Debug)]
pub struct AccessLogWriter {
    settings: AccessLogSettings,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The access log took longer than allowed to write its last lines, or its thread died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access log did not take its last lines within {within:?}")]
pub struct Unwritten {
    /// How long it was waited for.
    pub within: Duration,
}

impl AccessLogWriter {
    /// Opens the target and starts the thread.
    ///
    /// # Errors
    /// The error of opening the file or of making the thread, with the path in its text.
    pub fn start(settings: AccessLogSettings) -> io::Result<Self> {
        let file = open(&settings.to)?;
        let queue = Arc::new(Queue::default());
        let thread = {
            let (queue, target) = (Arc::clone(&queue), settings.to.clone());
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || run(&queue, file, &target))?
        };
        Ok(Self {
            settings,
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A worker's end.
    pub fn worker_end(&self) -> AccessLog {
        AccessLog::new(&self.settings, Arc::clone(&self.queue))
    }

    /// Opens the file anew, after somebody has moved it away; what was handed over before goes to the old one.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Lines that the target did not take, since the start.
    pub fn lines_failed(&self) -> u64 {
        self.queue.lines_failed.load(Ordering::Relaxed)
    }

    /// Writes what was handed over, and ends the thread. Lines handed over later are dropped, and counted as such.
    ///
    /// # Errors
    /// [`Unwritten`] when that takes longer than `within`; the thread is left behind then.
    pub fn close(&self, within: Duration) -> Result<(), Unwritten> {
        self.queue.close();
        let mut state = self.queue.state.lock();
        if !state.ended {
            self.queue
                .ended
                .wait_while_for(&mut state, |state| !state.ended, within);
        }
        let has_ended = state.ended;
        drop(state);
        let joined = match self.thread.lock().take() {
            Some(thread) if has_ended => thread.join().is_ok(),
            Some(_) => false,
            None => true,
        };
        if joined { Ok(()) } else { Err(Unwritten { within }) }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Lines that belong together because they were handed over together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// How many.
    pub(super) lines: u64,
}

/// Full buffers on their way to the thread, and empty ones on their way back.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do.
    wake: Condvar,
    /// The thread has ended.
    ended: Condvar,
    lines_failed: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    // INVARIANT: at most QUEUE_MAX.
    full: VecDeque<Batch>,
    // INVARIANT: at most EMPTY_MAX, all of them empty.
    empty: Vec<Vec<u8>>,
    /// The target is to be opened anew after so many of `full`.
    reopen_after: Option<usize>,
    closing: bool,
    ended: bool,
}

impl Queue {
    /// Takes the lines of `batch` and leaves it empty; false when there is no room and they are lost.
    pub(super) fn push(&self, batch: &mut Batch, buffer_bytes: usize) -> bool {
        let mut state = self.state.lock();
        if state.full.len() >= QUEUE_MAX || state.closing {
            drop(state);
            batch.bytes.clear();
            batch.lines = 0;
            return false;
        }
        let next = state.empty.pop();
        state.full.push_back(std::mem::take(batch));
        drop(state);
        self.wake.notify_one();
        batch.bytes = next.unwrap_or_else(|| Vec::with_capacity(buffer_bytes + LINE_BYTES));
        true
    }

    /// Waits for something to do.
    fn next(&self) -> Task {
        let mut state = self.state.lock();
        loop {
            if state.reopen_after == Some(0) {
                state.reopen_after = None;
                return Task::Reopen;
            }
            if let Some(batch) = state.full.pop_front() {
                state.reopen_after = state.reopen_after.map(|batches| batches - 1);
                return Task::Write(batch);
            }
            if state.closing {
                return Task::End;
            }
            self.wake.wait(&mut state);
        }
    }

    /// Takes a written buffer back for the workers, unless there are enough, or one long line has made it large.
    fn recycle(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut state = self.state.lock();
        if state.empty.len() < EMPTY_MAX && bytes.capacity() <= RECYCLED_BYTES_MAX {
            state.empty.push(bytes);
        }
    }

    fn reopen(&self) {
        let mut state = self.state.lock();
        state.reopen_after = Some(state.full.len());
        drop(state);
        self.wake.notify_one();
    }

    fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    #[cfg(test)]
    pub(super) fn try_take(&self) -> Option<Batch> {
        self.state.lock().full.pop_front()
    }
}

enum Task {
    Write(Batch),
    Reopen,
    End,
}

/// The thread.
fn run(queue: &Queue, file: File, target: &AccessLogTarget) {
    let _ended = Ended(queue);
    let mut sink = Sink::new(file);
    loop {
        match queue.next() {
            Task::Write(batch) => {
                if !sink.write(&batch.bytes) {
                    queue.lines_failed.fetch_add(batch.lines, Ordering::Relaxed);
                }
                queue.recycle(batch.bytes);
            }
            Task::Reopen => match open(target) {
                Ok(file) => {
                    sink = Sink::new(file);
                    tracing::info!("access log reopened");
                }
                Err(error) => {
                    tracing::warn!(%error, "the access log could not be reopened; it goes on in the old file")
                }
            },
            Task::End => return,
        }
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a>(&'a Queue);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closing = true;
        state.ended = true;
        drop(state);
        self.0.ended.notify_all();
    }
}

/// Where lines end up.
struct Sink<W> {
    out: W,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed, and that was told.
    failing: bool,
}

impl<W: Write> Sink<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            torn: false,
            failing: false,
        }
    }

    /// Writes whole lines; false when they are not all written.
    fn write(&mut self, lines: &[u8]) -> bool {
        let result = self.try_write(lines);
        match &result {
            Ok(()) if self.failing => tracing::info!("the access log can be written again"),
            Err(error) if !self.failing => tracing::error!(%error, "the access log cannot be written; lines are lost"),
            Ok(()) | Err(_) => {}
        }
        self.failing = result.is_err();
        result.is_ok()
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(target: &AccessLogTarget) -> io::Result<File> {
    match target {
        // A descriptor of its own, and not Rust's stdout, which buffers by lines.
        AccessLogTarget::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        AccessLogTarget::File(path) => open_file(path),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("access log {}: {error}", path.display())))
}

/// Full buffers that may wait for the thread; at 64 KiB each this bounds the memory at 16 MiB.
pub(super) const QUEUE_MAX: usize = 256;

/// Empty buffers that are kept.
const EMPTY_MAX: usize = 32;

/// A buffer that has grown past this is not kept.
const RECYCLED_BYTES_MAX: usize = 1 << 20;

/// Room in a buffer past `buffer_bytes`, for the line that fills it.
const LINE_BYTES: usize = 1024;

/// Addresses of clients are nobody's business but the operator's.
const FILE_MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{AccessLogFormat, AccessRecord};
    use super::*;
    use crate::telemetry::metrics::Metrics;

    const LONG: Duration = Duration::from_secs(60);

    fn start(path: impl Into<PathBuf>) -> io::Result<AccessLogWriter> {
        AccessLogWriter::start(AccessLogSettings {
            to: AccessLogTarget::File(path.into()),
            format: AccessLogFormat::Json,
            buffer_bytes: 1,
            flush: Duration::ZERO,
        })
    }

    fn log(writer: &AccessLogWriter, ids: &[&str]) {
        let (log, metrics) = (writer.worker_end(), Metrics::default());
        for id in ids {
            log.record(
                &AccessRecord {
                    request_id: id,
                    ..AccessRecord::default()
                },
                &metrics,
            );
        }
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let id = |line: &str| {
            line.split(r#""req.id":""#)
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap()
                .to_owned()
        };
        text.lines().map(id).collect()
    }

    #[test]
    fn lines_are_appended_and_all_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        for run in [["a", "b"], ["c", "d"]] {
            let writer = start(&path).unwrap();
            log(&writer, &run);
            assert_eq!(writer.close(LONG), Ok(()));
            assert_eq!(writer.close(LONG), Ok(()), "again");
            log(&writer, &["late"]);
        }
        assert_eq!(ids(&path), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_reopened_log_goes_on_in_a_new_file_and_one_that_cannot_be_in_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let writer = start(&path).unwrap();
        log(&writer, &["old"]);
        std::fs::rename(&path, &moved).unwrap();
        log(&writer, &["still-old"]);
        writer.reopen();
        log(&writer, &["new"]);
        assert_eq!(writer.close(LONG), Ok(()));
        assert_eq!(ids(&moved), ["old", "still-old"]);
        assert_eq!(ids(&path), ["new"]);

        let writer = start(&path).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        std::fs::create_dir(&path).unwrap();
        writer.reopen();
        log(&writer, &["kept"]);
        assert_eq!(writer.close(LONG), Ok(()));
        assert_eq!(ids(&elsewhere), ["new", "kept"]);
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("access.log");
        let error = start(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn lines_that_the_disk_has_no_room_for_are_counted() {
        let writer = start("/dev/full").unwrap();
        log(&writer, &["a", "b", "c"]);
        assert_eq!(writer.close(LONG), Ok(()));
        assert_eq!(writer.lines_failed(), 3);
    }

    /// Takes so many bytes, then fails until `fails` is over.
    struct Flaky {
        taken: Vec<u8>,
        room: usize,
        fails: usize,
    }

    impl Write for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.fails > 0 {
                self.fails -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let fits = if self.fails > 0 {
                bytes.len().min(self.room)
            } else {
                bytes.len()
            };
            self.room -= fits.min(self.room);
            self.taken.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next() {
        for (room, expected) in [(5, "one\nt\nfour\n"), (4, "one\nfour\n"), (0, "four\n")] {
            let mut sink = Sink::new(Flaky {
                taken: Vec::new(),
                room,
                fails: 2,
            });
            assert!(!sink.write(b"one\ntwo\n"), "cut");
            assert!(!sink.write(b"three\n"), "still failing");
            assert!(sink.write(b"four\n"), "again");
            assert_eq!(String::from_utf8_lossy(&sink.out.taken), expected);
        }
    }

    #[test]
    fn buffers_come_back_to_the_workers() {
        let queue = Queue::default();
        let mut bytes = Vec::with_capacity(4321);
        bytes.push(b'x');
        queue.recycle(bytes);
        queue.recycle(Vec::with_capacity(RECYCLED_BYTES_MAX + 1));
        let mut batch = Batch {
            bytes: b"line\n".to_vec(),
            lines: 1,
        };
        assert!(queue.push(&mut batch, 100));
        assert_eq!((batch.bytes.len(), batch.bytes.capacity(), batch.lines), (0, 4321, 0));
        assert!(
            queue.push(
                &mut Batch {
                    bytes: b"line\n".to_vec(),
                    lines: 1
                },
                100
            ),
            "no second one was kept"
        );
        assert!(queue.state.lock().empty.is_empty());
    }
}
