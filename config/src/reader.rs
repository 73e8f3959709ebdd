//! The visitor that reads: each key that a table describes is taken from the file; what is left over is unknown.

use toml::de::{DeTable, DeValue};

use crate::problem::{Notes, Wrong};
use crate::schema::{Codec, Keys, Spot, Visitor, type_name};

/// Reads a table over its defaults and notes every problem in it.
pub(crate) fn read_table<T: Keys>(table: &DeTable<'_>, preset: T, path: &str, notes: &mut Notes) -> T {
    let mut value = preset;
    let mut reader = Reader {
        table,
        path,
        notes,
        known: Vec::new(),
        missing_owner: None,
        idle: Vec::new(),
    };
    value.visit(&mut reader);
    reader.note_idle();
    reader.note_unknown();
    value
}

struct Reader<'a> {
    table: &'a DeTable<'a>,
    path: &'a str,
    notes: &'a mut Notes,
    /// The names described so far.
    known: Vec<&'static str>,
    /// The key without which those that are visited now mean nothing, while it is not set.
    missing_owner: Option<&'static str>,
    /// Keys that are there and mean nothing, with the owner they lack, unless they belong to another one as well.
    idle: Vec<(&'static str, &'static str)>,
}

impl Visitor for Reader<'_> {
    fn key<T, C: Codec<T>>(&mut self, name: &'static str, codec: C, field: &mut T, _meaning: &'static str) {
        let is_read = self.known.contains(&name) && self.idle.iter().all(|(idle, _)| *idle != name);
        let Some((value, path)) = self.take(name) else {
            if codec.is_required() {
                let wrong = format!("is missing; expected {}", codec.kind());
                self.notes.error(join(self.path, name), wrong);
            }
            return;
        };
        if let Some(owner) = self.missing_owner {
            if !is_read {
                self.idle.push((name, owner));
            }
            return;
        }
        self.idle.retain(|(idle, _)| *idle != name);
        let mut spot = Spot {
            path: &path,
            notes: self.notes,
        };
        if let Some(read) = codec.read(value, &mut spot) {
            *field = read;
        }
    }

    fn table<T: Keys>(&mut self, name: &'static str, table: &mut T, _meaning: &'static str) {
        if self.is_idle(name) {
            return;
        }
        if let Some((inner, path)) = self.take_table(name) {
            let preset = std::mem::replace(table, T::preset());
            *table = read_table(inner, preset, &path, self.notes);
        }
    }

    fn optional<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, _meaning: &'static str) {
        if self.is_idle(name) {
            return;
        }
        if let Some((inner, path)) = self.take_table(name) {
            *table = Some(read_table(inner, T::preset(), &path, self.notes));
        }
    }

    fn overrides<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, meaning: &'static str) {
        self.optional(name, table, meaning);
    }

    fn each<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<T>, _meaning: &'static str) {
        let Some((value, path)) = self.take(name) else {
            return;
        };
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("expected a list of tables; found {}", type_name(value.get_ref()));
            let hint = format!("write the header with two brackets: [[{}]]", without_indices(&path));
            self.notes.error(path, Wrong::from(message).hint(hint));
            return;
        };
        let mut read = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{path}[{i}]");
            self.notes.place(&path, item.span().start);
            match item.get_ref() {
                DeValue::Table(inner) => read.push(read_table(inner, T::preset(), &path, self.notes)),
                other => self
                    .notes
                    .error(path, format!("expected a table; found {}", type_name(other))),
            }
        }
        // Paths have indices, so the list counts only when nothing is missing in it.
        if read.len() == items.len() {
            *tables = read;
        }
    }

    fn named<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<(String, T)>, _meaning: &'static str) {
        let Some((outer, path)) = self.take_table(name) else {
            return;
        };
        let mut entries: Vec<_> = outer.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let path = format!("{path}.{}", key.get_ref());
            self.notes.place(&path, key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => {
                    let table = read_table(inner, T::preset(), &path, self.notes);
                    tables.push((key.get_ref().to_string(), table));
                }
                other => {
                    let message = format!("expected a table; found {}", type_name(other));
                    let hint = format!("its header has a name: [{name}.NAME]");
                    self.notes.error(path, Wrong::from(message).hint(hint));
                }
            }
        }
    }

    fn only_with(&mut self, owner: &'static str, is_set: bool, keys: impl FnOnce(&mut Self)) {
        // An owner that is there but wrong has been complained about.
        let is_there = is_set || self.notes.has(&join(self.path, owner));
        self.missing_owner = (!is_there).then_some(owner);
        keys(self);
        self.missing_owner = None;
    }
}

impl<'a> Reader<'a> {
    /// The value of a key and its path; notes that the name is known, and where it stands.
    fn take(&mut self, name: &'static str) -> Option<(&'a toml::Spanned<DeValue<'a>>, String)> {
        self.known.push(name);
        let (key, value) = self.table.get_key_value(name)?;
        let path = join(self.path, name);
        self.notes.place(&path, key.span().start);
        Some((value, path))
    }

    /// Whether a table means nothing because its owner is not set; notes that where it is there.
    fn is_idle(&mut self, name: &'static str) -> bool {
        let Some(owner) = self.missing_owner else { return false };
        if self.take(name).is_some() {
            self.idle.push((name, owner));
        }
        true
    }

    fn take_table(&mut self, name: &'static str) -> Option<(&'a DeTable<'a>, String)> {
        let (value, path) = self.take(name)?;
        match value.get_ref() {
            DeValue::Table(table) => Some((table, path)),
            DeValue::Array(_) => {
                let header = without_indices(&path);
                let wrong = Wrong::from("expected one table; found a list of tables");
                self.notes.error(
                    path,
                    wrong.hint(format!("write the header with single brackets: [{header}]")),
                );
                None
            }
            other => {
                self.notes
                    .error(path, format!("expected a table; found {}", type_name(other)));
                None
            }
        }
    }

    fn note_idle(&mut self) {
        self.idle.sort_unstable();
        for same_key in self.idle.chunk_by(|a, b| a.0 == b.0) {
            let owners: Vec<_> = same_key.iter().map(|(_, owner)| join(self.path, owner)).collect();
            let path = join(self.path, same_key[0].0);
            self.notes
                .error(path, format!("means nothing without {}", owners.join(" or ")));
        }
    }

    fn note_unknown(self) {
        let kind = |value: &DeValue<'_>| if value.is_table() { "table" } else { "key" };
        for (key, value) in self
            .table
            .iter()
            .filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref()))
        {
            let path = join(self.path, key.get_ref());
            self.notes.place(&path, key.span().start);
            let wrong = Wrong::from(format!("unknown {}", kind(value.get_ref())));
            let wrong = wrong.did_you_mean(key.get_ref(), self.known.iter().copied());
            let wrong = match self.known.len() {
                ..=KNOWN_LISTED_MAX if !wrong.has_hint() => {
                    wrong.hint(format!("known here: {}", self.known.join(", ")))
                }
                _ => wrong,
            };
            self.notes.error(path, wrong);
        }
    }
}

/// More names than this are not listed in a message.
const KNOWN_LISTED_MAX: usize = 10;

/// The path of a key in the table at `path`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// `site[1].route` as its header is written: `site.route`.
fn without_indices(path: &str) -> String {
    let mut header = String::with_capacity(path.len());
    let mut depth = 0_u32;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => header.push(c),
            _ => {}
        }
    }
    header
}
