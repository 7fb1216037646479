//! Medians and their intervals.

use serde::{Deserialize, Serialize};

/// The median of some runs, with an interval that holds the true median with a probability of at least 95 %, or, of fewer
/// than six runs, the range of all.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Summary {
    /// Of values, of which there is at least one. The interval comes from order statistics, so that nothing is supposed about
    /// the distribution.
    pub fn new(values: &[f64]) -> Summary {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        // The probability that at most `k` of `n` values lie below the median, from k = 0 on.
        let (mut below, mut term, mut k) = (0.0, 0.5_f64.powi(n as i32), 0);
        while k + 1 < n && below + term <= 0.025 {
            below += term;
            term *= (n - k) as f64 / (k + 1) as f64;
            k += 1;
        }
        let cut = k.saturating_sub(1);
        Summary { median: median(&sorted), low: sorted[cut], high: sorted[n - 1 - cut] }
    }
}

/// The middle of some values, or the mean of the two there; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The geometric mean of positive values; NaN of none.
pub fn geomean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// A time for people.
pub fn seconds(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0} s"),
        value if value >= 1.0 => format!("{value:.2} s"),
        value if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
        value => format!("{:.2} us", value * 1e6),
    }
}

/// A size for people.
pub fn mebibytes(value: f64) -> String {
    format!("{:.1} MiB", value / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Ranks of the 95 % interval of a median, as tables of order statistics have them.
        for (n, low, high) in
            [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (12, 3, 10), (20, 6, 15), (30, 10, 21)]
        {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            let found = Summary::new(&values);
            assert_eq!((found.low, found.high), (f64::from(low), f64::from(high)), "of {n}");
        }
        assert_eq!(Summary::new(&[3.0, 1.0, 2.0, 10.0]).median, 2.5);
    }

    #[test]
    fn geometric_means() {
        assert!((geomean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
        assert!(geomean(&[]).is_nan());
    }
}
