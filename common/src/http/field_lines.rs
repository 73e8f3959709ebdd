//! Field lines kept as they go onto an HTTP/1.1 wire: `name: value\r\n`, one after another.
//!
//! A stored response keeps its header section so; what varies per exchange (Age, Cache-Status, Via) is appended in the
//! same form. HTTP/2 reads them back with [`FieldLines::iter`]. Lines are only ever written by this file, from valid
//! names and values, so that reading back cannot fail.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::known::Known;
use super::list;

/// Room for what one exchange adds: Age, Cache-Status, Date, Via.
const LINES_ROOM: usize = 192;

/// Bytes of most lines, or fewer.
const LINE_USUAL: usize = 32;

/// Rendered field lines, without the empty line that ends a header section.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FieldLines {
    // INVARIANT: a sequence of `name ": " value CRLF`; no CR or LF in a value.
    bytes: Vec<u8>,
    // INVARIANT: the bit of each line's name ([`bit_of`]), and no other. Most names that are looked for are not there.
    names: u64,
}

impl FieldLines {
    /// Room for `bytes` bytes of lines.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            names: 0,
        }
    }

    /// All fields of `map`, in its order.
    pub fn from_map(map: &HeaderMap) -> Self {
        let mut lines = Self::with_capacity(map.len() * 40);
        write_map(&mut lines.bytes, map);
        lines.names = map
            .keys()
            .fold(0, |names, name| names | bit_of(name.as_str().as_bytes()));
        lines
    }

    /// Writes the beginning of a line; there is room for a few more after the first.
    fn begin(&mut self, name: &HeaderName) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(LINES_ROOM);
        }
        self.names |= bit_of(name.as_str().as_bytes());
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
    }

    /// Appends one line.
    pub fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.begin(name);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends a line of a message that was parsed, with its CRLF: it is as this file would have written it.
    pub(crate) fn push_parsed(&mut self, line: &[u8], name: &[u8]) {
        debug_assert!(list::is_token(name) && line.starts_with(name));
        self.expect(name);
        self.push_expected(line);
    }

    /// Announces a line of this name, which [`Self::push_expected`] is going to bring.
    pub(crate) fn expect(&mut self, name: &[u8]) {
        self.names |= bit_of(name);
    }

    /// Appends lines of a message that was parsed, with their CRLFs: they are as this file would have written them, and
    /// their names were announced.
    pub(crate) fn push_expected(&mut self, lines: &[u8]) {
        debug_assert!(lines.is_empty() || lines.ends_with(b"\r\n"));
        debug_assert!(pairs(lines).all(|(name, _)| self.names & bit_of(name) != 0));
        self.bytes.extend_from_slice(lines);
    }

    /// Appends one line whose value is a number.
    pub fn push_number(&mut self, name: &HeaderName, value: u64) {
        self.begin(name);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends one line whose value is written by `value`; control characters in it become spaces.
    pub fn push_display(&mut self, name: &HeaderName, value: impl fmt::Display) {
        self.push_written(name, |text| write!(text, "{value}"));
    }

    /// Appends one line whose value `write` writes, without the cost of [`fmt::Display`]; control characters in it become
    /// spaces.
    pub fn push_written(&mut self, name: &HeaderName, write: impl FnOnce(&mut ValueText<'_>) -> fmt::Result) {
        self.begin(name);
        let start = self.bytes.len();
        let written = write(&mut ValueText(&mut self.bytes));
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        let value = &mut self.bytes[start..];
        if printable(value) < value.len() {
            for byte in value.iter_mut().filter(|byte| byte.is_ascii_control()) {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends a list: the members of the lines `before`, and one more.
    pub fn push_list<'a>(
        &mut self,
        name: &HeaderName,
        before: impl Iterator<Item = &'a HeaderValue>,
        member: impl FnOnce(&mut ValueText<'_>) -> fmt::Result,
    ) {
        self.push_written(name, |text| {
            for line in before {
                text.0.extend_from_slice(line.as_bytes());
                text.0.extend_from_slice(b", ");
            }
            member(text)
        });
    }

    /// Appends a line that is always the same.
    pub fn push_constant(&mut self, line: &ConstantLine) {
        self.names |= line.bit;
        self.bytes.extend_from_slice(line.line.as_bytes());
    }

    /// Appends a line that begins so, and whose value is ours: nothing in it has to be looked at.
    #[inline]
    pub(crate) fn push_own(&mut self, start: &LineStart, write: impl FnOnce(&mut ValueText<'_>) -> fmt::Result) {
        let begins = self.bytes.len();
        self.names |= start.bit;
        self.bytes.extend_from_slice(start.text.as_bytes());
        let written = write(&mut ValueText(&mut self.bytes));
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        debug_assert_eq!(printable(&self.bytes[begins..]), self.bytes.len() - begins);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Appends all lines of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.names |= other.names;
    }

    /// Removes the lines of some fields; they are written anew where there are any.
    pub fn remove(&mut self, names: &[HeaderName]) {
        if self.is_empty() || !self.contain_any(names) {
            return;
        }
        *self = self.of_lines(|line, _| !is_named(line, names));
    }

    /// The lines as they go onto the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The lines, taken.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Gives back room that no line takes.
    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The lines whose names `is_wanted`.
    #[must_use]
    pub fn select(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Self {
        self.of_lines(|_, name| is_wanted(name))
    }

    /// The lines of which `is_kept` says so, given a line and its name.
    fn of_lines(&self, is_kept: impl Fn(&[u8], &[u8]) -> bool) -> Self {
        let mut kept = Self::with_capacity(self.bytes.len());
        for line in self.lines() {
            let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
            if is_kept(line, name) {
                kept.push_parsed(line, name);
            }
        }
        kept
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The lines as pairs of name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pairs(&self.bytes)
    }

    /// Whether there is a line with one of these names.
    pub fn contain_any(&self, names: &[HeaderName]) -> bool {
        let wanted = names
            .iter()
            .fold(0, |bits, name| bits | bit_of(name.as_str().as_bytes()));
        let may_be_there = self.names & wanted;
        may_be_there & DATE_BIT != 0 || (may_be_there != 0 && self.lines().any(|line| is_named(line, names)))
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        memchr::memchr_iter(b'\n', &self.bytes)
            .map(move |end| &self.bytes[std::mem::replace(&mut start, end + 1)..=end])
    }

    /// All lines as a map.
    pub fn into_map(self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.bytes.len() / LINE_USUAL + 1);
        self.append_to(&mut map);
        map
    }

    /// Appends the lines to `map`; their values share one allocation.
    pub fn append_to(self, map: &mut HeaderMap) {
        let lines = Bytes::from(self.bytes);
        for (name, value) in pairs(&lines) {
            let value = HeaderValue::from_maybe_shared(lines.slice_ref(value));
            let name = match Known::of_printable(name).header() {
                Some((name, _)) => Ok(name.clone()),
                None => HeaderName::from_bytes(name),
            };
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
    }
}

/// Appends the lines of all fields of `map`, in its order.
pub(crate) fn write_map(out: &mut Vec<u8>, map: &HeaderMap) {
    for (name, value) in map {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// The bit of Date, and of no other name: every response that is sent is asked for it.
const DATE_BIT: u64 = 1 << 63;

/// One of 64 bits for a name in any case, from its length and ends.
const fn bit_of(name: &[u8]) -> u64 {
    match name {
        [] => 1,
        _ if name.eq_ignore_ascii_case(b"date") => DATE_BIT,
        [first, .., last] | [first @ last] => {
            1 << ((name.len() * 7 + (*first | 0x20) as usize + (*last | 0x20) as usize * 3) % 63)
        }
    }
}

/// How the line of a field begins, whatever follows.
#[derive(Debug)]
pub(crate) struct LineStart {
    text: &'static str,
    bit: u64,
}

impl LineStart {
    /// The beginning of a line, such as `x-request-id: `.
    pub(crate) const fn new(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let (name, rest) = bytes.split_at(bytes.len() - 2);
        assert!(!name.is_empty() && rest[0] == b':' && rest[1] == b' ');
        let bit = bit_of(name);
        Self { text, bit }
    }
}

/// A field line that is always the same, with its CRLF.
#[derive(Debug)]
pub struct ConstantLine {
    line: &'static str,
    bit: u64,
}

impl ConstantLine {
    /// The line of the field `name`, such as `via: 1.1 tidegate\r\n`.
    ///
    /// # Panics
    /// While compiling, where that is no line of this field.
    pub const fn new(name: &'static str, line: &'static str) -> Self {
        let (bytes, colon) = (line.as_bytes(), name.len());
        assert!(line.len() > colon + 4 && bytes[colon] == b':' && bytes[colon + 1] == b' ');
        assert!(bytes[line.len() - 2] == b'\r' && bytes[line.len() - 1] == b'\n');
        let bit = bit_of(name.as_bytes());
        Self { line, bit }
    }
}

/// How many bytes at the beginning are visible ASCII or spaces; eight at a time.
pub(crate) fn printable(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte is set when it is below 0x20, or 0x7f, or beyond ASCII; those above the first such byte
        // may be wrong, because it borrows from them.
        let odd = (word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES) | word) & (ONES * 0x80);
        if odd != 0 {
            return index * 8 + odd.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().take_while(|byte| matches!(byte, 0x20..=0x7e)).count();
    words.len() * 8 + in_rest
}

/// Whether a rendered line is one of these fields'.
fn is_named(line: &[u8], names: &[HeaderName]) -> bool {
    names.iter().any(|name| {
        let name = name.as_str().as_bytes();
        line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
    })
}

/// Rendered lines as pairs of name and value.
fn pairs(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\r', rest)?;
        let (line, after) = rest.split_at(end);
        rest = after.get(2..)?;
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line.get(colon + 2..)?))
    })
}

impl fmt::Debug for FieldLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

/// Where the value of a line is written.
pub struct ValueText<'a>(&'a mut Vec<u8>);

impl ValueText<'_> {
    /// Writes what is known to be printable ASCII.
    #[inline]
    pub(crate) fn write_ascii(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }
}

impl fmt::Write for ValueText<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIA: ConstantLine = ConstantLine::new("via", "via: 1.1 tidegate\r\n");

    #[test]
    fn whether_there_is_a_date_is_known_without_a_look_at_the_lines() {
        let date = [http::header::DATE];
        let mut lines = FieldLines::default();
        // Of the same length, and with the same ends.
        lines.push_parsed(b"dare: 1\r\n", b"dare");
        assert!(!lines.contain_any(&date));
        lines.push_parsed(b"DATE: Thu, 01 Jan 1970 00:00:00 GMT\r\n", b"DATE");
        assert!(lines.contain_any(&date));
        assert!(lines.select(|name| name == b"DATE").contain_any(&date));
        assert!(!lines.select(|name| name == b"dare").contain_any(&date));
        lines.remove(&date);
        assert!(!lines.contain_any(&date));
        assert_eq!(lines.as_bytes(), b"dare: 1\r\n");
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        let mut lines = FieldLines::default();
        lines.push(&http::header::ETAG, &HeaderValue::from_static("\"a:b\""));
        lines.push_number(&http::header::AGE, 17);
        lines.push_constant(&VIA);
        assert_eq!(lines.as_bytes(), b"etag: \"a:b\"\r\nage: 17\r\nvia: 1.1 tidegate\r\n");
        let mut map = HeaderMap::new();
        lines.append_to(&mut map);
        assert_eq!(map["etag"], "\"a:b\"");
        assert_eq!(map["age"], "17");
        assert_eq!(map["via"], "1.1 tidegate");
    }

    #[test]
    fn a_field_is_removed_with_all_its_lines() {
        let mut lines = FieldLines::default();
        for (line, name) in [
            ("a: 1\r\n", "a"),
            ("via: 1.1 x\r\n", "via"),
            ("A: 2\r\n", "A"),
            ("ab: 3\r\n", "ab"),
        ] {
            lines.push_parsed(line.as_bytes(), name.as_bytes());
        }
        lines.remove(&[HeaderName::from_static("a")]);
        assert_eq!(lines.as_bytes(), b"via: 1.1 x\r\nab: 3\r\n");
        lines.remove(&[HeaderName::from_static("a")]);
        let mut more = FieldLines::default();
        more.push_parsed(b"c: 4\r\n", b"c");
        lines.extend(&more);
        assert_eq!(lines.as_bytes(), b"via: 1.1 x\r\nab: 3\r\nc: 4\r\n");
    }

    #[test]
    fn the_first_odd_byte_is_found_wherever_it_stands() {
        for length in 0..20 {
            for plain in [b' ', b'~', b'a'] {
                assert_eq!(printable(&vec![plain; length]), length);
                for (at, odd) in (0..length).flat_map(|at| [0, 9, 10, 13, 0x1f, 0x7f, 0x80, 0xff].map(|odd| (at, odd)))
                {
                    let mut text = vec![plain; length];
                    text[at] = odd;
                    assert_eq!(printable(&text), at, "{odd} at {at} of {length}");
                    text[length - 1] = 0xff;
                    assert_eq!(printable(&text), at, "{odd} at {at} of {length}, and another");
                }
            }
        }
    }

    #[test]
    fn a_field_is_found_in_any_case_however_it_was_written() {
        let name = |text: &str| HeaderName::try_from(text).unwrap();
        let mut lines = FieldLines::default();
        lines.push_parsed(b"Cache-Tag: a\r\n", b"Cache-Tag");
        lines.push(&name("etag"), &HeaderValue::from_static("\"1\""));
        lines.push_parsed(b"X-Id: 1\r\n", b"X-Id");
        let mut all = FieldLines::default();
        all.extend(&lines);
        let from_map = FieldLines::from_map(&all.clone().into_map());
        for lines in [&lines, &all, &all.select(|_| true), &from_map] {
            assert!(
                ["cache-tag", "ETag", "x-id"]
                    .iter()
                    .all(|text| lines.contain_any(&[name(text)]))
            );
            assert!(
                ["cache-tags", "tag", "x-ie"]
                    .iter()
                    .all(|text| !lines.contain_any(&[name(text)]))
            );
        }
    }

    #[test]
    fn a_displayed_value_cannot_smuggle_a_line() {
        let mut lines = FieldLines::default();
        lines.push_display(&http::header::WARNING, "a\r\nset-cookie: x");
        assert_eq!(lines.as_bytes(), b"warning: a  set-cookie: x\r\n");
    }
}
