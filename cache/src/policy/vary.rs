//! Which stored response of a key answers a request: Vary and the Vary key (RFC 9111 §4.1).
//!
//! The Vary key is the nominated request fields in a normal form, kept byte for byte: comparing is exact, and a lookup
//! visits the request's fields without copying them.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::list;
use super::meta::StoredMeta;
use super::rules::{AcceptEncodingRule, AcceptLanguageRule, VaryRules};
use super::weights::{self, Sorted};

/// What a response's Vary says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is none: it answers every request for its key.
    Nothing,
    /// `*`, or something that is no field name: it answers no request.
    Any,
    /// It answers requests with these fields alike; sorted, without duplicates, never empty.
    Fields(Box<[HeaderName]>),
}

/// The nominated fields of the request that a response was stored for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VaryKey(
    /// `None` where there are none.
    Option<Box<Forms>>,
);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Forms {
    /// In normal form.
    exact: Box<[u8]>,
    /// The same with the response's own language in place of Accept-Language, where the rules ask for it.
    language: Option<Box<[u8]>>,
}

impl Vary {
    /// Reads all Vary lines of a response.
    pub fn of(fields: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields
            .get_all(header::VARY)
            .iter()
            .flat_map(|line| list::members(line.as_bytes()))
        {
            // "A stored response with a Vary header field value containing a member "*" always fails to match." (§4.1)
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::Any,
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        if names.is_empty() {
            Self::Nothing
        } else {
            Self::Fields(names.into())
        }
    }

    /// The nominated fields.
    pub fn names(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Nothing | Self::Any => &[],
        }
    }

    /// The Vary key of a response with `response` fields to a request with `request` fields.
    pub fn key(&self, request: &HeaderMap, response: &HeaderMap, rules: &VaryRules) -> VaryKey {
        if self.names().is_empty() {
            return VaryKey::default();
        }
        let mut exact = Vec::new();
        self.visit(request, rules, None, &mut |piece| exact.extend_from_slice(piece));
        let language = (rules.accept_language == AcceptLanguageRule::BestLanguage)
            .then(|| response.get(header::CONTENT_LANGUAGE))
            .flatten()
            .map(|value| {
                let mut key = Vec::new();
                let language = value.as_bytes();
                self.visit(request, rules, Some(language), &mut |piece| {
                    key.extend_from_slice(piece)
                });
                key.into()
            });
        let exact = exact.into();
        VaryKey(Some(Box::new(Forms { exact, language })))
    }

    /// Whether a response stored under `key` answers a request with `request` fields.
    pub fn matches(&self, key: &VaryKey, request: &HeaderMap, rules: &VaryRules) -> bool {
        if *self == Self::Nothing {
            return true;
        }
        // "When a cache receives a request that can be satisfied by a stored response and that stored response contains
        // a Vary header field […], the cache MUST NOT use that stored response without revalidation unless all the
        // presented request header fields nominated by that Vary field value match those fields in the original
        // request" (§4.1)
        *self != Self::Any && (self.is_key(key.exact(), request, rules, None) || self.speaks(key, request, rules))
    }

    /// Whether a response stored under `key` was asked for with the same Accept-Encoding, as far as it depends on that.
    pub fn same_coding(&self, key: &VaryKey, request: &HeaderMap, rules: &VaryRules) -> bool {
        let name = header::ACCEPT_ENCODING;
        if !self.names().contains(&name) {
            return true;
        }
        let mut line = Vec::new();
        visit_field(&name, request, rules, &mut |piece| line.extend_from_slice(piece));
        key.exact()
            .split_inclusive(|byte| *byte == b'\n')
            .any(|known| known == line)
    }

    /// Whether the response is in the one language that the request likes best ([`AcceptLanguageRule::BestLanguage`]).
    fn speaks(&self, key: &VaryKey, request: &HeaderMap, rules: &VaryRules) -> bool {
        let best = || weights::best(request.get_all(header::ACCEPT_LANGUAGE).iter());
        let language = key.language();
        let language = language.zip(language.and_then(|_| best()));
        language.is_some_and(|(key, best)| self.is_key(key, request, rules, Some(best)))
    }

    fn is_key(&self, key: &[u8], request: &HeaderMap, rules: &VaryRules, language: Option<&[u8]>) -> bool {
        let mut rest = Some(key);
        self.visit(request, rules, language, &mut |piece| {
            rest = rest.and_then(|rest| rest.strip_prefix(piece));
        });
        rest == Some(&[])
    }

    /// Calls `visit` with the pieces of the Vary key: `name` for an absent field, `name: value` for one that is there,
    /// a line each. "If (after any normalization that might take place) a header field is absent from a request, it can
    /// only match another request if it is also absent there." (§4.1)
    fn visit(&self, request: &HeaderMap, rules: &VaryRules, language: Option<&[u8]>, visit: &mut impl FnMut(&[u8])) {
        for name in self.names() {
            match language {
                Some(language) if name == header::ACCEPT_LANGUAGE => {
                    visit(name.as_str().as_bytes());
                    visit(b"= ");
                    language.iter().for_each(|byte| visit(&[byte.to_ascii_lowercase()]));
                    visit(b"\n");
                }
                _ => visit_field(name, request, rules, visit),
            }
        }
    }
}

