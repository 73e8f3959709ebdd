//! What a key, a kind of value and a table are.
//!
//! A table describes its keys once, by visiting its own fields ([`Keys::visit`]); what happens to each key is the
//! [`Visitor`]'s: it is read from a file, printed, or listed in docs/config.md. A [`Codec`] is a kind of value: how it
//! is called, read and written.

use toml::Spanned;
use toml::de::DeValue;

use crate::problem::{Notes, Wrong};

/// A table of the file; the fields are drafts where the validated struct has another shape.
pub(crate) trait Keys: Sized {
    /// The table with all its defaults.
    fn preset() -> Self;

    /// Shows each key, then each table inside this one, to the visitor.
    fn visit<V: Visitor>(&mut self, v: &mut V);
}

/// What is done with the keys of a table.
pub(crate) trait Visitor: Sized {
    /// `name = value`. `field` holds the default, and gets what the file says.
    fn key<T, C: Codec<T>>(&mut self, name: &'static str, codec: C, field: &mut T, meaning: &'static str);

    /// `[name]`, which is there with its defaults when the file does not have it.
    fn table<T: Keys>(&mut self, name: &'static str, table: &mut T, meaning: &'static str);

    /// `[name]`, which is absent when the file does not have it.
    fn optional<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, meaning: &'static str);

    /// `[name]` with some keys of a table that is described elsewhere; absent when the file does not have it.
    fn overrides<T: Keys>(&mut self, name: &'static str, table: &mut Option<T>, meaning: &'static str);

    /// `[[name]]`.
    fn each<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<T>, meaning: &'static str);

    /// `[name.NAME]`, in the order of the file.
    fn named<T: Keys>(&mut self, name: &'static str, tables: &mut Vec<(String, T)>, meaning: &'static str);

    /// Keys of this table that mean something only when `owner` is set.
    fn only_with(&mut self, owner: &'static str, is_set: bool, keys: impl FnOnce(&mut Self));
}

/// A kind of value.
pub(crate) trait Codec<T> {
    /// How messages and docs call a right value.
    fn kind(&self) -> String;

    /// The value; what is wrong with it is noted at the spot.
    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<T>;

    /// The value as TOML; `None` when the key is left out.
    fn write(&self, value: &T) -> Option<String>;

    /// What docs/config.md says about the default.
    fn default_text(&self, preset: &T) -> String {
        self.write(preset)
            .map_or_else(|| "none".to_owned(), |text| format!("`{text}`"))
    }

    /// Whether a table without this key is an error.
    fn is_required(&self) -> bool {
        false
    }
}

/// Where a value stands, and where to note what is wrong with it.
pub(crate) struct Spot<'a> {
    pub(crate) path: &'a str,
    pub(crate) notes: &'a mut Notes,
}

impl Spot<'_> {
    /// Notes an error; there is no value then.
    pub(crate) fn refuse<T>(&mut self, wrong: impl Into<Wrong>) -> Option<T> {
        self.notes.error(self.path, wrong);
        None
    }

    /// Notes that a value is of another TOML type than expected.
    pub(crate) fn refuse_type<T>(&mut self, value: &DeValue<'_>, kind: &str) -> Option<T> {
        self.refuse(format!("expected {kind}; found {}", type_name(value)))
    }
}

/// A value's TOML type in words that fit after "found".
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
