//! Texts with variables: `https://$host/new$query`, `id-${request_id}`, `$1` of the route's expression, `$$` for a dollar.

use std::fmt;
use std::str::FromStr;

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// Filled in for each request.
    Variable(Variable),
}

/// What is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `http` or `https`, as the client's connection is.
    Scheme,
    /// The host that the request is for: lower case, without a port.
    Host,
    /// The path as the client sent it.
    Path,
    /// The query with its `?`, or nothing where there is none.
    Query,
    /// Path and query.
    Uri,
    /// The method.
    Method,
    /// The client's address; nothing on a unix socket.
    ClientIp,
    /// The exchange's id.
    RequestId,
    /// What a group of the route's expression matched; 0 is all of it.
    Capture(usize),
}

/// The variables by name.
const NAMES: [(&str, Variable); 8] = [
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("uri", Variable::Uri),
    ("method", Variable::Method),
    ("client_ip", Variable::ClientIp),
    ("request_id", Variable::RequestId),
];

/// Groups that can be named: `$0` to `$9`.
const CAPTURES: usize = 10;

impl Template {
    /// The pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text, where there is no variable in it.
    pub fn fixed(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// All its variables.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(*variable),
        })
    }

    /// The highest group that it names.
    pub fn capture_max(&self) -> Option<usize> {
        let groups = self.variables().filter_map(|variable| match variable {
            Variable::Capture(group) => Some(group),
            _ => None,
        });
        groups.max()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                Part::Variable(Variable::Capture(group)) => write!(f, "${{{group}}}")?,
                Part::Variable(variable) => write!(f, "${{{}}}", name(*variable))?,
            }
        }
        Ok(())
    }
}

fn name(variable: Variable) -> &'static str {
    let known = NAMES.iter().find(|(_, known)| *known == variable);
    known.map_or("", |(name, _)| name)
}

impl FromStr for Template {
    type Err = String;

    /// Reads a text with variables; the error says what is wrong with the first variable that is.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            fixed.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                fixed.push('$');
                rest = after;
                continue;
            }
            let (variable, after) = variable(after)?;
            if !fixed.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Variable(variable));
            rest = after;
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            parts.push(Part::Text(fixed));
        }
        Ok(Self { parts })
    }
}

/// The variable that `text` begins with, and what follows it.
fn variable(text: &str) -> Result<(Variable, &str), String> {
    let (word, after) = if let Some(braced) = text.strip_prefix('{') {
        braced
            .split_once('}')
            .ok_or_else(|| "\"${\" without \"}\"".to_owned())?
    } else if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.split_at(1)
    } else {
        let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_');
        text.split_at(end.unwrap_or(text.len()))
    };
    if let Some((_, variable)) = NAMES.iter().find(|(name, _)| *name == word) {
        return Ok((*variable, after));
    }
    match word.parse::<usize>() {
        Ok(group) if group < CAPTURES && word.len() == 1 => Ok((Variable::Capture(group), after)),
        _ if word.is_empty() => Err("\"$\" without the name of a variable; \"$$\" is a dollar sign".to_owned()),
        _ => {
            let known: Vec<_> = NAMES.iter().map(|(name, _)| format!("${name}")).collect();
            Err(format!(
                "there is no variable ${word}; there are {}, and $0 to $9",
                known.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        text.parse()
    }

    #[test]
    fn a_text_is_printed_so_that_it_reads_the_same() {
        for (text, printed) in [
            ("", ""),
            ("plain", "plain"),
            ("https://$host/new$query", "https://${host}/new${query}"),
            ("$1-$12", "${1}-${1}2"),
            ("${scheme}s", "${scheme}s"),
            ("$$5 $client_ip.", "$$5 ${client_ip}."),
        ] {
            let template = parse(text).unwrap();
            assert_eq!(template.to_string(), printed, "{text}");
            assert_eq!(parse(printed), Ok(template), "{text}");
        }
    }

    #[test]
    fn unknown_variables_are_refused() {
        for text in ["$", "$nothing", "${", "${}", "${host", "$ host", "${10}", "$Host"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_has_no_variable_is_fixed() {
        assert_eq!(parse("a$$b").unwrap().fixed(), Some("a$b"));
        assert_eq!(parse("").unwrap().fixed(), Some(""));
        assert_eq!(parse("$0").unwrap().fixed(), None);
        assert_eq!(parse("$2$0").unwrap().capture_max(), Some(2));
    }
}
