//! Session tickets whose keys are in files, so that several nodes resume each other's sessions (RFC 5077, RFC 8446 §4.6.1).
//!
//! A file is 48 or 80 random bytes, as nginx and HAProxy have them: a name of 16, and a secret. The first file's key seals
//! tickets, all open them. A ticket is `name ‖ nonce ‖ AES-256-GCM-SIV(issued ‖ session)`; the key is drawn from the secret
//! by HKDF-SHA256. The tickets of other programs are not understood, their key files are.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use super::file::{self, FileError, content};
use crate::net::reload::{FileSet, Occasion, Reloaded};
use crate::time::{Clock, WallTime};

/// How long a ticket opens, whatever its key: as long as those whose keys stay in the process.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);
const NAME: usize = 16;
const NONCE: usize = 12;
const ISSUED: usize = 8;
/// What a key file may be long: names and secrets of 128 and 256 bits, twice.
const FILE_BYTES: [usize; 2] = [48, 80];
/// What the drawn key is for.
const PURPOSE: &[u8] = b"tidegate session ticket 1";

/// The keys of some files, as they are now.
pub struct TicketKeys {
    files: Vec<PathBuf>,
    set: FileSet,
    keys: ArcSwap<Vec<TicketKey>>,
    opened: [AtomicU64; Opened::ALL.len()],
}

/// One key.
struct TicketKey {
    name: [u8; NAME],
    key: LessSafeKey,
}

/// What became of tickets that clients have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Sealed with the first key.
    Current,
    /// Sealed with another one.
    Older,
    /// Sealed with a key that is in none of the files.
    UnknownKey,
    /// Too old.
    Expired,
    /// Damaged, or forged.
    Bad,
}

impl Opened {
    /// All of them, in the order of their counts.
    pub const ALL: [Self; 5] = [Self::Current, Self::Older, Self::UnknownKey, Self::Expired, Self::Bad];

    /// The word in the metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current_key",
            Self::Older => "older_key",
            Self::UnknownKey => "unknown_key",
            Self::Expired => "expired",
            Self::Bad => "bad",
        }
    }
}

impl TicketKeys {
    /// Reads the keys of `[tls.NAME]`; there is at least one file.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(name: &str, files: &[PathBuf]) -> Result<Self, FileError> {
        let set = FileSet::new("ticket_keys", name, files.to_vec());
        Ok(Self {
            keys: ArcSwap::from_pointee(read_all(files)?),
            files: files.to_vec(),
            set,
            opened: Default::default(),
        })
    }

    /// Reads the files again where there is occasion to; a bad one leaves all keys as they were.
    pub fn reload(&self, occasion: Occasion) -> Option<Reloaded> {
        let take = |keys| self.keys.store(std::sync::Arc::new(keys));
        self.set.read_again(occasion, || read_all(&self.files), take)
    }

    /// Its files, with what came of reading them again.
    pub(super) const fn file_set(&self) -> &FileSet {
        &self.set
    }

    /// Files that everybody on this machine may read.
    pub fn exposed(&self) -> impl Iterator<Item = &Path> {
        let is_exposed = |file: &&PathBuf| std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o004 != 0);
        self.files.iter().filter(is_exposed).map(PathBuf::as_path)
    }

    /// What became of the tickets that were shown, so far.
    pub fn opened(&self) -> impl Iterator<Item = (Opened, u64)> {
        let counts = self.opened.iter().map(|count| count.load(Ordering::Relaxed));
        Opened::ALL.into_iter().zip(counts)
    }

    fn seal(&self, session: &[u8], now: WallTime) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let TicketKey { name, key } = keys.first()?;
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(ISSUED + session.len() + AES_256_GCM_SIV.tag_len());
        sealed.extend(now.unix_secs().to_be_bytes());
        sealed.extend_from_slice(session);
        let bound = Aad::from(name);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    /// The session of a ticket.
    fn open(&self, ticket: &[u8], now: WallTime) -> Result<(Opened, Vec<u8>), Opened> {
        let (name, rest) = ticket.split_first_chunk::<NAME>().ok_or(Opened::Bad)?;
        let keys = self.keys.load();
        let place = keys.iter().position(|key| key.name == *name);
        let place = place.ok_or(Opened::UnknownKey)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(Opened::Bad)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = keys[place].key.open_in_place(nonce, Aad::from(name), &mut sealed);
        let plain = plain.map_err(|_| Opened::Bad)?;
        let (issued, session) = plain.split_first_chunk::<ISSUED>().ok_or(Opened::Bad)?;
        // Another node's clock may be ahead of ours.
        let age = now.unix_secs().saturating_sub(u64::from_be_bytes(*issued));
        if age > LIFETIME.as_secs() {
            return Err(Opened::Expired);
        }
        let opened = if place == 0 { Opened::Current } else { Opened::Older };
        Ok((opened, session.to_vec()))
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Clock::System.wall())
    }

    /// A ticket that does not open leads to a full handshake.
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (opened, session) = match self.open(cipher, Clock::System.wall()) {
            Ok((opened, session)) => (opened, Some(session)),
            Err(refused) => (refused, None),
        };
        self.opened[opened as usize].fetch_add(1, Ordering::Relaxed);
        session
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.files).finish()
    }
}

