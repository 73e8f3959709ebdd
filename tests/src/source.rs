//! The workspace's sources as text: found, and read without their strings and comments.

use std::path::{Path, PathBuf};

use crate::binary::workspace;

/// All Rust sources: the workspace's crates, and the fuzz targets.
///
/// # Panics
/// When there are hardly any: the search itself is broken.
pub fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for name in ["common", "config", "cache", "proxy", "bench", "tests", "fuzz"] {
        collect(&workspace().join(name), &mut files);
    }
    assert!(files.len() > 20, "{files:?}");
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The identifiers and numbers of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

/// A source without its comments and without what stands in its strings; lines stay where they are.
pub fn code(source: &str) -> String {
    blank(source, true)
}

/// A source without what stands in its strings; comments stay.
pub fn without_strings(source: &str) -> String {
    blank(source, false)
}

fn blank(source: &str, comments_too: bool) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = match piece(rest, out.chars().last()) {
            Piece::Comment(length) => (length, !comments_too),
            Piece::Literal(length) => (length, false),
            Piece::Code => (first.len_utf8(), true),
        };
        let (taken, after) = rest.split_at(length);
        if keep {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().filter(|c| *c == '\n'));
            out.push(' ');
        }
        rest = after;
    }
    out
}

/// What a text begins with, and how many bytes of it.
enum Piece {
    Comment(usize),
    Literal(usize),
    Code,
}

fn piece(rest: &str, before: Option<char>) -> Piece {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return Piece::Comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Piece::Comment(rest.find("*/").map_or(rest.len(), |at| at + 2));
    }
    if rest.starts_with('"') {
        return Piece::Literal(quoted(rest, '"'));
    }
    // A character, not a lifetime: `'x'`, `'\n'`.
    if rest.starts_with("'\\") || (rest.starts_with('\'') && rest.chars().nth(2) == Some('\'')) {
        return Piece::Literal(quoted(rest, '\''));
    }
    let hashes = rest
        .strip_prefix('r')
        .map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if !in_word && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &rest[2 + hashes..];
        return Piece::Literal(inside.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len()));
    }
    Piece::Code
}

/// Bytes of a literal that ends at the next `quote` without a backslash before it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::{code, without_strings};

    #[test]
    fn strings_and_comments_are_blanked_and_lines_stay() {
        for (source, expected) in [
            ("let a = \"x \\\" y\"; b", "let a =  ; b"),
            ("a // \"b\nc", "a  \nc"),
            ("a /* b\nc */ d", "a \n  d"),
            ("r#\"a \"b\" c\"# d", "  d"),
            ("br\"a\" d", "br  d"),
            ("'\"' 'a' &'a str '\\'' x", "    &'a str   x"),
            ("\"a\nb\" c", "\n  c"),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
        assert_eq!(without_strings("a // b \"c\""), "a // b \"c\"");
    }
}
