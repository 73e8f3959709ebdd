//! The kinds of values, and how kinds are put together: lists, optional and required keys, tables within a line.

mod scalar; // durations, sizes, numbers, choices, texts
mod address; // where to listen, where servers are, address blocks
mod pattern; // hosts, paths, expressions, names
mod by_status; // tables whose keys are statuses
mod rules; // what cache rules are made of
mod guard; // how often, and counted by what
mod traffic; // what traffic rules are made of

pub(crate) use address::{
    ADDRESS, ADMIN_SERVER, BacklogCodec, DIRECTORY, FILE, IP, LIST_ITEM, LOG_TARGET, MODE, NAME_SERVER, NETWORK,
    SERVER, SHARE,
};
pub(crate) use by_status::ByStatus;
pub(crate) use guard::{BudgetCodec, FREQUENCY, RATE_KEY};
pub(crate) use pattern::{
    BODY_PART, CHECK_PATH, GRPC_SERVICE, HOST, HOST_FIELD, NAME, PATH, PREFIX, PROTOCOL, REGEX, USER, host_text,
    is_name,
};
pub(crate) use rules::{BYPASS, COOKIE, FIELD, HASH_BY, NEGATIVE, Query};
pub(crate) use scalar::{Choice, Count, Duration, Flag, OneOf, Size, Text};
pub(crate) use traffic::{
    BODY, CONTENT_TYPE, Direction, FieldValues, LOCATION, MEDIA_TYPE, PATH_TEMPLATE, REMOVED_IN_REQUEST,
    REMOVED_IN_RESPONSE, Status,
};

use toml::Spanned;
use toml::de::DeValue;

use crate::printer;
use crate::reader;
use crate::schema::{Codec, Keys, Spot, type_name};

/// A key that may be left out.
pub(crate) struct Maybe<C> {
    codec: C,
    /// What docs say about that.
    absent: String,
}

/// A key whose default is not simply its preset.
pub(crate) struct Special<C> {
    codec: C,
    default: SpecialDefault,
}

enum SpecialDefault {
    /// There is none: the key must be there.
    Required,
    /// What the text says.
    Computed(&'static str),
    /// The preset, cut to what the text says.
    AtMost(&'static str),
}

/// A list of values; an empty one is refused unless it says otherwise.
pub(crate) struct List<C> {
    item: C,
    may_be_empty: bool,
}

/// A table within a line: `{ idle = "1m", count = 3 }`.
pub(crate) struct Inline;

impl<C> Maybe<C> {
    /// Left out, the key means what the text says.
    pub(crate) fn new(codec: C, absent: &str) -> Self {
        let absent = absent.to_owned();
        Self { codec, absent }
    }

    /// Left out, the key means this value.
    pub(crate) fn or<T>(codec: C, default: &T) -> Self
    where
        C: Codec<T>,
    {
        let absent = codec.default_text(default);
        Self { codec, absent }
    }
}

impl<C> Special<C> {
    pub(crate) const fn required(codec: C) -> Self {
        let default = SpecialDefault::Required;
        Self { codec, default }
    }

    pub(crate) const fn computed(codec: C, text: &'static str) -> Self {
        let default = SpecialDefault::Computed(text);
        Self { codec, default }
    }

    pub(crate) const fn at_most(codec: C, text: &'static str) -> Self {
        let default = SpecialDefault::AtMost(text);
        Self { codec, default }
    }
}

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
        self.codec.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Option<T>> {
        self.codec.read(value, spot).map(Some)
    }

    fn write(&self, value: &Option<T>) -> Option<String> {
        value.as_ref().and_then(|value| self.codec.write(value))
    }

    fn default_text(&self, _preset: &Option<T>) -> String {
        self.absent.clone()
    }
}

impl<T, C: Codec<T>> Codec<T> for Special<C> {
    fn kind(&self) -> String {
        self.codec.kind()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T> {
        self.codec.read(value, spot)
    }

    fn write(&self, value: &T) -> Option<String> {
        self.codec.write(value)
    }

    fn default_text(&self, preset: &T) -> String {
        match self.default {
            SpecialDefault::Required => "required".to_owned(),
            SpecialDefault::Computed(text) => text.to_owned(),
            SpecialDefault::AtMost(text) => format!("{}, at most {text}", self.codec.default_text(preset)),
        }
    }

    fn is_required(&self) -> bool {
        matches!(self.default, SpecialDefault::Required)
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
