//! A file of users and hashed passwords, as `htpasswd -B` makes it, and which credentials were found right lately.
//!
//! A password is verified by [`super::verifier`], because a good hash takes a tenth of a second. What was right is
//! remembered for a while by a keyed digest; nothing is remembered of what was wrong. A changed file is taken over as a
//! whole, with nothing remembered; a bad one leaves the users as they were.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::{hmac, rand::SystemRandom};
use common::net::reload::{FileSet, Occasion, Reload, Reloaded};
use common::time::{MonoTime, WallTime};
use config::Config;
use parking_lot::Mutex;

use super::password::Hash;

/// The users of one file.
pub struct Users {
    file: PathBuf,
    /// What digests are keyed with: of this process, and of nobody else.
    key: hmac::Key,
    current: ArcSwap<Loaded>,
    files: FileSet,
}

/// What was read.
struct Loaded {
    hashes: HashMap<String, Hash>,
    /// Until when credentials that were right are right without being verified.
    known: Mutex<HashMap<Digest, MonoTime>>,
}

/// A keyed digest of credentials as they stand in the field.
pub type Digest = [u8; 32];

/// What came of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Right,
    /// It is not that user's.
    Wrong,
    /// There is no such user.
    Unknown,
}

/// For how long credentials that were right are not verified again.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Credentials that are remembered for a file: a megabyte or so.
const KNOWN_MAX: usize = 10_000;
/// Bytes of the largest file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads all files of users that a configuration names; what is wrong goes to `wrong`, a line each.
pub fn read_all(config: &Config, wrong: &mut Vec<String>) -> HashMap<PathBuf, Arc<Users>> {
    let mut all = HashMap::new();
    for site in &config.sites {
        let routes = site.routes.iter().map(|route| &route.traffic);
        for path in std::iter::once(&site.traffic)
            .chain(routes)
            .filter_map(|traffic| traffic.users())
        {
            if all.contains_key(path) {
                continue;
            }
            match Users::read(path) {
                Ok(users) => drop(all.insert(path.to_owned(), Arc::new(users))),
                Err(error) => {
                    let line = format!("site {}: {error}", site.name);
                    // Routes inherit the users of their site.
                    if !wrong.contains(&line) {
                        wrong.push(line);
                    }
                }
            }
        }
    }
    all
}

impl Users {
    /// Reads a file of lines `name:hash`.
    ///
    /// # Errors
    /// What is wrong with which line, or why the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, String> {
        let files = FileSet::new("users", &file.display().to_string(), vec![file.to_owned()]);
        let loaded = Loaded::read(file)?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            file: file.to_owned(),
            key: key.map_err(|_| "the system gives no random numbers".to_owned())?,
            current: ArcSwap::from_pointee(loaded),
            files,
        })
    }

    /// By what credentials are remembered.
    pub fn digest(&self, credentials: &[u8]) -> Digest {
        let mut digest = Digest::default();
        // HMAC-SHA256 is as long as that.
        digest.copy_from_slice(hmac::sign(&self.key, credentials).as_ref());
        digest
    }

    /// Whether these credentials were right lately.
    pub fn knows(&self, digest: &Digest, now: MonoTime) -> bool {
        self.current.load().knows(digest, now)
    }

    /// Verifies a password, which takes long; what is right is remembered.
    pub fn verify(&self, name: &str, password: &str, digest: &Digest, now: MonoTime) -> Verdict {
        let users = self.current.load_full();
        // Several requests of one page come with the same credentials.
        if users.knows(digest, now) {
            return Verdict::Right;
        }
        let Some(hash) = users.hashes.get(name) else {
            // As long as for a name that exists: which hash stands in depends on the name alone, as it does for users.
            let place = usize::from_ne_bytes(
                self.digest(name.as_bytes())[..size_of::<usize>()]
                    .try_into()
                    .unwrap_or_default(),
            );
            let stand_in = users.hashes.values().nth(place % users.hashes.len().max(1));
            std::hint::black_box(stand_in.map(|hash| hash.is_of(password)));
            return Verdict::Unknown;
        };
        if !hash.is_of(password) {
            return Verdict::Wrong;
        }
        users.remember(*digest, now);
        Verdict::Right
    }
}

impl Reload for Users {
    fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
        let take = |loaded| self.current.store(Arc::new(loaded));
        let read = || Loaded::read(&self.file);
        self.files.read_again(occasion, read, take).into_iter().collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        vec![&self.files]
    }
}

