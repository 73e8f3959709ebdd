//! A response on its way out: a status, fields that may be shared with the store, and a body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::Body;
use super::field_lines::FieldLines;

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

/// A header section that many responses share: looked into as a map, sent as it was rendered once.
///
/// INVARIANT: `lines` are the fields of `map`, and neither changes.
#[derive(Debug)]
pub struct SharedFields {
    map: HeaderMap,
    lines: Bytes,
}

impl SharedFields {
    /// Renders `map` once; its values become slices of what was rendered, so that nothing else is kept alive.
    pub fn new(map: &HeaderMap) -> Self {
        let lines = Bytes::from(FieldLines::from_map(map).into_bytes());
        let mut own = HeaderMap::with_capacity(map.len());
        let mut at = 0;
        for (name, value) in map {
            at += name.as_str().len() + 2;
            let slice = lines.slice(at..at + value.len());
            at += value.len() + 2;
            own.append(
                name.clone(),
                HeaderValue::from_maybe_shared(slice).unwrap_or_else(|_| value.clone()),
            );
        }
        Self { map: own, lines }
    }

    /// The fields.
    pub fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// Bytes that the map and the rendered lines occupy, as the store weighs them.
    pub fn weight(&self) -> usize {
        self.lines.len() + self.map.capacity() * (size_of::<(HeaderName, HeaderValue)>() + 24)
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
            Base::Shared(shared) => shared.map.contains_key(name),
        }
    }

    /// The base fields, to look at them or to change them; shared ones are copied first (never on the hit path).
    pub fn map_mut(&mut self) -> &mut HeaderMap {
        let own = match &mut self.base {
            Base::Owned(_) => None,
            Base::Lines(lines) => Some(std::mem::take(lines).into_map()),
            Base::Shared(shared) => Some(shared.map.clone()),
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
            Base::Shared(shared) => out.extend_from_slice(&shared.lines),
            Base::Lines(lines) => out.extend_from_slice(lines.as_bytes()),
            Base::Owned(map) => {
                for (name, value) in map.as_ref() {
                    out.extend_from_slice(name.as_str().as_bytes());
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(value.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(self.added.as_bytes());
    }

    /// Everything as one map, for transports that want one.
    pub fn into_map(mut self) -> HeaderMap {
        let added = std::mem::take(&mut self.added);
        let map = self.map_mut();
        added.append_to(map);
        std::mem::take(map)
    }
}
