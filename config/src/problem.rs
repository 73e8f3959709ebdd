//! What is wrong in a file, where, and what would be right.
//!
//! While a file is read, problems are noted by key path ([`Notes`]); their lines are looked up once, at the end, from the
//! places that the reader has seen. A key that is not in the file stands where its table stands.

use std::collections::BTreeMap;
use std::fmt;

/// One thing that is wrong (or, as a warning, doubtful).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, or `command line`.
    pub file: String,
    /// The line, from 1; `None` when the problem is with the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key, such as `site[1].route[0].origin`; empty for a syntax error.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was probably meant, or where to look.
    pub hint: Option<String>,
}

/// Why there is no configuration: at least one error, and the warnings beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// What must be put right, in the order of the file; never empty.
    pub errors: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            // A key says more than a column; a syntax error has no key.
            if let (true, Some(column)) = (self.path.is_empty(), self.column) {
                write!(f, ":{column}")?;
            }
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is wrong with one value; its place is the caller's to know.
#[derive(Debug)]
pub(crate) struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Wrong {
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds `did you mean "…"?` when one of the `known` names is near.
    pub(crate) fn did_you_mean<'a>(self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(written, known) {
            Some(name) => self.hint(format!("did you mean {name:?}?")),
            None => self,
        }
    }

    pub(crate) fn has_hint(&self) -> bool {
        self.hint.is_some()
    }
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(message: T) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }
}

/// The known name that `written` is probably a misspelling of.
fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let allowed = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Problems noted so far, and where each key stands in the file.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    findings: Vec<Finding>,
    places: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Finding {
    path: String,
    is_error: bool,
    wrong: Wrong,
}

impl Notes {
    /// Notes that `path` stands at this byte of the file.
    pub(crate) fn place(&mut self, path: &str, offset: usize) {
        self.places.insert(path.to_owned(), offset);
    }

    /// Whether the file has this key.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    pub(crate) fn error(&mut self, path: impl Into<String>, wrong: impl Into<Wrong>) {
        self.note(path.into(), true, wrong.into());
    }

    pub(crate) fn warning(&mut self, path: impl Into<String>, wrong: impl Into<Wrong>) {
        self.note(path.into(), false, wrong.into());
    }

    fn note(&mut self, path: String, is_error: bool, wrong: Wrong) {
        self.findings.push(Finding { path, is_error, wrong });
    }

    /// All problems in the order of the file: errors and warnings.
    pub(crate) fn into_problems(self, file: &str, text: &str) -> (Vec<Problem>, Vec<Problem>) {
        let lines = Lines::new(text);
        let mut findings: Vec<_> = self
            .findings
            .into_iter()
            .map(|finding| (place_of(&self.places, &finding.path), finding))
            .collect();
        findings.sort_by_key(|(offset, _)| *offset);
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for (offset, finding) in findings {
            let problem = lines.problem(file, offset, finding.path, finding.wrong);
            if finding.is_error { &mut errors } else { &mut warnings }.push(problem);
        }
        for problems in [&mut errors, &mut warnings] {
            cut(problems);
        }
        (errors, warnings)
    }
}

/// Where `path` stands, or else the nearest table around it.
fn place_of(places: &BTreeMap<String, usize>, mut path: &str) -> Option<usize> {
    loop {
        if let Some(offset) = places.get(path) {
            return Some(*offset);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

/// A file of nothing but mistakes is not echoed whole.
fn cut(problems: &mut Vec<Problem>) {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    if let (true, Some(first)) = (more > 0, problems.first()) {
        let rest = Problem {
            file: first.file.clone(),
            line: None,
            column: None,
            path: String::new(),
            message: format!("and {more} more like these"),
            hint: None,
        };
        problems.truncate(PROBLEMS_MAX);
        problems.push(rest);
    }
}

const PROBLEMS_MAX: usize = 100;

/// Where the lines of a text begin.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    pub(crate) fn problem(&self, file: &str, offset: Option<usize>, path: String, wrong: Wrong) -> Problem {
        let position = offset.map(|offset| self.position(offset));
        Problem {
            file: file.to_owned(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            path,
            message: wrong.message,
            hint: wrong.hint,
        }
    }

    /// Line and column, from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        let known = ["listen", "header_timeout", "send_timeout", "api"];
        for (written, nearest_name) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("header_timout", Some("header_timeout")),
            ("headertimeout", Some("header_timeout")),
            ("apy", Some("api")),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(written, known), nearest_name, "{written}");
        }
    }

    #[test]
    fn a_problem_stands_at_its_key_or_at_the_nearest_table_around_it() {
        let text = "ä = 1\n[[site]]\nhosts = []\n";
        let mut notes = Notes::default();
        notes.place("site[0]", 7);
        notes.place("site[0].hosts", 16);
        notes.place("ä", 0);
        notes.warning("site[0].hosts", "b");
        notes.error("site[0].route[1].origin", "a");
        notes.error("origin", "c");
        let (errors, warnings) = notes.into_problems("t.toml", text);
        let printed: Vec<_> = errors.iter().chain(&warnings).map(ToString::to_string).collect();
        assert_eq!(
            printed,
            [
                "t.toml: origin: c",
                "t.toml:2: site[0].route[1].origin: a",
                "t.toml:3: site[0].hosts: b"
            ]
        );
    }

    #[test]
    fn more_problems_than_anybody_reads_are_counted() {
        let mut notes = Notes::default();
        for _ in 0..PROBLEMS_MAX + 5 {
            notes.error("", "x");
        }
        let (errors, _) = notes.into_problems("t.toml", "");
        assert_eq!(errors.len(), PROBLEMS_MAX + 1);
        assert_eq!(errors[PROBLEMS_MAX].to_string(), "t.toml: and 5 more like these");
    }
}
