//! `Tidegate-Time-Left`: how many milliseconds the hop before still waits for the response head, so that nobody works on
//! what nobody waits for any more.
//!
//! Set on requests that have a deadline (`deadline` of a backend, or told by the hop before), believed from trusted peers
//! only; see `outgoing`. A private field: RFC 9110 has none for this.

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

use super::field_lines::FieldLines;

/// The field's name.
pub const TIME_LEFT: HeaderName = HeaderName::from_static("tidegate-time-left");

/// Takes out what the hop before said; `None` when it said nothing that can be understood.
pub fn take(fields: &mut HeaderMap) -> Option<Duration> {
    let millis: u32 = fields.remove(&TIME_LEFT)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(u64::from(millis)))
}

/// Writes the line that says it to the next hop.
pub fn push(lines: &mut FieldLines, left: Duration) {
    let millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
    lines.push_number(&TIME_LEFT, u64::from(millis));
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_told_is_understood_and_nonsense_is_not() {
        assert_eq!(take(&mut HeaderMap::new()), None);
        for (left, understood) in [(0, 0), (1, 1), (1500, 1500), (u64::MAX, u64::from(u32::MAX))] {
            let mut lines = FieldLines::default();
            push(&mut lines, Duration::from_millis(left));
            let mut fields = lines.into_map();
            assert_eq!(take(&mut fields), Some(Duration::from_millis(understood)));
            assert!(fields.is_empty());
        }
        for nonsense in ["", "-1", "1.5", "1s", "99999999999"] {
            let mut fields = HeaderMap::new();
            fields.insert(TIME_LEFT, HeaderValue::from_static(nonsense));
            assert_eq!(take(&mut fields), None, "{nonsense:?}");
        }
    }
}
