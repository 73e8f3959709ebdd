//! Where the binary under test is: `TIDEGATE_BIN`, or built once beside the test binary.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of `tidegate`, building it first where `TIDEGATE_BIN` does not name one.
///
/// # Panics
/// When it cannot be built.
pub fn tidegate() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("TIDEGATE_BIN").map_or_else(build, PathBuf::from))
}

/// The workspace's root folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Cargo, as it runs these tests.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

fn build() -> PathBuf {
    // target/debug/deps/it-0123456789abcdef → target/debug
    let test_binary = std::env::current_exe().unwrap();
    let folder = test_binary.parent().and_then(Path::parent).unwrap();
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--package",
        "proxy",
        "--bin",
        "tidegate",
        "--target-dir",
    ]);
    command.arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "building tidegate: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.join("tidegate")
}
