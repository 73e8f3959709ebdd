//! What the tests of the policy share: a moment, lines with relative dates, exchanges.

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::age::Times;
use super::meta::StoredMeta;
use super::rules::Rules;
use super::store::{Exchange, storable};
use super::target::TargetUri;

/// A moment in September 2026.
pub(crate) const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000);

/// The HTTP date so many seconds from [`NOW`].
pub(crate) fn date(offset: i64) -> String {
    let by = Duration::from_secs(offset.unsigned_abs());
    let at = if offset < 0 { NOW.minus(by) } else { NOW.plus(by) };
    at.http_date()
}

/// A header section; a value such as `@-10` is the date so many seconds from [`NOW`].
pub(crate) fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let relative = value.strip_prefix('@').map(|offset| date(offset.parse().unwrap()));
        let value = relative.unwrap_or_else(|| (*value).to_owned());
        map.append(*name, HeaderValue::try_from(value).unwrap());
    }
    map
}

/// A GET of `https://example.com/a?b` that took no time.
pub(crate) fn exchange<'a>(status: u16, request: &'a HeaderMap, response: &'a HeaderMap) -> Exchange<'a> {
    Exchange {
        method: &Method::GET,
        target: TargetUri::parse("https://example.com/a?b").unwrap(),
        request,
        status: StatusCode::from_u16(status).unwrap(),
        response,
        times: Times {
            request: NOW,
            response: NOW,
        },
    }
}

/// The digest of a storable response received at [`NOW`].
pub(crate) fn stored(status: u16, response: &[(&'static str, &str)]) -> StoredMeta {
    storable(
        &exchange(status, &HeaderMap::new(), &fields(response)),
        &Rules::default(),
    )
    .unwrap()
    .meta
}
