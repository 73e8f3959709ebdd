//! The static table (RFC 7541 Appendix A) and the dynamic one (§2.3.2, §4).
//!
//! The dynamic table's texts lie one after the other in one buffer: what is evicted leaves a gap at its front, and when
//! that has become as large as the rest, the rest moves there. So a text is always one slice, and a connection whose
//! table is full allocates nothing.

use std::collections::VecDeque;

use super::decode::Field;
use crate::http::known::Known;

/// Entries that a decoder has.
#[derive(Debug)]
pub(super) struct Dynamic {
    /// The newest is the last.
    entries: VecDeque<Place>,
    /// Names and values; the first `gap` octets are those of entries that are gone.
    texts: Vec<u8>,
    gap: usize,
    /// Octets that have left the front of `texts` so far, with overflow.
    moved: u32,
    /// INVARIANT: the sum of the entries' sizes, and at most `max`.
    size: usize,
    max: usize,
}

#[derive(Debug)]
struct Place {
    /// Where its texts begin, counted like `moved`.
    at: u32,
    name: u32,
    value: u32,
    known: Known,
}

/// An entry of either table.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Static(Field<'static>),
    Dynamic(Field<'a>),
}

/// The entry at this index of both tables; indices begin at 1 (§2.3.3).
pub(super) fn get(dynamic: &Dynamic, index: usize) -> Option<Entry<'_>> {
    match STATIC.get(index.checked_sub(1)?) {
        Some((name, value)) => Some(Entry::Static(Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            known: Known::at(u8::try_from(index).ok()?),
        })),
        None => dynamic.get(index - 1 - STATIC.len()).map(Entry::Dynamic),
    }
}

/// "The size of an entry is the sum of its name's length in octets […], its value's length in octets […], and 32" (§4.1).
pub(super) const fn size(field: &Field<'_>) -> usize {
    field.name.len() + field.value.len() + 32
}

impl Dynamic {
    /// One that may have so many octets.
    pub(super) const fn new(max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            texts: Vec::new(),
            gap: 0,
            moved: 0,
            size: 0,
            max,
        }
    }

    fn get(&self, age: usize) -> Option<Field<'_>> {
        let entry = self.entries.get(self.entries.len().checked_sub(age + 1)?)?;
        let (name, rest) = self
            .texts
            .get(self.begin(entry)..)?
            .split_at_checked(entry.name as usize)?;
        Some(Field {
            name,
            value: rest.get(..entry.value as usize)?,
            known: entry.known,
        })
    }

    const fn begin(&self, entry: &Place) -> usize {
        entry.at.wrapping_sub(self.moved) as usize
    }

    /// "Whenever the maximum size for the dynamic table is reduced, entries are evicted from the end of the dynamic table
    /// until the size of the dynamic table is less than or equal to the maximum size." (§4.3)
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict_to(max);
    }

    /// Adds an entry. "An attempt to add an entry larger than the maximum size causes the table to be emptied of all existing
    /// entries and results in an empty table." (§4.4)
    pub(super) fn insert(&mut self, field: &Field<'_>) {
        let size = size(field);
        self.evict_to(self.max.saturating_sub(size));
        let lengths = (u32::try_from(field.name.len()), u32::try_from(field.value.len()));
        let (true, (Ok(name), Ok(value))) = (size <= self.max, lengths) else {
            return;
        };
        let live = self.texts.len() - self.gap;
        if self.gap >= live {
            self.moved = self.moved.wrapping_add(low_bits(self.gap));
            self.texts.drain(..self.gap);
            self.gap = 0;
        }
        self.entries.push_back(Place {
            at: self.moved.wrapping_add(low_bits(self.texts.len())),
            name,
            value,
            known: field.known,
        });
        self.texts.extend_from_slice(field.name);
        self.texts.extend_from_slice(field.value);
        self.size += size;
        debug_assert!(self.size <= self.max, "{self:?}");
    }

    fn evict_to(&mut self, room: usize) {
        while self.size > room
            && let Some(oldest) = self.entries.pop_front()
        {
            let texts = (oldest.name + oldest.value) as usize;
            self.gap += texts;
            self.size -= texts + 32;
        }
    }
}

/// Positions are counted with overflow: tables are far smaller than 4 GiB.
const fn low_bits(position: usize) -> u32 {
    let [a, b, c, d, ..] = position.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Names and values, from index 1 on.
pub(crate) static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
impl Dynamic {
    /// Names and values, the newest first, and the size: how Appendix C prints it.
    pub(super) fn printed(&self) -> (Vec<String>, usize) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let fields = (0..self.entries.len()).map(|age| self.get(age).unwrap());
        let lines = fields.map(|field| format!("{}: {}", text(field.name), text(field.value)));
        (lines.collect(), self.size)
    }

    /// Octets that it holds for texts.
    pub(super) const fn held(&self) -> usize {
        self.texts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field<'a>(name: &'a str, value: &'a str) -> Field<'a> {
        Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            known: Known::of(name.as_bytes()),
        }
    }

    #[test]
    fn an_entry_that_is_too_large_empties_the_table() {
        let mut table = Dynamic::new(100);
        table.insert(&field("a", "b"));
        assert_eq!(table.printed(), (vec!["a: b".to_owned()], 34));
        table.insert(&field("name", &"x".repeat(65)));
        assert_eq!(table.printed(), (vec![], 0));
        table.insert(&field("name", &"x".repeat(64)));
        assert_eq!(table.printed().1, 100);
        table.resize(0);
        assert_eq!(table.printed(), (vec![], 0));
        table.insert(&field("", ""));
        assert_eq!(table.printed(), (vec![], 0));
    }

    #[test]
    fn indices_go_over_both_tables_and_not_past_them() {
        let mut table = Dynamic::new(4096);
        table.insert(&field("host", "old"));
        table.insert(&field("cookie", "new"));
        for (index, expected) in [
            (0, None),
            (1, Some((&b":authority"[..], &b""[..]))),
            (61, Some((b"www-authenticate", b""))),
            (62, Some((b"cookie", b"new"))),
            (63, Some((b"host", b"old"))),
            (64, None),
            (usize::MAX, None),
        ] {
            let found = get(&table, index).map(|entry| match entry {
                Entry::Static(field) | Entry::Dynamic(field) => field,
            });
            assert_eq!(found.map(|field| (field.name, field.value)), expected, "{index}");
            assert!(found.is_none_or(|field| field.known == Known::of(field.name)));
        }
    }

    proptest! {
        /// The table against the plainest one there is: a list of texts, counted anew each time.
        #[test]
        fn it_is_a_list_that_is_bounded(
            steps in prop::collection::vec((0..4_u8, "[a-c]{0,9}", "[x-z]{0,40}"), 1..200),
        ) {
            let (mut table, mut list, mut max) = (Dynamic::new(200), Vec::<(String, String)>::new(), 200);
            for (step, name, value) in steps {
                if step == 0 {
                    max = value.len() * 8;
                    table.resize(max);
                } else {
                    table.insert(&field(&name, &value));
                    list.insert(0, (name, value));
                }
                let sizes = |list: &[(String, String)]| list.iter().map(|(a, b)| a.len() + b.len() + 32).sum::<usize>();
                while sizes(&list) > max {
                    list.pop();
                }
                let lines: Vec<_> = list.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                prop_assert_eq!(table.printed(), (lines, sizes(&list)));
                prop_assert!(table.held() <= 1024, "{}", table.held());
            }
        }
    }
}
