//! A table whose keys are statuses: `{ 404 = "10s", 410 = "1h" }`.

use toml::Spanned;
use toml::de::DeValue;

use crate::schema::{Codec, Spot};

/// Values by status, or by what else `read` takes for a key.
pub(crate) struct ByStatus<K, C> {
    /// How messages and docs call it.
    pub(crate) kind: &'static str,
    /// A right one, for who wrote no table.
    pub(crate) example: &'static str,
    /// A key, or what is wrong with it.
    pub(crate) read: fn(&str) -> Result<K, &'static str>,
    /// A key as it is read.
    pub(crate) write: fn(&K) -> String,
    /// The values.
    pub(crate) values: C,
}

impl<K, V, C: Codec<V>> Codec<Vec<(K, V)>> for ByStatus<K, C> {
    fn kind(&self) -> String {
        self.kind.to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Vec<(K, V)>> {
        let DeValue::Table(table) = value.get_ref() else {
            return spot.refuse_type(value.get_ref(), &format!("a table such as {}", self.example));
        };
        let mut pairs = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let path = format!("{}.{}", spot.path, key.get_ref());
            spot.notes.place(&path, key.span().start);
            let mut spot = Spot {
                path: &path,
                notes: &mut *spot.notes,
            };
            let key = match (self.read)(key.get_ref()) {
                Ok(key) => Some(key),
                Err(wrong) => spot.refuse(wrong),
            };
            let value = self.values.read(value, &mut spot);
            pairs.extend(key.zip(value));
        }
        (pairs.len() == table.len()).then_some(pairs)
    }

    fn write(&self, pairs: &Vec<(K, V)>) -> Option<String> {
        let write = |(key, value): &(K, V)| Some(format!("{} = {}", (self.write)(key), self.values.write(value)?));
        let pairs = pairs.iter().map(write).collect::<Option<Vec<_>>>()?;
        Some(match pairs.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{ {} }}", pairs.join(", ")),
        })
    }
}
