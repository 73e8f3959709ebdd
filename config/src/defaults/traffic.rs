//! The defaults of traffic rules, each with its reason.

use std::time::Duration;

use http::StatusCode;

use super::secs;
use crate::traffic::{Coding, Compression};

/// Not permanent: browsers remember a wrong permanent redirect for as long as they like.
pub(crate) const REDIRECT_STATUS: StatusCode = StatusCode::FOUND;

/// What a short text is, and nothing in it is run by a browser.
pub(crate) const RESPOND_CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Long enough for search engines to wait, short enough for people.
pub(crate) const MAINTENANCE_RETRY_AFTER: Duration = secs(600);

/// What browsers show when they ask for a name and a password.
pub(crate) const REALM: &str = "restricted";

/// What browsers cap it at: two hours.
pub(crate) const CORS_MAX_AGE: Duration = secs(7200);

/// What `compress = true` means.
pub(crate) fn compression() -> Compression {
    Compression {
        // Smallest first, at these levels and on pages; each response is compressed once per coding and sent often.
        codings: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
        // What is text, and not compressed in itself.
        types: [
            "text/*",
            "application/json",
            "application/javascript",
            "application/xml",
            "application/xhtml+xml",
            "application/rss+xml",
            "application/atom+xml",
            "application/manifest+json",
            "application/wasm",
            "image/svg+xml",
            "font/ttf",
            "font/otf",
        ]
        .map(str::to_owned)
        .into(),
        // What fits into one packet anyway gains nothing by being shorter.
        length_min: 1 << 10,
        // Beyond these, time grows faster than size shrinks.
        gzip_level: 6,
        brotli_level: 5,
        zstd_level: 3,
        // At one or two MiB each half a gigabyte at the most.
        streams_max: 256,
    }
}
