//! Threads that verify passwords, since no worker may compute for a tenth of a second.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

use common::time::mono_now;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::users::{Digest, Users, Verdict};

/// Has passwords verified by [`Verifying`], whose threads end when it and its clones are dropped.
#[derive(Clone)]
pub struct Verifier {
    users: Arc<HashMap<PathBuf, Arc<Users>>>,
    queue: SyncSender<Job>,
}

/// A name and a password, as a client sent them.
pub struct Claim {
    /// Whose.
    pub name: String,
    /// What only they know.
    pub password: String,
    /// By what both are remembered.
    pub digest: Digest,
}

/// The threads that verify, to be started once.
pub struct Verifying {
    /// Whether there are users.
    are_needed: bool,
    jobs: Arc<Mutex<Receiver<Job>>>,
}

struct Job {
    users: Arc<Users>,
    claim: Claim,
    verdict: oneshot::Sender<Verdict>,
}

/// Each takes a CPU for as long as it verifies, and no more than these.
const THREADS: usize = 2;
/// Passwords that wait for a thread; at a tenth of a second each the last one waits for three seconds.
const QUEUE_MAX: usize = 64;

impl Verifier {
    /// Of these users; verified by what is to be started beside it.
    pub fn new(users: HashMap<PathBuf, Arc<Users>>) -> (Self, Verifying) {
        let (queue, jobs) = mpsc::sync_channel(QUEUE_MAX);
        let users = Arc::new(users);
        let verifying = Verifying {
            are_needed: !users.is_empty(),
            jobs: Arc::new(Mutex::new(jobs)),
        };
        (Self { users, queue }, verifying)
    }

    /// The users of a file.
    pub fn users(&self, file: &Path) -> Option<&Arc<Users>> {
        self.users.get(file)
    }

    /// Verifies a claim; `None` where too many others are waiting.
    pub async fn verify(&self, users: &Arc<Users>, claim: Claim) -> Option<Verdict> {
        let (verdict, coming) = oneshot::channel();
        let job = Job {
            users: Arc::clone(users),
            claim,
            verdict,
        };
        self.queue.try_send(job).ok()?;
        coming.await.ok()
    }
}

impl Verifying {
    /// Starts the threads, where there are users.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(&self) -> io::Result<()> {
        let threads = if self.are_needed { THREADS } else { 0 };
        for _ in 0..threads {
            let jobs = Arc::clone(&self.jobs);
            std::thread::Builder::new()
                .name("tidegate-auth".to_owned())
                .spawn(move || work(&jobs))?;
        }
        Ok(())
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is not held while a password is verified.
        let job = jobs.lock().recv();
        match job {
            Ok(job) => job.run(),
            Err(mpsc::RecvError) => return,
        }
    }
}

impl Job {
    fn run(self) {
        // A client that has left wants no verdict.
        if self.verdict.is_closed() {
            return;
        }
        let Claim { name, password, digest } = &self.claim;
        let verdict = self.users.verify(name, password, digest, mono_now());
        if self.verdict.send(verdict).is_err() {
            tracing::debug!("a client has left before its password was verified");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::password::tests::BCRYPT;
    use super::*;

    fn claim(users: &Users, password: &str) -> Claim {
        Claim {
            name: "ann".to_owned(),
            password: password.to_owned(),
            digest: users.digest(password.as_bytes()),
        }
    }

    #[tokio::test]
    async fn a_password_is_verified_and_a_full_queue_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        std::fs::write(&file, format!("ann:{BCRYPT}\n")).unwrap();
        let users = Arc::new(Users::read(&file).unwrap());
        let (verifier, verifying) = Verifier::new([(file, Arc::clone(&users))].into());
        verifying.start().unwrap();
        for (password, verdict) in [("secret", Verdict::Right), ("wrong", Verdict::Wrong)] {
            assert_eq!(verifier.verify(&users, claim(&users, password)).await, Some(verdict));
        }
        // A queue that nobody works off.
        let (queue, _jobs) = mpsc::sync_channel(1);
        let stuck = Verifier { queue, ..verifier };
        let waiting = stuck.verify(&users, claim(&users, "secret"));
        let mut waiting = Box::pin(waiting);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert_eq!(stuck.verify(&users, claim(&users, "secret")).await, None);
    }
}
