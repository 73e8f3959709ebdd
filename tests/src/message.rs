//! Messages as they came: heads split, nothing normalised, nothing judged.
//!
//! Bytes become characters one to one (ISO 8859-1), so that any byte survives and can be compared.

use std::fmt;

use crate::wire::Stop;

/// A header or trailer section, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Splits lines at their first colon; a line without one becomes a name without a value.
    pub fn parse(lines: &str) -> Self {
        let field = |line: &str| match line.split_once(':') {
            Some((name, value)) => (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()),
            None => (line.to_owned(), String::new()),
        };
        Self(lines.split("\r\n").filter(|line| !line.is_empty()).map(field).collect())
    }

    /// The first value of `name`, whose case does not matter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All values of `name`, one per line.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.0.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        same.map(|field| field.1.as_str()).collect()
    }

    /// All values of `name` as one list, as RFC 9110 §5.3 lets a recipient join them.
    pub fn joined(&self, name: &str) -> String {
        self.all(name).join(", ")
    }

    /// Whether `name` occurs.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// All names, in lower case, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|field| field.0.to_ascii_lowercase()).collect()
    }
}

/// A start line and a header section.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The bytes as they came, the empty line included.
    pub raw: String,
    /// The first line.
    pub start_line: String,
    /// The rest.
    pub fields: Fields,
}

impl Head {
    /// Splits the bytes of a head.
    pub fn parse(raw: &[u8]) -> Self {
        let raw = latin1(raw);
        let (start_line, lines) = raw.split_once("\r\n").unwrap_or((&raw, ""));
        Self {
            start_line: start_line.to_owned(),
            fields: Fields::parse(lines),
            raw: raw.clone(),
        }
    }

    /// The `index`-th word of the start line.
    fn word(&self, index: usize) -> &str {
        self.start_line.split(' ').nth(index).unwrap_or_default()
    }
}

/// The body of a message as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The bytes, without framing; at most [`KEPT_MAX`] of them.
    pub kept: Vec<u8>,
    /// How many there were.
    pub bytes: u64,
    /// The trailer section.
    pub trailers: Fields,
}

/// Bytes of a body that are kept; of longer ones only the count.
pub const KEPT_MAX: usize = 16 << 20;

impl Content {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let room = KEPT_MAX.saturating_sub(self.kept.len()).min(piece.len());
        self.kept.extend_from_slice(&piece[..room]);
        self.bytes += piece.len() as u64;
    }

    /// The bytes that were kept, as text.
    pub fn text(&self) -> String {
        latin1(&self.kept)
    }
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its framing says that it is whole.
    Whole,
    /// It had no framing and ended with the connection, in order: nobody can tell.
    Closed,
    /// It ended before its framing said so.
    Cut(Stop),
    /// Its framing was malformed.
    Malformed(String),
}

/// A request as an origin received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub content: Content,
    /// How its body ended; `None` while it was not read.
    pub end: Option<End>,
    /// The number of the connection it came on, from 0.
    pub connection: usize,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The first value of a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.get(name)
    }

    /// Whether its body came whole.
    pub fn is_whole(&self) -> bool {
        self.end == Some(End::Whole)
    }
}

/// A response as a client received it.
#[derive(Clone)]
pub struct Response {
    /// The status code; 0 when the line is none.
    pub status: u16,
    /// Statuses of interim responses before it.
    pub interim: Vec<u16>,
    /// Its head.
    pub head: Head,
    /// Its body.
    pub content: Content,
    /// How its body ended.
    pub end: End,
}

impl Response {
    /// A head, before anything is known of the body.
    pub fn of(head: Head) -> Self {
        Self {
            status: head.word(1).parse().unwrap_or(0),
            interim: Vec::new(),
            head,
            content: Content::default(),
            end: End::Whole,
        }
    }

    /// The HTTP version as spelled.
    pub fn version(&self) -> &str {
        self.head.word(0)
    }

    /// The first value of a header field; empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.head.fields.get(name).unwrap_or_default()
    }

    /// Whether there is such a header field.
    pub fn has(&self, name: &str) -> bool {
        self.head.fields.has(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        self.content.text()
    }

    /// Whether a client would take it for complete.
    pub fn looks_whole(&self) -> bool {
        matches!(self.end, End::Whole | End::Closed)
    }

    /// The words of `Cache-Status`, without those that name a time.
    pub fn cache_words(&self) -> Vec<String> {
        let status = self.head.fields.joined("cache-status");
        let words = status.split([';', ',']).map(str::trim);
        words
            .filter(|word| !word.is_empty() && !word.starts_with("ttl="))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a cache says that it had it in store.
    pub fn is_hit(&self) -> bool {
        self.cache_words().iter().any(|word| word == "hit")
    }

    /// Whether the server said that it will close the connection.
    pub fn says_close(&self) -> bool {
        self.head
            .fields
            .joined("connection")
            .to_ascii_lowercase()
            .contains("close")
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(400).collect();
        write!(
            f,
            "{}[{} bytes, {:?}] {text:?}",
            self.head.raw, self.content.bytes, self.end
        )
    }
}

/// Bytes as characters, one to one.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
