//! The visitor that documents: docs/config.md, from the same description that reads.

use crate::schema::{Codec, Keys, Visitor};
use crate::sections::{Draft, FrontListenDraft, ListenDraft, ServerDraft};
use crate::traffic::Compression;

/// The text of docs/config.md: every key with its kind, default and meaning.
pub fn reference() -> String {
    let mut out = String::from(INTRO);
    for section in sections() {
        out.push_str(&format!("\n## {}\n\n{}\n", section.title, section.meaning));
        if section.rows.is_empty() {
            continue;
        }
        out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        for row in &section.rows {
            let owner = row.owner.map_or_else(String::new, |owner| format!(" (with `{owner}`)"));
            let kind = row.kind.replace('|', "\\|");
            out.push_str(&format!(
                "| `{}`{owner} | {kind} | {} | {} |\n",
                row.name, row.default, row.meaning
            ));
        }
    }
    out
}

const INTRO: &str = "# Configuration

<!-- Generated from config/src/sections: UPDATE_DOCS=1 cargo test -p config -->

tidegate reads one TOML file.
Unknown keys are refused, and all problems of a file are reported at once, each with its line and what would be right.
`tidegate check -c FILE` looks for them without starting anything; `--print` shows the effective configuration with all defaults.

A size is a whole number with its unit: `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `\"512MiB\"`.
A duration is a whole number with its unit: `ms`, `s`, `m`, `h` or `d`, such as `\"30s\"`.
A number without a unit counts things.
A file may have at most 1MiB.

What a process is follows from its tables: `[front]` meets clients, `[cache] memory` keeps responses, `[cache] listen` serves them to other fronts, `[cache] servers` asks cache servers.
Examples are in [config/examples](../config/examples).
";

/// One table of the file.
pub(crate) struct Section {
    /// Its header, such as `[front]` or `[[site]]`.
    pub(crate) title: String,
    meaning: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// One key.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    owner: Option<&'static str>,
    kind: String,
    default: String,
    meaning: &'static str,
}

/// All tables in the order of the description, then those within lines.
pub(crate) fn sections() -> Vec<Section> {
    let mut lister = Lister::default();
    Draft::preset().visit(&mut lister);
    let mut sections = lister.sections;
    for (title, meaning, rows) in [
        ("A listener", LISTENER, rows::<ListenDraft>()),
        ("A listener of `[front]`", FRONT_LISTENER, front_listener_rows()),
        ("A server", SERVER, rows::<ServerDraft>()),
        (
            "tcp_keepalive",
            KEEPALIVE,
            rows::<common::net::settings::TcpKeepalive>(),
        ),
        ("compress", COMPRESS, rows::<Compression>()),
    ] {
        let title = title.to_owned();
        sections.push(Section { title, meaning, rows });
    }
    sections
}

const LISTENER: &str = "Where `listen` is asked for, an address may stand alone, or in a table with more: \
`{ address = \"0.0.0.0:80\", backlog = \"auto\" }`.";

const FRONT_LISTENER: &str = "What a listener where clients connect may say besides: \
`{ address = \"0.0.0.0:443\", tls = \"NAME\", hsts = \"365d\" }`.";

const SERVER: &str = "Where `servers` is asked for, an address may stand alone, or in a table with more: \
`{ address = \"10.0.0.7:8080\", weight = 2, backup = false }`.";

const KEEPALIVE: &str = "Where `tcp_keepalive` is asked for: `{ idle = \"1m\", interval = \"10s\", count = 3 }`.\n\
`{}` takes these defaults.";

const COMPRESS: &str = "Where `compress` is asked for: `true` for these defaults, `false`, or a table such as \
`{ codings = [\"br\", \"gzip\"], length_min = \"2KiB\" }`.";

/// The keys that only listeners of the front have.
fn front_listener_rows() -> Vec<Row> {
    rows::<FrontListenDraft>().split_off(rows::<ListenDraft>().len())
}

fn rows<T: Keys>() -> Vec<Row> {
    let mut lister = Lister::default();
    lister.section(String::new(), "", &mut T::preset());
    lister.sections.pop().map(|section| section.rows).unwrap_or_default()
}

#[derive(Default)]
struct Lister {
    sections: Vec<Section>,
    /// Which of the sections the keys belong to that are visited now.
    current: usize,
    /// Where we are, as headers write it.
    header: String,
    owner: Option<&'static str>,
}

impl Visitor for Lister {
    fn key<T, C: Codec<T>>(&mut self, name: &'static str, codec: C, field: &mut T, meaning: &'static str) {
        let row = Row {
            name,
            owner: self.owner,
            kind: codec.kind(),
            default: codec.default_text(field),
            meaning,
        };
        self.sections[self.current].rows.push(row);
    }

    fn table<T: Keys>(&mut self, name: &'static str, table: &mut T, meaning: &'static str) {
        self.nested(name, ["[", "]"], meaning, table);
    }

    fn optional<T: Keys>(&mut self, name: &'static str, _table: &mut Option<T>, meaning: &'static str) {
        self.nested(name, ["[", "]"], meaning, &mut T::preset());
    }

    fn overrides<T: Keys>(&mut self, name: &'static str, _table: &mut Option<T>, meaning: &'static str) {
        let title = format!("`[{}]`", crate::reader::join(&self.header, name));
        self.sections.push(Section {
            title,
            meaning,
            rows: Vec::new(),
        });
    }

    fn each<T: Keys>(&mut self, name: &'static str, _tables: &mut Vec<T>, meaning: &'static str) {
        self.nested(name, ["[[", "]]"], meaning, &mut T::preset());
    }

    fn named<T: Keys>(&mut self, name: &'static str, _tables: &mut Vec<(String, T)>, meaning: &'static str) {
        self.nested(&format!("{name}.NAME"), ["[", "]"], meaning, &mut T::preset());
    }

    fn only_with(&mut self, owner: &'static str, _is_set: bool, keys: impl FnOnce(&mut Self)) {
        self.owner = Some(owner);
        keys(self);
        self.owner = None;
    }
}

impl Lister {
    fn nested<T: Keys>(&mut self, name: &str, [open, close]: [&str; 2], meaning: &'static str, table: &mut T) {
        let outer = (self.header.clone(), self.current);
        self.header = crate::reader::join(&self.header, name);
        self.section(format!("`{open}{}{close}`", self.header), meaning, table);
        (self.header, self.current) = outer;
    }

    fn section<T: Keys>(&mut self, title: String, meaning: &'static str, table: &mut T) {
        let rows = Vec::new();
        self.current = self.sections.len();
        self.sections.push(Section { title, meaning, rows });
        table.visit(self);
    }
}
