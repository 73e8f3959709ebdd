//! Weighted lists: Accept-Encoding and Accept-Language (RFC 9110 §12.4.2, §12.5.3, §12.5.4).

use http::HeaderValue;

use super::list;

/// One member of a weighted list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weighted<'a> {
    /// The coding, or language range, as sent.
    pub name: &'a [u8],
    /// Its weight in thousandths.
    pub weight: u16,
}

/// Members that are put in order; a longer list is compared as it was sent.
const MEMBERS_MAX: usize = 32;

/// The members of all lines in an order of their own, so that lists that mean the same are the same.
#[derive(Clone, Copy, Debug)]
pub struct Sorted<'a> {
    members: [Weighted<'a>; MEMBERS_MAX],
    count: usize,
}

impl<'a> Sorted<'a> {
    /// `None` when a member is malformed or there are too many.
    pub fn of(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let mut sorted = Self {
            members: [Weighted::default(); MEMBERS_MAX],
            count: 0,
        };
        for member in lines.flat_map(|line| list::members(line.as_bytes())) {
            *sorted.members.get_mut(sorted.count)? = read(member)?;
            sorted.count += 1;
        }
        sorted.members[..sorted.count].sort_unstable_by(|one, other| {
            let names = lower(one.name).cmp(lower(other.name));
            names.then(one.weight.cmp(&other.weight))
        });
        Some(sorted)
    }

    /// The members in order.
    pub fn members(&self) -> &[Weighted<'a>] {
        &self.members[..self.count]
    }
}

/// The member with the highest weight, if there is only one such and it is acceptable at all.
pub fn best<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a [u8]> {
    let mut best: Option<Weighted<'a>> = None;
    let mut alone = true;
    for member in lines.flat_map(|line| list::members(line.as_bytes())) {
        let member = read(member)?;
        match best.map_or(std::cmp::Ordering::Greater, |best| member.weight.cmp(&best.weight)) {
            std::cmp::Ordering::Greater => (best, alone) = (Some(member), true),
            std::cmp::Ordering::Equal => alone = false,
            std::cmp::Ordering::Less => {}
        }
    }
    best.filter(|best| alone && best.weight > 0).map(|best| best.name)
}

/// Reads `name` or `name;q=0.5`; `None` when there is any other parameter.
pub fn read(member: &[u8]) -> Option<Weighted<'_>> {
    let Some(semicolon) = member.iter().position(|byte| *byte == b';') else {
        return Some(Weighted {
            name: member,
            weight: 1000,
        });
    };
    let parameter = list::trim(&member[semicolon + 1..]);
    let [b'q' | b'Q', b'=', value @ ..] = parameter else {
        return None;
    };
    Some(Weighted {
        name: list::trim(&member[..semicolon]),
        weight: thousandths(value)?,
    })
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, worth) in fraction.iter().zip([100, 10, 1]) {
        weight += digit.is_ascii_digit().then(|| u16::from(digit - b'0') * worth)?;
    }
    (weight <= 1000).then_some(weight)
}

fn lower(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_in_thousandths() {
        for (text, expected) in [
            ("gzip", Some(("gzip", 1000))),
            ("gzip;q=1", Some(("gzip", 1000))),
            ("gzip;q=1.000", Some(("gzip", 1000))),
            ("gzip ; Q=0.5", Some(("gzip", 500))),
            ("gzip;q=0.125", Some(("gzip", 125))),
            ("gzip;q=0", Some(("gzip", 0))),
            ("gzip;q=0.", Some(("gzip", 0))),
            ("gzip;q=1.001", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=.5", None),
            ("gzip;q=", None),
            ("gzip;level=1", None),
            ("gzip;q=1;level=1", None),
        ] {
            let found = read(text.as_bytes()).map(|found| (std::str::from_utf8(found.name).unwrap(), found.weight));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_best_member_is_the_only_one_with_the_highest_weight() {
        for (text, expected) in [
            ("fr;q=0.5, de;q=1.0", Some("de")),
            ("de", Some("de")),
            ("de, en", None),
            ("de;q=0.8, en;q=0.8, fr;q=0.9", Some("fr")),
            ("de;q=0", None),
            ("", None),
            ("de;x=1", None),
        ] {
            let line = HeaderValue::from_static(text);
            let found = best(std::iter::once(&line)).map(|found| std::str::from_utf8(found).unwrap());
            assert_eq!(found, expected, "{text}");
        }
    }
}
