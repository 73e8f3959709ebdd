//! Medians and spreads of a few rounds. Pure.

/// A spread above this, and the machine was too noisy to conclude anything.
pub(crate) const SPREAD_MAX: f64 = 0.10;
/// So is a subject's core of which others took more than this.
pub(crate) const FOREIGN_MAX: f64 = 0.05;

/// What the rounds of one number come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) last: f64,
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
    /// (max − min) / median.
    pub(crate) spread: f64,
}

/// Median and spread; `None` without values.
pub(crate) fn summarize(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
    let mut values: Vec<f64> = values.into_iter().collect();
    let last = *values.last()?;
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let upper = values[values.len() / 2];
    let lower = values[(values.len() - 1) / 2];
    let median = f64::midpoint(lower, upper);
    let spread = if median > 0.0 { (max - min) / median } else { 0.0 };
    Some(Summary {
        last,
        least: min,
        median,
        most: max,
        spread,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        for (values, median, spread) in [
            (vec![3.0, 1.0, 2.0], 2.0, 1.0),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5, 1.2),
            (vec![5.0], 5.0, 0.0),
            (vec![0.0, 0.0], 0.0, 0.0),
        ] {
            let summary = summarize(values).unwrap();
            assert_eq!((summary.median, summary.spread), (median, spread));
        }
        assert_eq!(summarize([]), None);
    }
}
