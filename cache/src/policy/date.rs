//! HTTP dates as a cache reads them (RFC 9110 §5.6.7, RFC 9111 §4.2).
//!
//! Strict in form, lenient in case: all three formats, any letter case, no other time zone, no missing digits.
//! A date before 1970 is the epoch: for a cache both mean "long ago".

use common::time::WallTime;

/// Reads an HTTP date; `None` when it is none of the three formats. `now` decides the century of two-digit years.
pub fn parse(value: &[u8], now: WallTime) -> Option<WallTime> {
    // "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date formats."
    // (RFC 9110 §5.6.7)
    match value.iter().position(|byte| *byte == b',') {
        Some(3) => imf_fixdate(value),
        Some(_) => rfc850(value, now),
        None => asctime(value),
    }
}

const DAYS: [[u8; 3]; 7] = [*b"mon", *b"tue", *b"wed", *b"thu", *b"fri", *b"sat", *b"sun"];
const LONG_DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
#[rustfmt::skip]
const MONTHS: [[u8; 3]; 12] = [
    *b"jan", *b"feb", *b"mar", *b"apr", *b"may", *b"jun", *b"jul", *b"aug", *b"sep", *b"oct", *b"nov", *b"dec",
];
/// Days of a year before each month, where February has 28.
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<WallTime> {
    let mut rest = Rest(value);
    rest.short_name(&DAYS)?;
    rest.literal(", ")?;
    let day = rest.digits(2)?;
    rest.literal(" ")?;
    let month = rest.short_name(&MONTHS)?;
    rest.literal(" ")?;
    let year = rest.digits(4)?;
    rest.literal(" ")?;
    let second = rest.time_of_day()?;
    rest.zone()?;
    moment(year, month, day, second)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(value: &[u8], now: WallTime) -> Option<WallTime> {
    let mut rest = Rest(value);
    LONG_DAYS.iter().find_map(|day| rest.literal(day))?;
    rest.literal(", ")?;
    let day = rest.digits(2)?;
    rest.literal("-")?;
    let month = rest.short_name(&MONTHS)?;
    rest.literal("-")?;
    let short_year = rest.digits(2)?;
    rest.literal(" ")?;
    let second = rest.time_of_day()?;
    rest.zone()?;
    // "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST interpret a timestamp
    // that appears to be more than 50 years in the future as representing the most recent year in the past that had
    // the same last two digits." (RFC 9110 §5.6.7)
    let this_year = year_of(now);
    let mut year = this_year - this_year % 100 + short_year;
    if year > this_year + 50 {
        year -= 100;
    }
    moment(year, month, day, second)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(value: &[u8]) -> Option<WallTime> {
    let mut rest = Rest(value);
    rest.short_name(&DAYS)?;
    rest.literal(" ")?;
    let month = rest.short_name(&MONTHS)?;
    rest.literal(" ")?;
    let day = if rest.literal(" ").is_some() {
        rest.digits(1)?
    } else {
        rest.digits(2)?
    };
    rest.literal(" ")?;
    let second = rest.time_of_day()?;
    rest.literal(" ")?;
    let year = rest.digits(4)?;
    rest.0.is_empty().then_some(())?;
    moment(year, month, day, second)
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// "a cache recipient SHOULD match the field value case-insensitively." (RFC 9111 §4.2)
    fn literal(&mut self, text: &str) -> Option<()> {
        let (head, tail) = self.0.split_at_checked(text.len())?;
        head.eq_ignore_ascii_case(text.as_bytes()).then(|| self.0 = tail)
    }

    /// The 1-based number of the name that comes next; `names` are in lower case.
    fn short_name(&mut self, names: &[[u8; 3]]) -> Option<u64> {
        let (head, tail) = self.0.split_first_chunk()?;
        let head = head.map(|byte| byte.to_ascii_lowercase());
        let index = names.iter().position(|name| *name == head)?;
        self.0 = tail;
        u64::try_from(index + 1).ok()
    }

    fn digits(&mut self, count: usize) -> Option<u64> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        head.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
        })
    }

    /// `08:49:37` as seconds; 60 is a leap second.
    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        let second = self.digits(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
    }

    /// "A cache recipient SHOULD consider a date with a zone abbreviation other than "GMT" to be invalid for
    /// calculating expiration." (RFC 9111 §4.2)
    fn zone(&mut self) -> Option<()> {
        self.literal(" GMT")?;
        self.0.is_empty().then_some(())
    }
}

fn moment(year: u64, month: u64, day: u64, second: u64) -> Option<WallTime> {
    if day == 0 || day > days_in(year, month) {
        return None;
    }
    if year < 1970 {
        return Some(WallTime::default());
    }
    let leap_years_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let days_before_year = (year - 1970) * 365 + leap_years_before(year) - leap_years_before(1970);
    let leap_day = u64::from(month > 2 && days_in(year, 2) == 29);
    let days_before_month = DAYS_BEFORE[usize::try_from(month - 1).ok()?] + leap_day;
    let days = days_before_year + days_before_month + day - 1;
    Some(WallTime::from_unix_secs(days * 86_400 + second))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn year_of(now: WallTime) -> u64 {
    // The mean Gregorian year is exact enough to tell a century: an error of a day matters only 50 years away.
    1970 + now.unix_secs() / 31_556_952
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_unix_secs(1_790_000_000); // September 2026

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(
            parse(text.as_bytes(), NOW).map(WallTime::unix_secs),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn all_three_formats_name_the_same_moment() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Wed Nov 16 08:49:37 1994", Some(784_975_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200));
        check("Tue, 19 Jan 2038 14:14:08 GMT", Some(2_147_523_248));
        check("Sun, 21 Nov 2286 04:46:39 GMT", Some(10_000_039_599));
    }

    #[test]
    fn letter_case_does_not_matter() {
        check("THU, 18 Aug 2050 02:01:18 GMT", Some(2_544_400_878));
        check("Thu, 18 AUG 2050 02:01:18 GMT", Some(2_544_400_878));
        check("Thu, 18 Aug 2050 02:01:18 gMT", Some(2_544_400_878));
    }

    #[test]
    fn a_two_digit_year_is_at_most_fifty_years_ahead() {
        check("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878));
        check("Tuesday, 18-Aug-76 02:01:18 GMT", Some(3_364_941_678));
        check("Thursday, 18-Aug-77 02:01:18 GMT", Some(240_717_678));
    }

    #[test]
    fn a_date_before_the_epoch_is_the_epoch() {
        check("Sun, 06 Nov 1904 08:49:37 GMT", Some(0));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "-1",
            "foo",
            "1790000000",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:00:00 GMT",
            "Thu, 30 Feb 2050 02:01:18 GMT",
            "Thu, 00 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
            "Xxx, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:1\u{661} GMT",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn agrees_with_httpdate_on_every_date_that_it_writes() {
        for step in 0..4_000 {
            let at = WallTime::from_unix_secs(step * 1_234_567);
            check(&at.http_date(), Some(at.unix_secs()));
        }
    }
}
