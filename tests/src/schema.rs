//! A validator for the part of JSON Schema 2020-12 that docs/health.schema.json uses.
//!
//! A keyword that it does not know is an error, so that a schema never promises more than is checked.

use serde_json::{Map, Value};

/// What is wrong with `value`, one line per problem, each with its JSON pointer.
pub fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    Validator { root: schema }.check(schema, value, "", &mut problems);
    problems
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        let Some(keywords) = schema.as_object() else {
            problems.push(format!("{at}: a schema that is no object"));
            return;
        };
        for (keyword, wanted) in keywords {
            let holds = match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    self.check(self.target(wanted), value, at, problems);
                    true
                }
                "type" => has_type(wanted, value),
                "const" => wanted == value,
                "enum" => wanted.as_array().is_some_and(|words| words.contains(value)),
                "minimum" => value.as_f64().is_none_or(|number| Some(number) >= wanted.as_f64()),
                "maximum" => value.as_f64().is_none_or(|number| Some(number) <= wanted.as_f64()),
                "required" => wanted.as_array().is_some_and(|names| has_all(names, value)),
                "anyOf" => wanted
                    .as_array()
                    .is_some_and(|ways| ways.iter().any(|way| self.holds(way, value))),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{at}/{index}"), problems);
                    }
                    true
                }
                "properties" | "additionalProperties" => true,
                unknown => {
                    problems.push(format!("{at}: the validator does not know {unknown}"));
                    true
                }
            };
            if !holds {
                problems.push(format!("{at}: not {keyword} {wanted}: {value}"));
            }
        }
        if let Some(members) = value.as_object() {
            self.check_members(keywords, members, at, problems);
        }
    }

    fn check_members(
        &self,
        keywords: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        problems: &mut Vec<String>,
    ) {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let is_closed = keywords.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, member) in members {
            let at = format!("{at}/{name}");
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => self.check(schema, member, &at, problems),
                None if is_closed => problems.push(format!("{at}: not in the schema")),
                None => {}
            }
        }
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let mut problems = Vec::new();
        self.check(schema, value, "", &mut problems);
        problems.is_empty()
    }

    /// What `#/$defs/name` stands for.
    fn target(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        pointer
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(&Value::Null)
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(words) => words.iter().any(|word| has_type(word, value)),
        word => match (word.as_str().unwrap_or_default(), value) {
            ("integer", Value::Number(number)) => number.is_u64() || number.is_i64(),
            ("null", Value::Null)
            | ("boolean", Value::Bool(_))
            | ("number", Value::Number(_))
            | ("string", Value::String(_))
            | ("array", Value::Array(_))
            | ("object", Value::Object(_)) => true,
            _ => false,
        },
    }
}

fn has_all(names: &[Value], value: &Value) -> bool {
    let has = |name: &Value| name.as_str().is_some_and(|name| value.get(name).is_some());
    !value.is_object() || names.iter().all(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::problems;

    #[test]
    fn each_keyword_finds_what_breaks_it() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": {"type": "integer", "minimum": 1, "maximum": 3},
                "b": {"type": ["string", "null"]},
                "c": {"type": "array", "items": {"$ref": "#/$defs/word"}},
                "d": {"anyOf": [{"const": 1}, {"type": "boolean"}]},
            },
            "$defs": {"word": {"enum": ["x", "y"]}},
        });
        for (value, expected) in [
            (json!({"a": 1, "b": null, "c": ["x", "y"], "d": true}), 0),
            (json!({}), 1),
            (json!([]), 1),
            (json!({"a": 0}), 1),
            (json!({"a": 4}), 1),
            (json!({"a": 1.5}), 1),
            (json!({"a": 1, "b": 2}), 1),
            (json!({"a": 1, "c": ["x", "z", "w"]}), 2),
            (json!({"a": 1, "d": 2}), 1),
            (json!({"a": 1, "e": 1}), 1),
        ] {
            let found = problems(&schema, &value);
            assert_eq!(found.len(), expected, "{value}: {found:?}");
        }
    }

    #[test]
    fn a_keyword_that_is_not_known_and_a_reference_to_nothing_are_problems() {
        assert_eq!(problems(&json!({"format": "date"}), &json!("x")).len(), 1);
        assert_eq!(problems(&json!({"$ref": "#/$defs/nothing"}), &json!("x")).len(), 1);
    }
}
