//! What SRV records say: which servers a service has, and in which order they are asked (RFC 2782). Pure.
//!
//! Priorities become groups (see `standing`), weights are weights. [`berths`] says which place of the backend each server
//! gets, so that one that stays keeps its connections. Looking up is `dns`'s, what becomes of it `services`'s.

use std::cmp::Reverse;

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// The name of a host, without a dot at its end; empty for ".".
    pub(super) target: String,
}

/// One server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) host: String,
    pub(super) port: u16,
    /// 1 or more.
    pub(super) weight: u32,
    /// 0 for the priority that is asked first.
    pub(super) group: u8,
}

impl Member {
    /// What it is called in logs, metrics and health, and what consistent hashing hashes: as a name with its port.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The servers that these records stand for, those to be asked first first; and how many there are beyond `max`.
///
/// "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782): such a record is no
/// server, and neither is one with port 0.
pub(super) fn members(mut records: Vec<Record>, max: usize) -> (Vec<Member>, usize) {
    records.retain(|record| !record.target.is_empty() && record.port != 0);
    // "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach" (RFC 2782).
    records.sort_by(|a, b| {
        let rank = |record: &Record| (record.priority, Reverse(record.weight));
        (rank(a), &a.target, a.port).cmp(&(rank(b), &b.target, b.port))
    });
    let mut members: Vec<Member> = Vec::new();
    let (mut group, mut priority) = (0_u8, None);
    for record in records {
        let is_known = |member: &Member| member.host == record.target && member.port == record.port;
        if members.iter().any(is_known) {
            continue;
        }
        if priority.is_some_and(|last| last != record.priority) {
            group = group.saturating_add(1);
        }
        priority = Some(record.priority);
        members.push(Member {
            host: record.target,
            port: record.port,
            // "In the presence of records containing weights greater than 0, records with weight 0 should have a very
            // small chance of being selected" (RFC 2782): that of its algorithm, one in the sum of the others and one.
            weight: u32::from(record.weight).max(1),
            group,
        });
    }
    let left_out = members.len().saturating_sub(max);
    members.truncate(max);
    (members, left_out)
}

/// A place of the backend that is kept for servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Berth {
    /// Whose it is, or was last; empty where it was nobody's.
    pub(super) name: String,
    /// Nothing runs on it, so that it may be somebody else's.
    pub(super) is_idle: bool,
}

/// The berth that each of these servers gets: its own where it has or had one, else one that nobody uses and that was
/// nobody's, else one that is nobody's any more. `None` where there is none now.
pub(super) fn berths(berths: &[Berth], wanted: &[String]) -> Vec<Option<usize>> {
    let own = |name: &String| berths.iter().position(|berth| berth.name == *name);
    let mut given: Vec<Option<usize>> = wanted.iter().map(own).collect();
    let mut free: Vec<usize> = (0..berths.len())
        .filter(|berth| berths[*berth].is_idle && !given.contains(&Some(*berth)))
        .collect();
    free.sort_by_key(|berth| (Reverse(berths[*berth].name.is_empty()), *berth));
    let mut free = free.into_iter();
    for berth in given.iter_mut().filter(|berth| berth.is_none()) {
        *berth = free.next();
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `priority weight port target`, as in a zone file.
    fn records(lines: &[&str]) -> Vec<Record> {
        let record = |line: &&str| {
            let parts: Vec<&str> = line.split(' ').collect();
            Record {
                priority: parts[0].parse().unwrap(),
                weight: parts[1].parse().unwrap(),
                port: parts[2].parse().unwrap(),
                target: parts[3].trim_end_matches('.').to_owned(),
            }
        };
        lines.iter().map(record).collect()
    }

    /// `name group weight` of each.
    fn shown(lines: &[&str], max: usize) -> (Vec<String>, usize) {
        let (members, left_out) = members(records(lines), max);
        let shown = members
            .iter()
            .map(|member| format!("{} {} {}", member.name(), member.group, member.weight));
        (shown.collect(), left_out)
    }

    #[test]
    fn priorities_are_groups_and_weights_are_weights() {
        let zone = ["20 5 80 far", "10 0 81 a", "10 60 80 b", "30 0 80 last", "10 20 80 a"];
        let expected = ["b:80 0 60", "a:80 0 20", "a:81 0 1", "far:80 1 5", "last:80 2 1"];
        assert_eq!(shown(&zone, 9), (expected.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn a_dot_and_port_zero_are_no_servers_and_a_server_counts_once() {
        assert_eq!(shown(&["0 0 0 ."], 9), (vec![], 0));
        assert_eq!(shown(&["0 1 80 ."], 9), (vec![], 0));
        assert_eq!(
            shown(&["5 1 80 a", "1 0 0 b", "7 1 80 a"], 9),
            (vec!["a:80 0 1".to_owned()], 0),
            "the better priority, and no gap before it"
        );
    }

    #[test]
    fn of_too_many_those_that_are_asked_last_are_left_out() {
        let zone = ["2 9 80 d", "1 1 80 b", "1 2 80 a", "1 1 80 c"];
        let (members, left_out) = shown(&zone, 2);
        assert_eq!((members.join(" "), left_out), ("a:80 0 2 b:80 0 1".to_owned(), 2));
    }

    #[test]
    fn who_stays_keeps_the_seat_and_who_comes_gets_one_that_is_free() {
        let berth = |text: &str| Berth {
            name: text.trim_end_matches('*').to_owned(),
            is_idle: !text.ends_with('*'),
        };
        for (there, wanted, expected) in [
            (vec!["", ""], vec!["a", "b"], vec![Some(0), Some(1)]),
            (
                vec!["a*", "b", ""],
                vec!["c", "b", "a"],
                vec![Some(2), Some(1), Some(0)],
            ),
            (vec!["a", "b", ""], vec!["c", "d"], vec![Some(2), Some(0)]),
            (vec!["a*", "b"], vec!["c", "d"], vec![Some(1), None]),
            (vec!["a*", "b*"], vec!["b", "c"], vec![Some(1), None]),
        ] {
            let there: Vec<Berth> = there.into_iter().map(berth).collect();
            let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
            assert_eq!(berths(&there, &wanted), expected, "{there:?} {wanted:?}");
        }
    }
}
