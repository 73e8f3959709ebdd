//! The tags of a response: words by which stored responses are purged together.

use http::{HeaderMap, HeaderName};

/// The tags in these fields of a response, separated by single spaces; empty when there is none.
pub fn tags(response: &HeaderMap, fields: &[HeaderName]) -> Box<str> {
    let mut tags = String::new();
    let lines = fields.iter().flat_map(|name| response.get_all(name));
    let is_separator = |c: char| c == ',' || c.is_ascii_whitespace();
    for tag in lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(is_separator))
    {
        if !tag.is_empty() {
            if !tags.is_empty() {
                tags.push(' ');
            }
            tags.push_str(tag);
        }
    }
    tags.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn tags_come_from_all_lines_of_all_fields_however_they_are_separated() {
        let names = ["surrogate-key", "cache-tag"].map(HeaderName::from_static);
        let mut response = HeaderMap::new();
        assert_eq!(&*tags(&response, &names), "");
        for (name, value) in [(0, " a  b\tc "), (1, "d,e , f,,"), (0, "g")] {
            response.append(&names[name], HeaderValue::from_static(value));
        }
        assert_eq!(&*tags(&response, &names), "a b c g d e f");
    }
}
