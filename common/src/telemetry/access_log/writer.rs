//! The access log's file, and the one thread that writes it.
//!
//! The thread is the only one that waits for the file. What it cannot write (a full disk, a closed pipe) is counted, told
//! once, and not tried again: a log that is behind must not fill the memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::queue::{Queue, Task};
use super::sink::Sink;
use super::{AccessLog, AccessLogSettings, AccessLogTarget};

/// The access log's file and thread; for the whole process.
#[derive(Debug)]
pub struct AccessLogWriter {
    settings: AccessLogSettings,
    queue: Arc<Queue>,
    /// Until the thread has it.
    file: Mutex<Option<File>>,
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
    /// Opens the target; what is handed over waits until the thread is started.
    ///
    /// # Errors
    /// The error of opening the file, with the path in its text.
    pub fn open(settings: AccessLogSettings) -> io::Result<Self> {
        let file = open(&settings.to)?;
        Ok(Self {
            settings,
            queue: Arc::new(Queue::default()),
            file: Mutex::new(Some(file)),
            thread: Mutex::new(None),
        })
    }

    /// Starts the thread, once.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start(&self) -> io::Result<()> {
        let Some(file) = self.file.lock().take() else {
            return Ok(());
        };
        let (queue, target) = (Arc::clone(&self.queue), self.settings.to.clone());
        let builder = std::thread::Builder::new().name("access-log".to_owned());
        let thread = builder.spawn(move || run(&queue, file, &target))?;
        *self.thread.lock() = Some(thread);
        Ok(())
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
        self.queue.lines_failed()
    }

    /// Writes what was handed over, and ends the thread. Lines handed over later are dropped, and counted as such.
    ///
    /// # Errors
    /// [`Unwritten`] when that takes longer than `within`; the thread is left behind then.
    pub fn close(&self, within: Duration) -> Result<(), Unwritten> {
        self.queue.close();
        if !self.queue.wait_for_end(within) {
            return Err(Unwritten { within });
        }
        match self.thread.lock().take().map(JoinHandle::join) {
            Some(Err(_panic)) => Err(Unwritten { within }),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl Drop for AccessLogWriter {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The thread.
fn run(queue: &Queue, file: File, target: &AccessLogTarget) {
    let _ended = Ended(queue);
    let mut sink = Sink::new(file);
    loop {
        match queue.next() {
            Task::Write(batch) => {
                let written = sink.write(&batch.bytes);
                queue.take_back(batch, written);
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
        self.0.end();
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

/// Addresses of clients are nobody's business but the operator's.
const FILE_MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{AccessLogFormat, AccessRecord};
    use super::*;
    use crate::telemetry::metrics::{Counter, Metrics};

    const LONG: Duration = Duration::from_secs(60);

    fn start(path: impl Into<PathBuf>) -> io::Result<AccessLogWriter> {
        let writer = AccessLogWriter::open(AccessLogSettings {
            to: AccessLogTarget::File(path.into()),
            format: AccessLogFormat::Json,
            buffer_bytes: 1,
            flush: Duration::ZERO,
        })?;
        writer.start()?;
        Ok(writer)
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

    /// The file is moved away and reopened meanwhile, and the queue is small enough to be full now and then.
    #[test]
    fn of_many_workers_no_line_is_torn_doubled_or_lost_but_those_that_are_counted() {
        const WORKERS: usize = 6;
        const LINES: usize = 8000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let writer = start(&path).unwrap();
        let counts: Vec<_> = (0..WORKERS).map(|_| Metrics::default()).collect();
        std::thread::scope(|scope| {
            for (worker, metrics) in counts.iter().enumerate() {
                let log = writer.worker_end();
                scope.spawn(move || {
                    for line in 0..LINES {
                        let id = format!("{worker}-{line}");
                        let user_agent = vec![b'"'; line % 999];
                        let record = AccessRecord {
                            request_id: &id,
                            user_agent: Some(&user_agent),
                            ..AccessRecord::default()
                        };
                        log.record(&record, metrics);
                    }
                    log.flush(metrics);
                });
            }
            for moved in 0..20 {
                std::fs::rename(&path, dir.path().join(moved.to_string())).unwrap();
                writer.reopen();
                while !path.exists() {
                    std::thread::yield_now();
                }
            }
        });
        assert_eq!(writer.close(LONG), Ok(()));
        assert_eq!(writer.lines_failed(), 0);

        let files = (0..20).map(|moved| dir.path().join(moved.to_string())).chain([path]);
        let ids: Vec<String> = files.flat_map(|file| whole_ids(&file)).collect();
        for (worker, metrics) in counts.iter().enumerate() {
            let prefix = format!("{worker}-");
            let own: Vec<usize> = ids
                .iter()
                .filter_map(|id| id.strip_prefix(&prefix))
                .map(|line| line.parse().unwrap())
                .collect();
            assert!(own.is_sorted_by(|a, b| a < b), "each once, in their order");
            let (written, dropped) = (
                metrics.get(Counter::AccessLogLines),
                metrics.get(Counter::AccessLogDropped),
            );
            assert_eq!((written, written + dropped), (own.len() as u64, LINES as u64));
        }
    }

    /// The ids of lines each of which begins and ends as it has to.
    fn whole_ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.lines().all(|line| line.starts_with("{\"time\":\"")
                && line.ends_with("\"total_us\":0}")
                && line.matches("req.id").count() == 1),
            "a torn line in {}",
            path.display()
        );
        ids(path)
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
}
