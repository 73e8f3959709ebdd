//! Who may come in: lists of address blocks, written in the configuration or in files that are read again when they change.
//!
//! Reading files is for the start and for a thread of its own; asking is one pointer and one search. A file that turned bad
//! changes nothing: what was read before stays.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::address_block::{self, BlockError};
use super::address_set::AddressSet;
use super::reload::{FileSet, Occasion, Reload, Reloaded};
use crate::http::forwarded::IpNetwork;
use crate::time::WallTime;

/// One item of a list, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListItem {
    /// A block.
    Block(IpNetwork),
    /// A file with one block per line.
    File(PathBuf),
}

/// A list as it runs.
#[derive(Debug)]
pub struct AddressList {
    items: Vec<ListItem>,
    set: ArcSwap<AddressSet>,
    files: FileSet,
}

/// Files that cannot be used: each problem in a line of its own, with its file and line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListError(String);

/// Who may come in by two lists: nobody of `deny`, and where there is `allow`, only those.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Those who may.
    pub allow: Option<Arc<AddressList>>,
    /// Those who may not, whatever `allow` says.
    pub deny: Option<Arc<AddressList>>,
}

impl Access {
    /// Whether `address` may come in.
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_denied = self.deny.as_ref().is_some_and(|list| list.contains(address));
        !is_denied && self.allow.as_ref().is_none_or(|list| list.contains(address))
    }

    /// Whether everybody may.
    pub const fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_none()
    }

    /// Its lists.
    pub fn lists(&self) -> impl Iterator<Item = &Arc<AddressList>> {
        self.allow.iter().chain(&self.deny)
    }
}

impl AddressList {
    /// Reads the files of a list.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(items: Vec<ListItem>) -> Result<Arc<Self>, ListError> {
        let paths: Vec<_> = paths(&items).map(Path::to_owned).collect();
        let names: Vec<_> = paths.iter().map(|file| file.display().to_string()).collect();
        let files = FileSet::new("address_list", &names.join(", "), paths);
        let set = read(&items)?;
        Ok(Arc::new(Self {
            items,
            set: ArcSwap::from_pointee(set),
            files,
        }))
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.set.load().contains(address)
    }

    /// Whether it has files, so that it may change.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }
}

impl Reload for AddressList {
    fn reload(&self, occasion: Occasion, _: WallTime) -> Vec<Reloaded> {
        let take = |set| self.set.store(Arc::new(set));
        let read = || read(&self.items);
        self.files.read_again(occasion, read, take).into_iter().collect()
    }

    fn file_sets(&self) -> Vec<&FileSet> {
        vec![&self.files]
    }
}

/// Bytes of a file: half a million blocks in long form. Larger ones are a mistake, and would be read each time they change.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Problems of one file that are told.
const PROBLEMS_MAX: usize = 10;

fn paths(items: &[ListItem]) -> impl Iterator<Item = &Path> {
    items.iter().filter_map(|item| match item {
        ListItem::File(file) => Some(file.as_path()),
        ListItem::Block(_) => None,
    })
}

fn read(items: &[ListItem]) -> Result<AddressSet, ListError> {
    let (mut blocks, mut problems) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            ListItem::Block(block) => blocks.push(*block),
            ListItem::File(file) => match text(file) {
                Ok(text) => read_lines(file, &text, &mut blocks, &mut problems),
                Err(problem) => problems.push(format!("{}: {problem}", file.display())),
            },
        }
    }
    if problems.is_empty() {
        Ok(AddressSet::new(blocks))
    } else {
        Err(ListError(problems.join("\n")))
    }
}

fn text(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Err(error) => Err(error.to_string()),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(format!("larger than {} MiB", FILE_BYTES_MAX >> 20)),
        Ok(_) => Ok(text),
    }
}

/// One block per line; `#` begins a comment.
fn read_lines(file: &Path, text: &str, blocks: &mut Vec<IpNetwork>, problems: &mut Vec<String>) {
    let mut wrong = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match address_block::parse(line) {
            Ok(block) => blocks.push(block),
            Err(error) => {
                wrong += 1;
                if wrong <= PROBLEMS_MAX {
                    problems.push(problem(file, number, &error));
                }
            }
        }
    }
    if wrong > PROBLEMS_MAX {
        problems.push(format!("{}: and {} more", file.display(), wrong - PROBLEMS_MAX));
    }
}

