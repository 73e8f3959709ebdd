//! How old a response is (RFC 9111 §4.2.3, §5.1).

use std::time::Duration;

use common::time::WallTime;
use http::{HeaderMap, header};

use super::list;

/// When an exchange with the origin began and when its response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// "The value of the clock at the time of the request that resulted in the stored response." (§4.2.3)
    pub request: WallTime,
    /// "The value of the clock at the time the response was received." (§4.2.3)
    pub response: WallTime,
}

impl Times {
    /// Of a response that came at `response`, `took` after its own request was sent: a request before it that failed, and
    /// the wait for a connection, make it no older.
    pub fn of(response: WallTime, took: Duration) -> Self {
        Self {
            request: response.minus(took),
            response,
        }
    }
}

/// The Age field's value in seconds; 0 when it is absent or nonsense.
pub fn age_value(fields: &HeaderMap) -> Duration {
    // "a cache encountering a message with a list-based Age field value SHOULD use the first member of the field value,
    // discarding subsequent ones. If the field value (after discarding additional members, as per above) is invalid
    // (e.g., it contains something other than a non-negative integer), a cache SHOULD ignore the field." (§5.1)
    let first = fields
        .get_all(header::AGE)
        .iter()
        .find_map(|line| list::members(line.as_bytes()).next());
    let seconds = first.and_then(list::delta_seconds).unwrap_or_default();
    Duration::from_secs(u64::from(seconds))
}

/// The age of a response at the time it was received. `date` is nothing when Date does not count.
pub fn corrected_initial_age(age_value: Duration, date: Option<WallTime>, times: Times) -> Duration {
    // "apparent_age = max(0, response_time - date_value);" (§4.2.3) in whole seconds, since Date has no finer ones.
    let apparent_age = date.map_or(0, |date| times.response.unix_secs().saturating_sub(date.unix_secs()));
    // "response_delay = response_time - request_time; corrected_age_value = age_value + response_delay;" (§4.2.3)
    let response_delay = times.response.saturating_since(times.request);
    let corrected_age_value = age_value.saturating_add(response_delay);
    // "corrected_initial_age can be calculated more conservatively as corrected_initial_age = max(apparent_age,
    // corrected_age_value);" (§4.2.3)
    corrected_age_value.max(Duration::from_secs(apparent_age))
}

/// The age now of a response that was received at `response_time`.
pub fn current_age(initial: Duration, response_time: WallTime, now: WallTime) -> Duration {
    // "resident_time = now - response_time; current_age = corrected_initial_age + resident_time;" (§4.2.3)
    initial.saturating_add(now.saturating_since(response_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_the_first_member_of_the_first_line_or_nothing() {
        for (lines, expected) in [
            (&[][..], 0),
            (&["30"], 30),
            (&["0030"], 30),
            (&["7200, 0"], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["3600", "3600"], 3600),
            (&["", ", 5"], 5),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&["7200;foo=bar"], 0),
            (&["7200;foo=111"], 0),
            (&["\"7200\""], 0),
            (&["abc, 7200"], 0),
            (&["2147483647"], 2_147_483_647),
            (&["2147483648"], 2_147_483_648),
            (&["2147483649"], 2_147_483_648),
            (&["99999999999999999999"], 2_147_483_648),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(header::AGE, line.parse().unwrap());
            }
            assert_eq!(age_value(&fields), Duration::from_secs(expected), "{lines:?}");
        }
    }

    #[test]
    fn a_response_is_as_old_as_the_exchange_that_yielded_it() {
        let at = WallTime::from_unix_secs;
        for (took, expected) in [(0, 0), (3, 3), (2_000, 1000)] {
            let times = Times::of(at(1000), Duration::from_secs(took));
            let found = corrected_initial_age(Duration::ZERO, Some(at(1000)), times);
            assert_eq!(found, Duration::from_secs(expected), "{took}");
        }
    }

    #[test]
    fn the_initial_age_is_the_larger_of_what_date_and_age_say() {
        let at = WallTime::from_unix_secs;
        let times = Times {
            request: at(1000),
            response: at(1003),
        };
        for (age, date, expected) in [
            (0, Some(1003), 3), // the delay alone
            (0, Some(1000), 3), // Date as old as the delay
            (0, Some(990), 13), // Date older
            (0, Some(2000), 3), // a fast clock does not make it younger
            (30, Some(1003), 33),
            (30, Some(900), 103),
            (30, None, 33),
            (0, None, 3),
        ] {
            let found = corrected_initial_age(Duration::from_secs(age), date.map(at), times);
            assert_eq!(found, Duration::from_secs(expected), "{age} {date:?}");
        }
    }

    #[test]
    fn a_clock_that_went_backwards_makes_nothing_younger_than_it_came() {
        let at = WallTime::from_unix_secs;
        assert_eq!(
            current_age(Duration::from_secs(5), at(100), at(107)),
            Duration::from_secs(12)
        );
        assert_eq!(
            current_age(Duration::from_secs(5), at(100), at(90)),
            Duration::from_secs(5)
        );
        assert_eq!(current_age(Duration::MAX, at(100), at(107)), Duration::MAX);
        let backwards = Times {
            request: at(100),
            response: at(90),
        };
        assert_eq!(
            corrected_initial_age(Duration::ZERO, Some(at(90)), backwards),
            Duration::ZERO
        );
    }
}
