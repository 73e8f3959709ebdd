//! A file, a text or a command line → [`Config`], or everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::DeTable;

use crate::check;
use crate::defaults;
use crate::model::Config;
use crate::problem::{Lines, Notes, Problem, Problems, Wrong};
use crate::reader;
use crate::schema::Keys;
use crate::sections::Draft;

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What should be looked at, though it works.
    pub warnings: Vec<Problem>,
}

/// Reads and validates a file.
///
/// # Errors
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let file_name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&text, &file_name),
        Err(message) => Err(whole_file(&file_name, message)),
    }
}

/// Validates the text of a file; `file_name` is how messages call it.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Problems> {
    let (table, mut syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        // What was meant by a broken line is a guess, and so would be every problem after it.
        let lines = Lines::new(text);
        syntax_errors.sort_by_key(|error| error.span().map(|span| span.start));
        syntax_errors.truncate(SYNTAX_ERRORS_MAX);
        let problem = |error: &toml::de::Error| {
            let offset = error.span().map(|span| span.start);
            lines.problem(file_name, offset, String::new(), Wrong::from(error.message()))
        };
        return Err(Problems {
            errors: syntax_errors.iter().map(problem).collect(),
            warnings: Vec::new(),
        });
    }
    let mut notes = Notes::default();
    let draft = reader::read_table(table.get_ref(), Draft::preset(), "", &mut notes);
    let config = check::config(draft, &mut notes);
    let (errors, warnings) = notes.into_problems(file_name, text);
    if errors.is_empty() {
        Ok(Loaded { config, warnings })
    } else {
        Err(Problems { errors, warnings })
    }
}

/// The configuration of `tidegate run --listen ADDRESS --origin SERVER [--admin ADDRESS]`: one default site with the
/// cache in this process. It is validated as a file is.
///
/// # Errors
/// What is wrong with the arguments; the problems' paths are `--listen`, `--origin` and `--admin`.
pub fn quick(listen: &str, origin: &str, admin: Option<&str>) -> Result<Loaded, Problems> {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let admin = admin.map_or_else(String::new, |address| format!("[admin]\nlisten = {}\n", quote(address)));
    let text = format!(
        "[front]\nlisten = [{}]\n[cache]\nmemory = \"{}\"\n[origin.origin]\nservers = [{}]\n\
         [[site]]\ndefault = true\norigin = \"origin\"\n{admin}",
        quote(listen),
        defaults::QUICK_MEMORY,
        quote(origin),
    );
    let as_argument = |problem: Problem| {
        let keys = [
            ("front.listen", "--listen"),
            ("origin.origin", "--origin"),
            ("admin.listen", "--admin"),
        ];
        let option = keys.into_iter().find(|(key, _)| problem.path.starts_with(key));
        Problem {
            line: None,
            column: None,
            path: option.map_or_else(|| problem.path.clone(), |(_, option)| option.to_owned()),
            ..problem
        }
    };
    parse(&text, "command line").map_err(|problems| Problems {
        errors: problems.errors.into_iter().map(as_argument).collect(),
        warnings: problems.warnings.into_iter().map(as_argument).collect(),
    })
}

/// The text of a file, or one line that says why there is none.
fn read(path: &Path) -> Result<String, String> {
    let io_error = |e: io::Error| format!("cannot be read: {e}");
    let file = File::open(path).map_err(io_error)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("is larger than 1MiB, which no configuration is".to_owned());
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        format!("is not UTF-8 (line {line}), as TOML must be")
    })
}

const FILE_BYTES_MAX: u64 = 1 << 20;

/// One mistake often breaks several lines after it.
const SYNTAX_ERRORS_MAX: usize = 10;

fn whole_file(file: &str, message: String) -> Problems {
    Problems {
        errors: vec![Problem {
            file: file.to_owned(),
            line: None,
            column: None,
            path: String::new(),
            message,
            hint: None,
        }],
        warnings: Vec::new(),
    }
}
