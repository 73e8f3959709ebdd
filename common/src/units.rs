//! Sizes and durations as text: "512MiB", "30s".
