//! `compress`: true, false, or a table that says how.

use toml::Spanned;
use toml::de::DeValue;

use crate::codec::{Choice, Count, Inline, List, MEDIA_TYPE, Size};
use crate::defaults;
use crate::schema::{Codec, Keys, Spot, Visitor};
use crate::traffic::{Coding, Compression};

/// The kind of value that `compress` is; off is a table without codings.
pub(crate) struct Compress;

impl Codec<Compression> for Compress {
    fn kind(&self) -> String {
        "true, false, or a table such as `{ codings = [\"gzip\"] }`".to_owned()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, spot: &mut Spot<'_>) -> Option<Compression> {
        match value.get_ref() {
            DeValue::Boolean(true) => Some(defaults::compression()),
            DeValue::Boolean(false) => Some(Compression {
                codings: Vec::new(),
                ..defaults::compression()
            }),
            DeValue::Table(_) => Inline.read(value, spot),
            other => spot.refuse_type(other, &self.kind()),
        }
    }

    fn write(&self, compression: &Compression) -> Option<String> {
        if compression.is_off() {
            return Some("false".to_owned());
        }
        Inline.write(compression)
    }
}

const CODINGS: Choice<Coding> = Choice(&[("br", Coding::Brotli), ("zstd", Coding::Zstd), ("gzip", Coding::Gzip)]);

impl Keys for Compression {
    fn preset() -> Self {
        defaults::compression()
    }

    fn visit<V: Visitor>(&mut self, v: &mut V) {
        let meaning = "Content codings, the best first: the order decides where a client likes several alike.";
        v.key("codings", List::some(CODINGS), &mut self.codings, meaning);
        let meaning = "Media types of the responses that are compressed; `text/*` is all below `text`.";
        v.key("types", List::some(MEDIA_TYPE), &mut self.types, meaning);
        let meaning = "Shorter content goes as it is.";
        v.key("length_min", Size::between(0, 1 << 30), &mut self.length_min, meaning);
        let meaning = "How hard gzip tries.";
        v.key("gzip_level", Count { min: 1, max: 9 }, &mut self.gzip_level, meaning);
        let meaning = "How hard brotli tries; above 9 it is slow.";
        v.key(
            "brotli_level",
            Count { min: 0, max: 11 },
            &mut self.brotli_level,
            meaning,
        );
        let meaning = "How hard zstd tries.";
        v.key("zstd_level", Count { min: 1, max: 19 }, &mut self.zstd_level, meaning);
        let meaning = "Responses of a route that are compressed at the same time, one or two MiB of memory each; further ones go as they are.";
        v.key(
            "streams_max",
            Count { min: 1, max: 100_000 },
            &mut self.streams_max,
            meaning,
        );
    }
}
