//! Validators of a representation: entity tags and Last-Modified, strong and weak (RFC 9110 §8.8).

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, HeaderValue, header};

use super::{date, list};

/// An entity tag, kept byte for byte so that the origin gets back what it sent.
///
/// What is not quoted as RFC 9110 §8.8.3 wants it (`abc`, `w/"abc"`) is kept too, as a weak one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(Box<HeaderValue>);

/// A Last-Modified field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastModified {
    /// As the origin sent it.
    pub value: HeaderValue,
    /// The moment it names.
    pub at: WallTime,
    /// Whether it can be used as a strong validator.
    pub strong: bool,
}

/// The validators of one representation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The entity tag.
    pub etag: Option<EntityTag>,
    /// The time of the last modification.
    pub last_modified: Option<Box<LastModified>>,
}

/// One entity tag as it stands in a field: its opaque part with quotes, and whether it is weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRef<'a> {
    opaque: &'a [u8],
    weak: bool,
}

impl EntityTag {
    /// The field value as it came.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// The tag in parts.
    pub fn tag(&self) -> TagRef<'_> {
        TagRef::read(self.0.as_bytes())
    }

    /// Whether the tag can be used as a strong validator.
    pub fn is_strong(&self) -> bool {
        !self.tag().weak
    }
}

impl<'a> TagRef<'a> {
    /// Reads one entity tag.
    pub fn read(text: &'a [u8]) -> Self {
        match text {
            [b'W', b'/', opaque @ ..] => Self { opaque, weak: true },
            [b'"', .., b'"'] => Self {
                opaque: text,
                weak: false,
            },
            _ => Self {
                opaque: text,
                weak: true,
            },
        }
    }

