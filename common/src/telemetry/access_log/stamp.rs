//! The time of a line, formatted once per second and then reused.

use std::fmt::Write as _;

use super::AccessLogFormat;
use crate::time::WallTime;

/// The last time that was formatted. Belongs to one log, so always to one format.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<u64>,
    text: String,
}

impl Stamp {
    /// This time in UTC: `22/Nov/2026:13:00:00 +0000` or `2026-11-22T13:00:00.123Z` (RFC 3339).
    pub(super) fn text(&mut self, format: AccessLogFormat, at: WallTime) -> &str {
        if self.second != Some(at.unix_secs()) {
            self.second = Some(at.unix_secs());
            self.text.clear();
            let written = write_second(&mut self.text, format, at.unix_secs());
            debug_assert!(written.is_ok(), "writing to a String");
        }
        if format == AccessLogFormat::Json {
            let millis = at.since_epoch().subsec_millis();
            self.text.truncate(RFC3339_SECONDS_BYTES);
            self.text.push('.');
            for digit in [millis / 100, millis / 10 % 10, millis % 10] {
                self.text.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
            self.text.push('Z');
        }
        &self.text
    }
}

fn write_second(text: &mut String, format: AccessLogFormat, second: u64) -> std::fmt::Result {
    let (year, month, day) = civil_date(second / 86_400);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    match format {
        AccessLogFormat::Combined => {
            let month = MONTHS[month - 1];
            write!(
                text,
                "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
            )
        }
        AccessLogFormat::Json => write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
    }
}

/// Year, month (1–12) and day of the month of a day counted from 1970-01-01, by the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last: then a month's length follows from its number.
/// A year past 9999 wraps, to keep four digits.
fn civil_date(days: u64) -> (u64, usize, u64) {
    let days = days % DAYS_PER_10000_YEARS + DAYS_FROM_0000_03_01_TO_1970;
    let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = (era * 400 + year_of_era + u64::from(month <= 2)) % 10_000;
    (year, usize::try_from(month).unwrap_or(1), day_of_month)
}

const DAYS_PER_ERA: u64 = 146_097; // 400 years
const DAYS_PER_10000_YEARS: u64 = 25 * DAYS_PER_ERA;
const DAYS_FROM_0000_03_01_TO_1970: u64 = 719_468;
const RFC3339_SECONDS_BYTES: usize = "2026-11-22T13:00:00".len();
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_utc_and_change_with_every_second_and_millisecond() {
        let (mut combined, mut json) = (Stamp::default(), Stamp::default());
        for (secs, millis, clf, rfc3339) in [
            (0, 0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00.000Z"),
            (
                951_782_399,
                999,
                "28/Feb/2000:23:59:59 +0000",
                "2000-02-28T23:59:59.999Z",
            ),
            (951_782_400, 7, "29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00.007Z"),
            (
                951_782_400,
                80,
                "29/Feb/2000:00:00:00 +0000",
                "2000-02-29T00:00:00.080Z",
            ),
            (951_868_800, 0, "01/Mar/2000:00:00:00 +0000", "2000-03-01T00:00:00.000Z"),
            (784_111_777, 0, "06/Nov/1994:08:49:37 +0000", "1994-11-06T08:49:37.000Z"),
            (
                4_107_542_399,
                0,
                "28/Feb/2100:23:59:59 +0000",
                "2100-02-28T23:59:59.000Z",
            ),
            (
                4_107_542_400,
                0,
                "01/Mar/2100:00:00:00 +0000",
                "2100-03-01T00:00:00.000Z",
            ),
            (
                253_402_300_799,
                0,
                "31/Dec/9999:23:59:59 +0000",
                "9999-12-31T23:59:59.000Z",
            ),
            (
                253_402_300_800,
                0,
                "01/Jan/0000:00:00:00 +0000",
                "0000-01-01T00:00:00.000Z",
            ),
        ] {
            let at = WallTime::from_unix_secs(secs).plus(Duration::from_millis(millis));
            assert_eq!(combined.text(AccessLogFormat::Combined, at), clf);
            assert_eq!(json.text(AccessLogFormat::Json, at), rfc3339);
        }
    }

    #[test]
    fn every_day_of_four_centuries_agrees_with_http_dates() {
        for day in (0..146_097).step_by(7).chain([u64::from(u32::MAX) / 86_400]) {
            let at = WallTime::from_unix_secs(day * 86_400);
            let (year, month, day) = civil_date(day);
            let expected = format!(", {day:02} {} {year:04} 00:00:00 GMT", MONTHS[month - 1]);
            assert!(at.http_date().ends_with(&expected), "{} {expected}", at.http_date());
        }
    }
}
