//! A response on its way out: a status, fields that may be shared with the store, and a body.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::Body;
use super::field_lines::{self, FieldLines};

/// A response, before any transport has seen it.
#[derive(Debug)]
pub struct Response {
    /// The status of the final response.
    pub status: StatusCode,
    /// The header section.
    pub fields: Fields,
    /// The content.
    pub body: Body,
}

/// A header section: a base, owned or shared with the store, and lines appended for this one exchange.
#[derive(Debug)]
pub struct Fields {
    base: Base,
    /// What this exchange appends (Age, Cache-Status, Via…), already rendered.
    pub added: FieldLines,
}

#[derive(Debug)]
enum Base {
    Owned(Box<HeaderMap>),
    /// As they are sent; nobody has looked at them yet.
    Lines(FieldLines),
    Shared(Arc<SharedFields>),
}

/// A header section that many responses share: kept as it is sent, and read back where somebody has to look into it.
#[derive(Debug)]
pub struct SharedFields(FieldLines);

impl SharedFields {
    /// Renders `map` once; nothing else of it is kept.
    pub fn new(map: &HeaderMap) -> Self {
        FieldLines::from_map(map).into()
    }

    /// The fields, read anew: not for the hit path.
    pub fn to_map(&self) -> HeaderMap {
        self.0.clone().into_map()
    }

    /// The fields as they are sent.
    pub const fn lines(&self) -> &FieldLines {
        &self.0
    }
}

impl From<FieldLines> for SharedFields {
    fn from(mut lines: FieldLines) -> Self {
        lines.shrink_to_fit();
        Self(lines)
    }
}

impl Response {
    /// A response with no fields yet.
    pub fn new(status: StatusCode, body: impl Into<Body>) -> Self {
        Self {
            status,
            fields: Fields::default(),
            body: body.into(),
        }
    }

    /// This response with one more field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.map_mut().append(name, value);
        self
    }
}

impl Default for Fields {
    fn default() -> Self {
        HeaderMap::new().into()
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        Self {
            base: Base::Owned(Box::new(map)),
            added: FieldLines::default(),
        }
    }
}

impl From<Arc<SharedFields>> for Fields {
    fn from(shared: Arc<SharedFields>) -> Self {
        Self {
            base: Base::Shared(shared),
            added: FieldLines::default(),
        }
    }
}

impl From<FieldLines> for Fields {
    fn from(lines: FieldLines) -> Self {
        Self {
            base: Base::Lines(lines),
            added: FieldLines::default(),
        }
    }
}

impl Fields {
    /// Whether the base fields have one of this name.
    pub fn contains(&self, name: &HeaderName) -> bool {
        match &self.base {
            Base::Owned(map) => map.contains_key(name),
            Base::Lines(lines) => lines.contain_any(std::slice::from_ref(name)),
            Base::Shared(shared) => shared.0.contain_any(std::slice::from_ref(name)),
        }
    }

    /// The base fields, to look at them or to change them; shared ones are copied first (never on the hit path).
    pub fn map_mut(&mut self) -> &mut HeaderMap {
        let own = match &mut self.base {
            Base::Owned(_) => None,
            Base::Lines(lines) => Some(std::mem::take(lines).into_map()),
            Base::Shared(shared) => Some(shared.to_map()),
        };
        if let Some(map) = own {
            self.base = Base::Owned(Box::new(map));
        }
        match &mut self.base {
            Base::Owned(map) => map,
            Base::Lines(_) | Base::Shared(_) => unreachable!("made owned above"),
        }
    }

    /// Removes a field, wherever it stands.
    pub fn remove(&mut self, name: &HeaderName) {
        self.remove_all(std::slice::from_ref(name));
    }

    /// Removes some fields, wherever they stand; fields shared with the store are copied where they stand among them.
    pub fn remove_all(&mut self, names: &[HeaderName]) {
        if let Base::Lines(lines) = &mut self.base {
            lines.remove(names);
        } else if names.iter().any(|name| self.contains(name)) {
            let map = self.map_mut();
            for name in names {
                map.remove(name);
            }
        }
        self.added.remove(names);
    }

    /// Appends to `out` every line as HTTP/1.1 sends it.
    pub fn render(&self, out: &mut Vec<u8>) {
        match &self.base {
            Base::Shared(shared) => out.extend_from_slice(shared.0.as_bytes()),
            Base::Lines(lines) => out.extend_from_slice(lines.as_bytes()),
            Base::Owned(map) => field_lines::write_map(out, map),
        }
        out.extend_from_slice(self.added.as_bytes());
    }

    /// Shows every field to `see`: names as they were received.
    pub fn each(&self, mut see: impl FnMut(&[u8], &[u8])) {
        match &self.base {
            Base::Shared(shared) => shared.0.iter().for_each(|(name, value)| see(name, value)),
            Base::Lines(lines) => lines.iter().for_each(|(name, value)| see(name, value)),
            Base::Owned(map) => {
                for (name, value) in map.as_ref() {
                    see(name.as_str().as_bytes(), value.as_bytes());
                }
            }
        }
        self.added.iter().for_each(|(name, value)| see(name, value));
    }

    /// Everything as one map, for transports that want one.
    pub fn into_map(self) -> HeaderMap {
        let mut map = match self.base {
            Base::Owned(map) => *map,
            Base::Lines(lines) => lines.into_map(),
            Base::Shared(shared) => shared.to_map(),
        };
        self.added.append_to(&mut map);
        map
    }
}
