//! What the targets share: fields made of fuzzed bytes, and the rules of a plain configuration.

use std::sync::LazyLock;

use common::time::WallTime;
use config::rules::Rules;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The rules of a configuration that sets none.
pub static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let loaded = config::quick("127.0.0.1:0", "127.0.0.1:1", None).expect("a configuration");
    loaded.config.cache.rules
});

/// A moment in 2026.
pub const NOW: WallTime = WallTime::from_unix_secs(1_795_000_000);

/// Each line of `data` as a field `name`, as far as it can be a field's value; no more of them than a message may have.
pub fn fields(name: HeaderName, data: &[u8]) -> HeaderMap {
    let values = data.split(|byte| *byte == b'\n').take(64);
    values
        .filter_map(|line| Some((name.clone(), HeaderValue::from_bytes(line).ok()?)))
        .collect::<Vec<_>>()
        .into_iter()
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

/// Parts `data` at the first zero byte.
pub fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
