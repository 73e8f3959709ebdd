//! The kinds of values, and how kinds are put together: lists, optional and required keys, tables within a line.

mod scalar; // durations, sizes, numbers, choices, texts
mod address; // where to listen, where servers are, address blocks
mod pattern; // hosts, paths, expressions, names

pub(crate) use address::{ADDRESS, BacklogCodec, LOG_TARGET, MODE, NETWORK, SERVER};
pub(crate) use pattern::{HOST, PATH, PREFIX, REGEX, USER, host_text, is_name};
pub(crate) use scalar::{Choice, Count, Duration, Flag, OneOf, Size, Text};

use toml::Spanned;
use toml::de::DeValue;

use crate::printer;
use crate::reader;
use crate::schema::{Codec, Keys, Spot, type_name};

/// A key that may be left out; the text is what docs say about that.
pub(crate) struct Maybe<C>(pub(crate) C, pub(crate) &'static str);

/// A key that must be there.
pub(crate) struct Required<C>(pub(crate) C);

/// A key whose default depends on the machine or on other keys; the text is what docs say about it.
pub(crate) struct Computed<C>(pub(crate) C, pub(crate) &'static str);

/// A list of values; an empty one is refused unless it says otherwise.
pub(crate) struct List<C> {
    item: C,
    may_be_empty: bool,
}

/// A table within a line: `{ idle = "1m", count = 3 }`.
pub(crate) struct Inline;

impl<C> List<C> {
    /// A list of one or more.
    pub(crate) const fn some(item: C) -> Self {
        Self {
            item,
            may_be_empty: false,
        }
    }

    /// A list that may be empty.
    pub(crate) const fn any(item: C) -> Self {
        Self {
            item,
            may_be_empty: true,
        }
    }
}

impl<T, C: Codec<T>> Codec<Option<T>> for Maybe<C> {
    fn kind(&self) -> String {
        self.0.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Option<T>> {
        self.0.read(value, spot).map(Some)
    }

    fn write(&self, value: &Option<T>) -> Option<String> {
        value.as_ref().and_then(|value| self.0.write(value))
    }

    fn default_text(&self, _preset: &Option<T>) -> String {
        self.1.to_owned()
    }
}

impl<T, C: Codec<T>> Codec<T> for Required<C> {
    fn kind(&self) -> String {
        self.0.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        self.0.read(value, spot)
    }

    fn write(&self, value: &T) -> Option<String> {
        self.0.write(value)
    }

    fn default_text(&self, _preset: &T) -> String {
        "required".to_owned()
    }

    fn is_required(&self) -> bool {
        true
    }
}

impl<T, C: Codec<T>> Codec<T> for Computed<C> {
    fn kind(&self) -> String {
        self.0.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        self.0.read(value, spot)
    }

    fn write(&self, value: &T) -> Option<String> {
        self.0.write(value)
    }

    fn default_text(&self, _preset: &T) -> String {
        self.1.to_owned()
    }
}

impl<T, C: Codec<T>> Codec<Vec<T>> for List<C> {
    fn kind(&self) -> String {
        format!("list of: {}", self.item.kind())
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Vec<T>> {
        let DeValue::Array(items) = value.get_ref() else {
            let found = type_name(value.get_ref());
            return spot.refuse(format!(
                "expected a list in brackets, such as [\"a\", \"b\"]; found {found}"
            ));
        };
        if items.is_empty() && !self.may_be_empty {
            return spot.refuse("the list must not be empty");
        }
        // Each item is read, so that each problem is noted; the list counts only when all are right.
        let mut values = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{}[{i}]", spot.path);
            spot.notes.place(&path, item.span().start);
            let mut spot = Spot {
                path: &path,
                notes: &mut *spot.notes,
            };
            values.extend(self.item.read(item, &mut spot));
        }
        (values.len() == items.len()).then_some(values)
    }

    fn write(&self, values: &Vec<T>) -> Option<String> {
        let items: Vec<_> = values.iter().filter_map(|value| self.item.write(value)).collect();
        let line = format!("[{}]", items.join(", "));
        if line.len() <= LINE_MAX {
            return Some(line);
        }
        Some(format!("[\n    {},\n]", items.join(",\n    ")))
    }
}

/// A longer list is written with one item per line.
const LINE_MAX: usize = 80;

impl<T: Keys + Clone> Codec<T> for Inline {
    fn kind(&self) -> String {
        "table".to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        match value.get_ref() {
            DeValue::Table(table) => Some(reader::read_table(table, T::preset(), spot.path, spot.notes)),
            other => spot.refuse_type(other, "a table such as { key = \"value\" }"),
        }
    }

    fn write(&self, value: &T) -> Option<String> {
        Some(printer::inline(&mut value.clone()))
    }
}