fn read_all(files: &[PathBuf]) -> Result<Vec<TicketKey>, FileError> {
    let mut keys: Vec<(&Path, Vec<u8>)> = Vec::with_capacity(files.len());
    for file in files {
        let bytes = read(file)?;
        // A copy of a key is none: rotating may pass through that.
        if keys.iter().any(|(_, other)| *other == bytes) {
            continue;
        }
        if let Some((other, _)) = keys.iter().find(|(_, other)| other[..NAME] == bytes[..NAME]) {
            let what = format!(
                "its first 16 bytes, by which tickets name their key, are those of {}",
                other.display()
            );
            return Err(content(file, what));
        }
        keys.push((file, bytes));
    }
    keys.into_iter()
        .map(|(file, bytes)| TicketKey::new(file, &bytes))
        .collect()
}

fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = file::read(file)?;
    if !FILE_BYTES.contains(&bytes.len()) {
        let what = format!(
            "has {} bytes; a key is 48 or 80 random ones (openssl rand 80)",
            bytes.len()
        );
        return Err(content(file, what));
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err(content(file, "is one byte over and over, and no key"));
    }
    Ok(bytes)
}

impl TicketKey {
    fn new(file: &Path, bytes: &[u8]) -> Result<Self, FileError> {
        let refused = || content(file, "the library draws no key from it");
        let (name, secret) = bytes.split_first_chunk::<NAME>().ok_or_else(refused)?;
        let drawn = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let key = drawn.expand(&[PURPOSE], &AES_256_GCM_SIV).map_err(|_| refused())?;
        Ok(Self {
            name: *name,
            key: LessSafeKey::new(UnboundKey::from(key)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000);

    /// A key whose bytes follow from `seed`.
    fn bytes(seed: u8, length: usize) -> Vec<u8> {
        (0..length)
            .map(|i| seed.wrapping_add(u8::try_from(i).unwrap()))
            .collect()
    }

    fn keys(folder: &Path, files: &[(&str, Vec<u8>)]) -> Result<TicketKeys, FileError> {
        let write = |(name, bytes): &(&str, Vec<u8>)| {
            let file = folder.join(name);
            std::fs::write(&file, bytes).unwrap();
            file
        };
        let files: Vec<_> = files.iter().map(write).collect();
        TicketKeys::load("test", &files)
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (bytes(1, 80), bytes(100, 48));
        let before = keys(folder.path(), &[("a", old.clone())]).unwrap();
        let during = keys(folder.path(), &[("b", new.clone()), ("c", old)]).unwrap();
        let after = keys(folder.path(), &[("d", new)]).unwrap();
        let (first, second) = (before.seal(b"one", NOW).unwrap(), during.seal(b"two", NOW).unwrap());
        for (keys, ticket, expected) in [
            (&before, &first, Ok((Opened::Current, b"one".to_vec()))),
            (&during, &first, Ok((Opened::Older, b"one".to_vec()))),
            (&during, &second, Ok((Opened::Current, b"two".to_vec()))),
            (&after, &second, Ok((Opened::Current, b"two".to_vec()))),
            (&after, &first, Err(Opened::UnknownKey)),
            (&before, &second, Err(Opened::UnknownKey)),
        ] {
            assert_eq!(keys.open(ticket, NOW), expected);
        }
        assert_ne!(before.seal(b"one", NOW).unwrap(), first, "no two are alike");
    }

    #[test]
    fn what_was_changed_cut_or_kept_too_long_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), &[("a", bytes(1, 80))]).unwrap();
        let ticket = keys.seal(b"session", NOW).unwrap();
        for place in NAME..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.open(&changed, NOW), Err(Opened::Bad), "{place}");
        }
        for length in 0..ticket.len() {
            assert!(keys.open(&ticket[..length], NOW).is_err(), "{length}");
        }
        let hours = |hours: u64| WallTime::from_unix_secs(NOW.unix_secs() + hours * 3600);
        assert!(keys.open(&ticket, hours(12)).is_ok());
        assert_eq!(keys.open(&ticket, hours(13)), Err(Opened::Expired));
        let earlier = WallTime::from_unix_secs(NOW.unix_secs() - 60);
        assert!(keys.open(&ticket, earlier).is_ok(), "clocks differ");
        let counts = |keys: &TicketKeys| keys.opened().map(|(_, count)| count).collect::<Vec<_>>();
        assert!(keys.decrypt(b"nothing like it").is_none());
        assert_eq!(counts(&keys), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut same_name = bytes(1, 80);
        same_name[79] ^= 1;
        for (files, named, what) in [
            (vec![("short", bytes(1, 47))], "short", "has 47 bytes"),
            (vec![("empty", Vec::new())], "empty", "has 0 bytes"),
            (vec![("long", bytes(1, 81))], "long", "has 81 bytes"),
            (vec![("zeros", vec![0; 80])], "zeros", "one byte over and over"),
            (
                vec![("one", bytes(1, 80)), ("other", same_name.clone())],
                "other",
                "are those of",
            ),
        ] {
            let error = keys(folder.path(), &files).unwrap_err().to_string();
            let (file, rest) = error.split_once(": ").unwrap();
            assert!(file.ends_with(named) && rest.contains(what), "{error}");
        }
        let absent = TicketKeys::load("test", &[folder.path().join("absent")]).unwrap_err();
        assert!(absent.to_string().contains("absent: No such file"), "{absent}");
        assert!(keys(folder.path(), &[("one", bytes(1, 80)), ("copy", bytes(1, 80))]).is_ok());
    }

    #[test]
    fn a_file_that_everybody_may_read_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), &[("a", bytes(1, 80)), ("b", bytes(2, 80))]).unwrap();
        for (name, mode) in [("a", 0o640), ("b", 0o644)] {
            let file = folder.path().join(name);
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(keys.exposed().collect::<Vec<_>>(), [folder.path().join("b")]);
    }

    #[test]
    fn changed_files_are_taken_over_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), &[("a", bytes(1, 80))]).unwrap();
        let ticket = keys.seal(b"session", NOW).unwrap();
        let change = |bytes: &[u8]| {
            std::fs::write(folder.path().join("a"), bytes).unwrap();
            let told = keys.reload(Occasion::Change).unwrap();
            (told.kept.is_none(), keys.open(&ticket, NOW).is_ok())
        };
        assert_eq!(change(b"short"), (false, true));
        assert_eq!(change(&bytes(9, 80)), (true, false));
        assert_eq!(change(&bytes(1, 80)[..79]), (false, false));
        assert_eq!(keys.file_set().counts(), (1, 2));
    }
}
