//! Fields that rules remove, set and add, in this order. Pure.
//!
//! A response from store shares its fields with the store: lines are appended to it, and it is copied only where a rule
//! takes away a field that is there.

use std::sync::Arc;

use common::http::field_lines::FieldLines;
use common::http::hop_by_hop;
use common::http::response::Fields;
use config::traffic::FieldRules;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::text::Request;

/// What is changed in requests.
pub struct RequestRules(Arc<FieldRules>);

/// What is changed in responses.
pub struct ResponseRules {
    rules: Arc<FieldRules>,
    /// Fields that go: those that are removed, and those that are set.
    gone: Box<[HeaderName]>,
    /// The lines that come, where they are the same for every request.
    fixed: Option<FieldLines>,
}

/// The lines that come, for one exchange.
pub enum Rendered<'t> {
    /// The same as always.
    Fixed(&'t FieldLines),
    /// Filled in.
    Own(FieldLines),
}

impl RequestRules {
    pub fn new(rules: Arc<FieldRules>) -> Self {
        Self(rules)
    }

    /// The values for one request: those that are set, then those that are added.
    pub fn render(&self, request: &Request<'_>) -> Vec<HeaderValue> {
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        let values = self.0.written().map(|(_, template)| match template.fixed() {
            Some(text) => HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("")),
            None => value(request.fill(template).to_string()),
        });
        values.collect()
    }

    /// Changes the fields of that request.
    pub fn apply(&self, values: Vec<HeaderValue>, fields: &mut HeaderMap) {
        let rules = &self.0;
        // Named by the client's Connection, they would go where fields of this hop go.
        hop_by_hop::withdraw_options(fields, rules.written().map(|(name, _)| name));
        for name in &rules.remove {
            fields.remove(name);
        }
        let mut values = values.into_iter();
        for ((name, _), value) in rules.set.iter().zip(&mut values) {
            fields.insert(name, value);
        }
        for ((name, _), value) in rules.add.iter().zip(&mut values) {
            fields.append(name, value);
        }
    }
}

impl ResponseRules {
    pub fn new(rules: Arc<FieldRules>) -> Self {
        let mut fixed = Some(FieldLines::default());
        for (name, template) in rules.written() {
            match (template.fixed(), &mut fixed) {
                (Some(text), Some(lines)) => lines.push_display(name, text),
                _ => fixed = None,
            }
        }
        let set = rules.set.iter().map(|(name, _)| name);
        Self {
            gone: rules.remove.iter().chain(set).cloned().collect(),
            fixed,
            rules,
        }
    }

    /// The lines for the response to one request.
    pub fn render(&self, request: &Request<'_>) -> Rendered<'_> {
        if let Some(fixed) = &self.fixed {
            return Rendered::Fixed(fixed);
        }
        let mut lines = FieldLines::with_capacity(256);
        for (name, template) in self.rules.written() {
            lines.push_display(name, request.fill(template));
        }
        Rendered::Own(lines)
    }

    /// Changes the fields of that response.
    pub fn apply(&self, rendered: &Rendered<'_>, fields: &mut Fields) {
        for name in &self.gone {
            fields.remove(name);
        }
        fields.added.extend(match rendered {
            Rendered::Fixed(lines) => lines,
            Rendered::Own(lines) => lines,
        });
    }
}

#[cfg(test)]
mod tests {
    use common::http::outgoing::RequestId;
    use common::http::response::SharedFields;
    use http::header::{AGE, CONNECTION, SERVER};

    use super::*;
    use crate::exchange::testing::{conn, head, template};

    fn rules(remove: &[&'static str], set: &[(&'static str, &str)], add: &[(&'static str, &str)]) -> Arc<FieldRules> {
        let name = |name: &'static str| HeaderName::from_static(name);
        let written = |fields: &[(&'static str, &str)]| {
            let fields = fields.iter();
            fields.map(|(field, text)| (name(field), template(text))).collect()
        };
        Arc::new(FieldRules {
            remove: remove.iter().map(|field| name(field)).collect(),
            set: written(set),
            add: written(add),
        })
    }

    #[test]
    fn requests_lose_and_gain_fields_and_a_client_cannot_take_them_away() {
        let rules = RequestRules::new(rules(
            &["x-gone"],
            &[("x-set", "$client_ip"), ("host", "inner.example")],
            &[("x-more", "2")],
        ));
        let mut request = head("/");
        for (name, value) in [("x-gone", "1"), ("x-set", "forged"), ("x-more", "1")] {
            request.headers.append(name, HeaderValue::from_static(value));
        }
        request
            .headers
            .append(CONNECTION, HeaderValue::from_static("close, X-Set, x-other"));
        let (conn, id) = (conn(), RequestId::Made(1));
        let values = rules.render(&Request::new(&request, &conn, &id, None));
        rules.apply(values, &mut request.headers);
        let all = |name: &str| {
            let values = request.headers.get_all(name).iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all("x-gone"), [""; 0]);
        assert_eq!(all("x-set"), ["192.0.2.1"]);
        assert_eq!(all("x-more"), ["1", "2"]);
        assert_eq!(all("host"), ["inner.example"]);
        assert_eq!(all("connection"), ["close, x-other"]);
    }

    #[test]
    fn responses_lose_and_gain_fields_wherever_they_stand() {
        let mut stored = HeaderMap::new();
        stored.insert(SERVER, HeaderValue::from_static("origin/1"));
        stored.insert("x-kept", HeaderValue::from_static("1"));
        let shared = Arc::new(SharedFields::new(&stored));
        let (conn, id, request) = (conn(), RequestId::Made(1), head("/a"));
        let request = Request::new(&request, &conn, &id, None);
        for path in ["/a", "$path"] {
            let rules = ResponseRules::new(rules(
                &["age"],
                &[("server", "ours")],
                &[("x-path", path), ("x-path", "b")],
            ));
            let mut fields = Fields::from(Arc::clone(&shared));
            fields.added.push_display(&AGE, 1);
            rules.apply(&rules.render(&request), &mut fields);
            let mut out = Vec::new();
            fields.render(&mut out);
            let expected = "x-kept: 1\r\nserver: ours\r\nx-path: /a\r\nx-path: b\r\n";
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        assert_eq!(shared.to_map()["server"], "origin/1");
    }
}
