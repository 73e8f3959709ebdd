//! The visitor that prints: the effective configuration as TOML, every default written out.

use crate::model::Config;
use crate::schema::{Codec, Keys, Visitor};
use crate::sections::Draft;

/// The configuration as a file that says everything; [`crate::parse`] makes an equal configuration of it.
pub fn print(config: &Config) -> String {
    let mut printer = Printer::default();
    Draft::from(config).visit(&mut printer);
    printer.out
}

/// A table within a line.
pub(crate) fn inline<T: Keys>(table: &mut T) -> String {
    let mut printer = Printer::default();
    table.visit(&mut printer);
    // A long list within a line stays within it.
    let out = printer
        .out
        .replace("[\n    ", "[")
        .replace(",\n    ", ", ")
        .replace(",\n]", "]");
    let keys: Vec<_> = out.lines().collect();
    format!("{{ {} }}", keys.join(", "))
}

#[derive(Default)]
struct Printer {
    out: String,
    /// Where we are, as headers write it.
    header: String,
}

impl Visitor for Printer {
    fn key<T, C: Codec<T>>(&mut self, name: &'static str, codec: C, field: &mut T, _meaning: &'static str) {
        if let Some(value) = codec.write(field) {
            self.out.push_str(&format!("{name} = {value}\n"));
        }
    }

    fn table<T: Keys>(&mut self, name: &'static str, table: &mut T, _meaning: &'static str) {
        self.section(&[name], ["[", "]"], table);
    }

    fn optional<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, _meaning: &'static str) {
        if let Some(table) = table {
            self.section(&[name], ["[", "]"], table);
        }
    }

    fn overrides<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, meaning: &'static str) {
        self.optional(name, table, meaning);
    }

    fn each<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<T>, _meaning: &'static str) {
        for table in tables {
            self.section(&[name], ["[[", "]]"], table);
        }
    }

    fn named<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<(String, T)>, _meaning: &'static str) {
        for (own_name, table) in tables {
            self.section(&[name, own_name], ["[", "]"], table);
        }
    }

    fn only_with(&mut self, _owner: &'static str, is_set: bool, keys: impl FnOnce(&mut Self)) {
        if is_set {
            keys(self);
        }
    }
}

impl Printer {
    fn section<T: Keys>(&mut self, names: &[&str], [open, close]: [&str; 2], table: &mut T) {
        let outer = self.header.clone();
        for name in names {
            self.header = crate::reader::join(&self.header, name);
        }
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(&format!("{open}{}{close}\n", self.header));
        table.visit(self);
        self.header = outer;
    }
}
