//! What `/metrics` says: one number out of a page in Prometheus' text format.

use crate::client::once;

/// The sum over all series of `name` that carry all of `labels` (such as `outcome="hit"`; empty: every series).
///
/// # Panics
/// When the page has no metric of that name, so that a misspelt one is not taken for 0.
#[track_caller]
pub fn read(admin: &str, name: &str, labels: &str) -> u64 {
    let page = page(admin);
    match sum(&page, name, labels) {
        Some(value) => value,
        None => panic!("no metric {name} in\n{page}"),
    }
}

/// The whole page.
///
/// # Panics
/// When it is not there.
#[track_caller]
pub fn page(admin: &str) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    let response = once(admin, request);
    assert_eq!(response.status, 200, "{response:?}");
    response.text()
}

/// Sums the series of `name` that carry all of `labels`; `None` when the page does not know the name.
pub fn sum(page: &str, name: &str, labels: &str) -> Option<u64> {
    let declared = page.lines().any(|line| line.starts_with(&format!("# TYPE {name} ")));
    let mut total = declared.then_some(0.0);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let (found, its_labels) = series.split_once('{').unwrap_or((series, ""));
        if found == name {
            let matches = labels.split(',').all(|label| its_labels.contains(label));
            let value: f64 = value.parse().unwrap_or(f64::NAN);
            total = Some(total.unwrap_or(0.0) + if matches { value } else { 0.0 });
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts, far below 2^53"
    )]
    total.map(|total| total.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nab 9\n# TYPE c gauge\nd 1.5e1\n";
        for (name, labels, expected) in [
            ("a", "", Some(7)),
            ("a", "x=\"1\"", Some(7)),
            ("a", "x=\"1\",y=\"3\"", Some(4)),
            ("a", "x=\"9\"", Some(0)),
            ("c", "", Some(0)),
            ("d", "", Some(15)),
            ("nothing", "", None),
        ] {
            assert_eq!(sum(page, name, labels), expected, "{name} {labels}");
        }
    }
}