    /// "two entity tags are equivalent if their opaque-tags match character-by-character, regardless of either or both
    /// being tagged as "weak"" (RFC 9110 §8.8.3.2)
    pub fn weakly_equals(self, other: TagRef<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// "two entity tags are equivalent if both are not weak and their opaque-tags match character-by-character"
    /// (RFC 9110 §8.8.3.2)
    pub fn strongly_equals(self, other: TagRef<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

/// The entity tags of If-Match or If-None-Match lines; unquoted nonsense comes out as a weak tag that matches only
/// itself.
pub fn tags<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = TagRef<'a>> {
    lines.flat_map(|line| list::members(line.as_bytes())).map(TagRef::read)
}

impl Validators {
    /// The validators of a response with `fields` whose Date (or time of receipt) is `date`.
    pub fn of(fields: &HeaderMap, date: WallTime, now: WallTime) -> Self {
        Self {
            etag: fields
                .get(header::ETAG)
                .filter(|tag| !tag.is_empty())
                .map(|tag| EntityTag(Box::new(own(tag)))),
            last_modified: fields.get(header::LAST_MODIFIED).and_then(|value| {
                let at = date::parse(value.as_bytes(), now)?;
                Some(Box::new(LastModified {
                    value: own(value),
                    at,
                    strong: is_strong_date(at, date),
                }))
            }),
        }
    }

    /// Whether there is nothing to validate by.
    pub const fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Whether there is a strong validator.
    pub fn is_strong(&self) -> bool {
        self.etag.as_ref().is_some_and(EntityTag::is_strong)
            || self.etag.is_none() && self.last_modified.as_ref().is_some_and(|date| date.strong)
    }

    /// Whether both have the same strong validator, so that they are the same bytes. An entity tag on either side
    /// decides alone: a date cannot outweigh it.
    pub fn same_strong(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(ours), Some(theirs)) => ours.tag().strongly_equals(theirs.tag()),
            (None, None) => match (&self.last_modified, &other.last_modified) {
                (Some(ours), Some(theirs)) => ours.strong && theirs.strong && ours.at == theirs.at,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether both could be the same representation: the entity tags are weakly equal, or, where one side has none,
    /// the dates are.
    pub fn same_weak(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(ours), Some(theirs)) => ours.tag().weakly_equals(theirs.tag()),
            _ => match (&self.last_modified, &other.last_modified) {
                (Some(ours), Some(theirs)) => ours.at == theirs.at,
                _ => false,
            },
        }
    }
}

/// A copy that does not keep the whole head alive of which it was a part.
fn own(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// "that validator is about to be used by an intermediate cache […] that cache entry includes a Date value that is at
/// least one second after the Last-Modified value and the cache has some reason to believe that they are generated by
/// the same clock or that there is enough difference between the Last-Modified and Date values to make clock
/// synchronization issues unlikely." (RFC 9110 §8.8.2.2) A minute is that difference here.
fn is_strong_date(last_modified: WallTime, date: WallTime) -> bool {
    date.saturating_since(last_modified) >= Duration::from_secs(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000);

    fn validators(etag: Option<&'static str>, modified_before: Option<u64>) -> Validators {
        let mut fields = HeaderMap::new();
        if let Some(etag) = etag {
            fields.insert(header::ETAG, HeaderValue::from_static(etag));
        }
        if let Some(seconds) = modified_before {
            let text = NOW.minus(Duration::from_secs(seconds)).http_date();
            fields.insert(header::LAST_MODIFIED, text.parse().unwrap());
        }
        Validators::of(&fields, NOW, NOW)
    }

    #[test]
    fn tags_compare_as_the_table_of_rfc_9110_says() {
        for (one, other, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
            ("\"1\"", "\"2\"", false, false),
            ("\"\"", "\"\"", true, true),
            ("1", "1", false, true),
            ("1", "\"1\"", false, false),
            ("w/\"1\"", "w/\"1\"", false, true),
            ("w/\"1\"", "W/\"1\"", false, false),
            ("W\\\"1\"", "W\\\"1\"", false, true),
        ] {
            let (one, other) = (TagRef::read(one.as_bytes()), TagRef::read(other.as_bytes()));
            assert_eq!(one.strongly_equals(other), strong, "{one:?} {other:?}");
            assert_eq!(one.weakly_equals(other), weak, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_list_of_tags_may_hold_commas_in_tags_and_several_lines() {
        let lines = [
            HeaderValue::from_static("\"a,b\", W/\"c\""),
            HeaderValue::from_static(", d"),
        ];
        let found: Vec<_> = tags(lines.iter())
            .map(|tag| String::from_utf8_lossy(tag.opaque))
            .collect();
        assert_eq!(found, ["\"a,b\"", "\"c\"", "d"]);
    }

    #[test]
    fn a_date_is_strong_a_minute_after_the_modification() {
        for (before, strong) in [(0, false), (59, false), (60, true), (86_400, true)] {
            assert_eq!(validators(None, Some(before)).is_strong(), strong, "{before}");
        }
        assert!(validators(Some("\"a\""), None).is_strong());
        assert!(!validators(Some("W/\"a\""), Some(86_400)).is_strong());
        assert!(validators(None, None).is_empty());
        assert!(validators(Some(""), None).is_empty());
    }

    #[test]
    fn representations_are_the_same_by_tag_first_and_by_date_where_there_is_no_tag() {
        let (tag, weak, other) = (Some("\"a\""), Some("W/\"a\""), Some("\"b\""));
        for (one, two, strong, weak) in [
            (validators(tag, None), validators(tag, None), true, true),
            (validators(tag, Some(100)), validators(tag, Some(200)), true, true),
            (validators(tag, Some(100)), validators(other, Some(100)), false, false),
            (validators(tag, None), validators(weak, None), false, true),
            (validators(tag, Some(100)), validators(None, Some(100)), false, true),
            (validators(None, Some(100)), validators(None, Some(100)), true, true),
            (validators(None, Some(10)), validators(None, Some(10)), false, true),
            (validators(None, Some(100)), validators(None, Some(101)), false, false),
            (validators(None, None), validators(None, None), false, false),
        ] {
            assert_eq!(one.same_strong(&two), strong, "{one:?} {two:?}");
            assert_eq!(one.same_weak(&two), weak, "{one:?} {two:?}");
        }
    }
}
