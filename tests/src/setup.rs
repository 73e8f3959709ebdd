//! A configuration in the making: sections and keys, written out as TOML for one process or for two tiers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::tidegate::Tidegate;

/// Where the cache tier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Front and cache in one process.
    InProcess,
    /// A front, and this many cache servers behind it.
    TwoTier(usize),
}

/// Runs one test body in both shapes.
#[expect(clippy::print_stderr, reason = "shown with a failing test: which shape it was")]
pub fn in_both_shapes(body: impl Fn(Shape)) {
    for shape in [Shape::InProcess, Shape::TwoTier(1)] {
        eprintln!("--- {shape:?} ---");
        body(shape);
    }
}

/// What is to be configured. Values are TOML (`'1s'`, `3`, `["a"]`), keys are `section.key`.
#[derive(Clone, Debug)]
pub struct Setup {
    shape: Shape,
    /// Keys by section; `cache.memory` and `cache.stored_response_max` go where the store is, `cache.when_down` and others
    /// ([`ABOUT_SERVERS`]) to a front with cache servers, `front.*` and `log.access.*` to the front, everything else to every process.
    keys: BTreeMap<String, BTreeMap<String, String>>,
    sites: String,
}

impl Setup {
    /// One origin named `o` at `address`, behind one default site for [`crate::client::HOST`] with the cache on.
    pub fn of(address: &str) -> Self {
        Self::with_sites("[[site]]\nhosts = ['www.example.com']\ndefault = true\norigin = 'o'\ncache = true\n")
            .origin("o", address)
    }

    /// These `[[site]]` tables; origins are to be named by [`Setup::origin`].
    pub fn with_sites(sites: &str) -> Self {
        let setup = Self {
            shape: Shape::InProcess,
            keys: BTreeMap::new(),
            sites: sites.to_owned(),
        };
        setup
            .set("process.workers", "2")
            .set("process.drain_timeout", "'20s'")
            .set("front.listen", "['127.0.0.1:0']")
            .set("cache.memory", "'64MiB'")
            .set("admin.listen", "'127.0.0.1:0'")
            .set("log.level", "'info'")
    }

    /// Adds an origin with one server.
    #[must_use]
    pub fn origin(self, name: &str, address: &str) -> Self {
        self.set(&format!("origin.{name}.servers"), &format!("['{address}']"))
    }

    /// Sets one key, replacing what it was.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let (section, key) = key.rsplit_once('.').unwrap();
        self.keys
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Without the cache tier storing anything: the site's `cache = true` becomes `false`.
    #[must_use]
    pub fn uncached(mut self) -> Self {
        self.sites = self.sites.replace("cache = true", "cache = false");
        self
    }

    /// In this shape.
    #[must_use]
    pub const fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(&self) -> Tidegate {
        Tidegate::start(self)
    }

    pub(crate) const fn cache_servers(&self) -> usize {
        match self.shape {
            Shape::InProcess => 0,
            Shape::TwoTier(servers) => servers,
        }
    }

    /// The file of a process that is all in one.
    pub fn in_process(&self) -> String {
        self.render(|key| !is_about_servers(key), "")
    }

    /// The file of a front with cache servers at these addresses.
    pub fn front(&self, servers: &[String]) -> String {
        let everywhere =
            |key: &str| is_about_servers(key) || key == "cache.purge_allow" || key.starts_with("cache.rules.");
        let stored = |key: &str| key.starts_with("cache.") && !everywhere(key);
        self.render(|key| !stored(key), &format!("servers = {servers:?}\n"))
    }

    /// The file of a cache server.
    pub fn cache_server(&self) -> String {
        let fronts = |key: &str| key.starts_with("front.") || key.starts_with("log.access.") || is_about_servers(key);
        self.render(|key| !fronts(key), "listen = ['127.0.0.1:0']\n")
    }

    fn render(&self, wanted: impl Fn(&str) -> bool, more_of_cache: &str) -> String {
        let mut text = String::new();
        let mut sections = self.keys.clone();
        sections.entry("cache".to_owned()).or_default();
        for (section, keys) in &sections {
            let mut lines: String = keys
                .iter()
                .filter(|(key, _)| wanted(&format!("{section}.{key}")))
                .map(|(key, value)| format!("{key} = {value}\n"))
                .collect();
            if section == "cache" {
                lines.push_str(more_of_cache);
            }
            if !lines.is_empty() {
                write!(text, "[{section}]\n{lines}").unwrap();
            }
        }
        text + &self.sites
    }
}

/// What a front says about its cache servers.
const ABOUT_SERVERS: [&str; 5] = [
    "cache.when_down",
    "cache.handover",
    "cache.deadline",
    "cache.response_timeout",
    "cache.ejection.failures",
];

fn is_about_servers(key: &str) -> bool {
    ABOUT_SERVERS.contains(&key)
}