fn visit_field(name: &HeaderName, request: &HeaderMap, rules: &VaryRules, visit: &mut impl FnMut(&[u8])) {
    visit(name.as_str().as_bytes());
    if request.contains_key(name) {
        visit(b": ");
        visit_value(name, request, rules, visit);
    }
    visit(b"\n");
}

impl VaryKey {
    fn exact(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |forms| &forms.exact)
    }

    fn language(&self) -> Option<&[u8]> {
        self.0.as_ref()?.language.as_deref()
    }

    /// Bytes that it holds outside of itself, about.
    pub fn heap_bytes(&self) -> usize {
        let forms = self.0.as_deref().map_or(0, size_of_val);
        forms + self.exact().len() + self.language().map_or(0, <[u8]>::len)
    }
}

/// A Vary key as one line of text, for logs and `explain`.
impl fmt::Display for VaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.exact());
        // A sorted list ends each of its members with a comma.
        let lines: Vec<_> = text.lines().map(|line| line.trim_end_matches(',')).collect();
        f.write_str(&lines.join("; "))
    }
}

fn visit_value(name: &HeaderName, request: &HeaderMap, rules: &VaryRules, visit: &mut impl FnMut(&[u8])) {
    let lines = || request.get_all(name).iter();
    let sorted = match *name {
        header::ACCEPT_ENCODING => match rules.accept_encoding {
            AcceptEncodingRule::AsSent => None,
            AcceptEncodingRule::SameMeaning => Sorted::of(lines()),
            AcceptEncodingRule::Reduced => return visit(reduced_accept_encoding(request).as_bytes()),
        },
        header::ACCEPT_LANGUAGE if rules.accept_language != AcceptLanguageRule::AsSent => Sorted::of(lines()),
        _ => None,
    };
    match sorted {
        Some(sorted) => visit_sorted(&sorted, visit),
        // "adding or removing whitespace, where allowed in the header field's syntax; combining multiple header field
        // lines with the same field name" (§4.1)
        None => {
            for member in lines().flat_map(|line| list::members(line.as_bytes())) {
                visit(member);
                visit(b",");
            }
        }
    }
}

/// "normalizing both header field values in a way that is known to have identical semantics, according to the header
/// field's specification (e.g., reordering field values when order is not significant; case-normalization, where values
/// are defined to be case-insensitive)" (§4.1)
fn visit_sorted(sorted: &Sorted<'_>, visit: &mut impl FnMut(&[u8])) {
    for member in sorted.members() {
        for byte in member.name {
            visit(&[byte.to_ascii_lowercase()]);
        }
        if member.weight < 1000 {
            visit(b";q=0.");
            for digit in [member.weight / 100, member.weight / 10 % 10, member.weight % 10] {
                visit(&[b'0' + u8::try_from(digit).unwrap_or_default()]);
            }
        }
        visit(b",");
    }
}

/// What a request with a reduced Accept-Encoding is sent to the origin with ([`AcceptEncodingRule::Reduced`]): the
/// known codings that the client takes, in one order.
pub fn reduced_accept_encoding(request: &HeaderMap) -> &'static str {
    let (mut zstd, mut br, mut gzip) = (false, false, false);
    let lines = request.get_all(header::ACCEPT_ENCODING);
    for member in lines.iter().flat_map(|line| list::members(line.as_bytes())) {
        let Some(coding) = weights::read(member).filter(|coding| coding.weight > 0) else {
            continue;
        };
        zstd |= coding.name.eq_ignore_ascii_case(b"zstd");
        br |= coding.name.eq_ignore_ascii_case(b"br");
        // "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"." (RFC 9110 §8.4.1.3)
        gzip |= coding.name.eq_ignore_ascii_case(b"gzip") || coding.name.eq_ignore_ascii_case(b"x-gzip");
    }
    match (zstd, br, gzip) {
        (true, true, true) => "zstd, br, gzip",
        (true, true, false) => "zstd, br",
        (true, false, true) => "zstd, gzip",
        (true, false, false) => "zstd",
        (false, true, true) => "br, gzip",
        (false, true, false) => "br",
        (false, false, true) => "gzip",
        (false, false, false) => "identity",
    }
}

/// Puts the reduced Accept-Encoding into a request for the origin, where the rules ask for it and the client sent one.
pub fn reduce_accept_encoding(request: &mut HeaderMap, rules: &VaryRules) {
    if rules.accept_encoding == AcceptEncodingRule::Reduced && request.contains_key(header::ACCEPT_ENCODING) {
        let reduced = reduced_accept_encoding(request);
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(reduced));
    }
}

/// Picks, among the stored responses of one key, the one that answers a request; gives its place.
pub fn select<'m>(
    stored: impl IntoIterator<Item = &'m StoredMeta>,
    request: &HeaderMap,
    rules: &VaryRules,
) -> Option<usize> {
    // "When a cache has multiple stored responses for a target URI and one or more omits the Vary header field, the
    // cache SHOULD choose the most recent (see Section 4.2.3) stored response with a valid Vary field value." (§4.1)
    // and "When more than one suitable response is stored, a cache MUST use the most recent one (as determined by the
    // Date header field)." (§4)
    let matching = stored
        .into_iter()
        .enumerate()
        .filter(|(_, meta)| meta.vary.matches(&meta.vary_key, request, rules));
    let best = matching.max_by_key(|(_, meta)| (!meta.vary.names().is_empty(), meta.date, meta.response_time));
    best.map(|(index, _)| index)
}
