//! docs/rfc-map.md names tests and files; this test holds it to them.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_file_and_test_in_the_rfc_map_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = root.join("src/policy");
    let map = fs::read_to_string(root.join("../docs/rfc-map.md")).unwrap();
    let mut sources = Vec::new();
    // The engine's tests, and those from outside, too.
    for folder in [root.join("src"), root.join("../tests/tests/it")] {
        collect(&folder, &mut sources);
    }
    let code: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let (mut files, mut tests) = (0, 0);
    for word in map.split('`').skip(1).step_by(2) {
        let is_name = word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
            assert!(policy.join(word).exists(), "docs/rfc-map.md: no file {word}");
            files += 1;
        } else if is_name && word.matches('_').count() >= 3 {
            assert!(code.contains(&format!("fn {word}(")), "docs/rfc-map.md: no test {word}");
            tests += 1;
        }
    }
    assert!(
        files > 50 && tests > 80,
        "docs/rfc-map.md names {files} files and {tests} tests only"
    );
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.push(path);
        }
    }
}
