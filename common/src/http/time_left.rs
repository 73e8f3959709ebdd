//! `Tidegate-Time-Left`: how many milliseconds the hop before still waits for the response head, so that nobody works on
//! what nobody waits for any more.
//!
//! Set on requests that have a deadline (`deadline` of a backend, or told by the hop before), believed from trusted peers
//! only; see `outgoing`. A private field: RFC 9110 has none for this.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The field's name.
pub const TIME_LEFT: HeaderName = HeaderName::from_static("tidegate-time-left");

/// What the hop before said; `None` when it said nothing that can be understood.
pub fn told(fields: &HeaderMap) -> Option<Duration> {
    let millis: u32 = fields.get(&TIME_LEFT)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(u64::from(millis)))
}

/// Says it to the next hop, in place of what was said to us.
pub fn tell(fields: &mut HeaderMap, left: Duration) {
    let millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    fields.insert(TIME_LEFT, HeaderValue::from(millis));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nonsense_is_not() {
        let mut fields = HeaderMap::new();
        assert_eq!(told(&fields), None);
        for millis in [0, 1, 1500] {
            tell(&mut fields, Duration::from_millis(millis));
            assert_eq!(told(&fields), Some(Duration::from_millis(millis)));
        }
        tell(&mut fields, Duration::MAX);
        assert_eq!(told(&fields), Some(Duration::from_millis(u64::from(u32::MAX))));
        for nonsense in ["", "-1", "1.5", "1s", "99999999999"] {
            fields.insert(TIME_LEFT, HeaderValue::from_static(nonsense));
            assert_eq!(told(&fields), None, "{nonsense:?}");
        }
    }
}
