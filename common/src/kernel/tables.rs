//! Text of `/proc/net/netstat`, `snmp` and `snmp6` → names and values.
//!
//! Pure, by column name, never by position: the set and order of columns differ from kernel to kernel (net/ipv4/proc.c).
//! A table whose two lines do not match is dropped as a whole: a truncated line may have cut a number in half.

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// The table: `TcpExt`, `IpExt`, `Tcp`, `Ip`, `Icmp`; empty for snmp6, whose names carry it.
    pub table: &'a str,
    /// The column.
    pub name: &'a str,
    /// Its value as it stands; `Tcp: MaxConn` is -1.
    pub value: i128,
}

/// The columns of `netstat` or `snmp`: a line of names, then a line of values, both with the table's name in front.
pub fn paired(text: &str) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(names) = lines.next() {
        let Some((table, names)) = names.split_once(':') else {
            continue;
        };
        // Only a line of the same table is its values; otherwise the next line begins anew.
        let Some(values) = lines
            .peek()
            .and_then(|line| line.strip_prefix(table)?.strip_prefix(':'))
        else {
            continue;
        };
        let whole = values.ends_with('\n');
        lines.next();
        let count = names.split_ascii_whitespace().count();
        if values.split_ascii_whitespace().count() != count {
            continue;
        }
        let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        // Without its line's end the last number may be cut.
        for (name, value) in pairs.take(if whole { count } else { count.saturating_sub(1) }) {
            if let Ok(value) = value.parse() {
                columns.push(Column { table, name, value });
            }
        }
    }
    columns
}

/// The columns of `snmp6`: one name and one value per line.
pub fn single(text: &str) -> Vec<Column<'_>> {
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (name, value, rest) = (words.next()?, words.next()?, words.next());
            let value = value.parse().ok().filter(|_| rest.is_none())?;
            Some(Column { table: "", name, value })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(columns: &[Column<'_>]) -> Vec<(String, i128)> {
        columns
            .iter()
            .map(|c| (format!("{}.{}", c.table, c.name), c.value))
            .collect()
    }

    #[test]
    fn columns_are_found_by_name_whatever_stands_around_them() {
        let cases: [(&str, &[(&str, i128)]); 9] = [
            ("Tcp: A B\nTcp: 1 2\n", &[("Tcp.A", 1), ("Tcp.B", 2)]),
            (
                "Tcp: B A\nTcp: 1 -1\nUdp: C\nUdp: 3\n",
                &[("Tcp.B", 1), ("Tcp.A", -1), ("Udp.C", 3)],
            ),
            // Truncated: fewer values than names, a number cut at the end, no values at all.
            ("Tcp: A B\nTcp: 1\n", &[]),
            ("Tcp: A B\nTcp: 1 2", &[("Tcp.A", 1)]),
            ("Tcp: A B\n", &[]),
            // A line of another table is not these names' values.
            ("Tcp: A\nUdp: B\nUdp: 7\n", &[("Udp.B", 7)]),
            ("garbage\nTcp: A\nTcp: 5\n\n", &[("Tcp.A", 5)]),
            ("Tcp: A B\nTcp: one 2\n", &[("Tcp.B", 2)]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect();
            assert_eq!(names(&paired(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn snmp6_has_one_name_per_line() {
        let text = "Ip6OutNoRoutes   \t3\nbroken\nIcmp6InDestUnreachs 4\nIp6InReceives 99";
        assert_eq!(
            names(&single(text)),
            [
                (".Ip6OutNoRoutes".to_owned(), 3),
                (".Icmp6InDestUnreachs".to_owned(), 4)
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in "\\PC*", lines in "(Tcp: [A-C ]{0,9}[0-9 ]{0,9}\n?){0,9}") {
            for text in [text.as_str(), lines.as_str()] {
                for column in paired(text).into_iter().chain(single(text)) {
                    proptest::prop_assert!(!column.name.is_empty());
                }
            }
        }
    }
}