impl Loaded {
    fn read(file: &Path) -> Result<Self, String> {
        let text = read_text(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut hashes = HashMap::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // Nothing of a hash stands in an error: errors go to logs.
            let wrong = |what: &str| format!("{}:{number}: {what}", file.display());
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("is not \"name:hash\""))?;
            let hash = Hash::parse(hash).map_err(|what| wrong(&format!("the hash of {name:?} {what}")))?;
            if hashes.insert(name.to_owned(), hash).is_some() {
                return Err(wrong(&format!("{name:?} is there already")));
            }
        }
        if hashes.is_empty() {
            return Err(format!("{}: there is no user in it", file.display()));
        }
        Ok(Self {
            hashes,
            known: Mutex::default(),
        })
    }

    fn knows(&self, digest: &Digest, now: MonoTime) -> bool {
        self.known.lock().get(digest).is_some_and(|until| now < *until)
    }

    fn remember(&self, digest: Digest, now: MonoTime) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, until| now < *until);
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest, now + KNOWN_FOR);
    }
}

fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("is larger than 4MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use common::time::mono_now;

    use super::super::password::tests::{ARGON2, BCRYPT, SHA512};
    use super::*;

    fn users(text: &str) -> Result<(tempfile::TempDir, Users), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        fs::write(&file, text).unwrap();
        Users::read(&file).map(|users| (folder, users))
    }

    #[test]
    fn only_the_right_password_is_right_and_remembered_for_a_while() {
        let (_folder, users) = users(&format!("# users\n\nann:{BCRYPT}\nbob:{SHA512}\neve:{ARGON2}\n")).unwrap();
        let now = mono_now();
        for (name, password, expected) in [
            ("ann", "secret", Verdict::Right),
            ("ann", "secreT", Verdict::Wrong),
            ("ann", "", Verdict::Wrong),
            ("bob", "secret", Verdict::Right),
            ("bob", "wrong", Verdict::Wrong),
            ("eve", "password", Verdict::Right),
            ("eve", "secret", Verdict::Wrong),
            ("nobody", "secret", Verdict::Unknown),
            ("", "", Verdict::Unknown),
        ] {
            let digest = users.digest(format!("{name}:{password}").as_bytes());
            assert!(!users.knows(&digest, now), "{name}");
            assert_eq!(
                users.verify(name, password, &digest, now),
                expected,
                "{name}:{password}"
            );
            assert_eq!(
                users.knows(&digest, now),
                expected == Verdict::Right,
                "{name}:{password}"
            );
            assert!(!users.knows(&digest, now + KNOWN_FOR));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (_folder, users) = users(&format!("ann:{BCRYPT}\n")).unwrap();
        let (loaded, now) = (users.current.load_full(), mono_now());
        for number in 0..=KNOWN_MAX {
            loaded.remember(users.digest(&number.to_ne_bytes()), now);
            assert!(loaded.known.lock().len() <= KNOWN_MAX);
        }
        assert!(users.knows(&users.digest(&KNOWN_MAX.to_ne_bytes()), now));
    }

    #[test]
    fn a_changed_file_is_taken_over_and_a_bad_one_is_not() {
        let (folder, users) = users(&format!("ann:{BCRYPT}\n")).unwrap();
        let now = mono_now();
        let digest = users.digest(b"ann:secret");
        let change = |text: &str| {
            fs::write(folder.path().join("users"), text).unwrap();
            users.reload(Occasion::Change, WallTime::from_unix_secs(0));
            (users.knows(&digest, now), users.verify("ann", "secret", &digest, now))
        };
        assert_eq!(change(&format!("ann:{BCRYPT}\n\n")), (false, Verdict::Right));
        for bad in ["", "ann:plain\n", "# nobody\n"] {
            assert_eq!(change(bad), (true, Verdict::Right), "{bad}");
        }
        assert_eq!(change(&format!("bob:{SHA512}\n\n")), (false, Verdict::Unknown));
    }

    #[test]
    fn a_bad_line_is_told_with_its_place_and_without_its_hash() {
        for (text, told) in [
            ("", "users: there is no user in it"),
            ("ann", "users:1: is not \"name:hash\""),
            ("# x\nann:plain", "users:2: the hash of \"ann\" is of no kind"),
            (
                "ann:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                "users:1: the hash of \"ann\" is of no kind",
            ),
            ("ann:$apr1$abc$def", "users:1: the hash of \"ann\" is of no kind"),
            (&format!("a:{BCRYPT}\na:{BCRYPT}"), "users:2: \"a\" is there already"),
        ] {
            let error = users(text).err().unwrap();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("plain") && !error.contains("2jmj"), "{error}");
        }
    }
}