fn problem(file: &Path, line: usize, error: &BlockError) -> String {
    let mut text = format!("{}:{line}: {error}", file.display());
    if let BlockError::HostBits { meant, .. } = error {
        let written = write!(text, "; did you mean {meant:?}?");
        debug_assert!(written.is_ok(), "writing to a String");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn list(blocks: &[&str]) -> Arc<AddressList> {
        let items = blocks
            .iter()
            .map(|text| ListItem::Block(address_block::parse(text).unwrap()));
        AddressList::load(items.collect()).unwrap()
    }

    #[test]
    fn deny_goes_before_allow_and_no_list_keeps_nobody_out() {
        let some = || Some(list(&["10.0.0.0/8"]));
        let one = || Some(list(&["10.0.0.1", "192.0.2.0/24"]));
        for (allow, deny, inside, bad, other) in [
            (None, None, true, true, true),
            (some(), None, true, true, false),
            (None, one(), true, false, true),
            (some(), one(), true, false, false),
        ] {
            let access = Access { allow, deny };
            let admits = ["10.0.0.2", "10.0.0.1", "198.51.100.1"].map(|address| access.admits(ip(address)));
            assert_eq!(admits, [inside, bad, other], "{access:?}");
        }
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deny");
        std::fs::write(&file, "# bad guys\n192.0.2.0/24 # all of them\n\n2001:db8::/32\r\n").unwrap();
        let list = AddressList::load(vec![ListItem::File(file.clone())]).unwrap();
        assert!(list.contains(ip("192.0.2.7")) && list.contains(ip("2001:db8::1")) && !list.contains(ip("10.0.0.1")));
        let reload = || list.reload(Occasion::Change, WallTime::from_unix_secs(0));
        assert_eq!(reload(), [], "nothing changed");

        std::fs::write(&file, "10.0.0.0/8\n").unwrap();
        reload();
        assert!(!list.contains(ip("192.0.2.7")) && list.contains(ip("10.0.0.1")));
        for bad in ["10.0.0.1/8\n", "here be dragons\n"] {
            std::fs::write(&file, bad).unwrap();
            reload();
            assert!(list.contains(ip("10.0.0.1")), "the old one stays");
        }
        std::fs::remove_file(&file).unwrap();
        reload();
        assert!(list.contains(ip("10.0.0.1")));
        assert_eq!(list.files.counts(), (1, 3));
    }

    #[test]
    fn problems_are_told_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let (file, absent) = (folder.path().join("list"), folder.path().join("absent"));
        std::fs::write(&file, "10.0.0.0/8\n10.0.0.1/8\n\n10.0.0.0/33\nx\n").unwrap();
        let error = AddressList::load(vec![ListItem::File(file.clone()), ListItem::File(absent.clone())]).unwrap_err();
        let (file, absent) = (file.display(), absent.display());
        let expected = format!(
            "{file}:2: \"10.0.0.1/8\" has bits set behind its prefix; did you mean \"10.0.0.0/8\"?\n\
             {file}:4: \"10.0.0.0/33\" has 33 leading bits; at most 32\n\
             {file}:5: \"x\" is not an address block, such as \"10.0.0.0/8\" or \"fd00::/8\"\n\
             {absent}: No such file or directory (os error 2)"
        );
        assert_eq!(error.to_string(), expected);
        let many = "x\n".repeat(1000);
        std::fs::write(folder.path().join("many"), many).unwrap();
        let error = AddressList::load(vec![ListItem::File(folder.path().join("many"))]).unwrap_err();
        assert!(error.to_string().ends_with("and 990 more"), "{error}");
    }

    #[test]
    fn a_hundred_thousand_blocks_are_searched_and_not_walked_through() {
        let items = (0..100_000_u32).map(|n| {
            ListItem::Block(IpNetwork {
                address: IpAddr::V4((n << 12).into()),
                prefix: 24,
            })
        });
        let list = AddressList::load(items.collect()).unwrap();
        let found = (0..1_000_000_u32)
            .filter(|n| list.contains(IpAddr::V4((n << 8).into())))
            .count();
        assert_eq!(found, 62_500);
    }
}
