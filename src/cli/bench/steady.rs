//! Where a series of iterations has its steady state, if it has one.
//!
//! After E. Barrett et al., "Virtual Machine Warmup Blows Hot and Cold" (OOPSLA 2017): outliers are set aside, the series is cut into
//! segments by change-point analysis (PELT: R. Killick et al., "Optimal Detection of Changepoints With a Linear Computational Cost",
//! 2012; mean and variance, penalty 15 ln n), and what follows from the last segment names the series.

use crate::cli::stats::median;
use serde::Serialize;

/// What a series does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// All segments are alike.
    Flat,
    /// The last segment is the fastest.
    WarmUp,
    /// Some segment before the last one is faster.
    SlowDown,
    /// The last segment is too short to be called steady.
    NoSteadyState,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::Flat => "flat",
            Class::WarmUp => "warm-up",
            Class::SlowDown => "slow-down",
            Class::NoSteadyState => "no steady state",
        })
    }
}

/// What was found out about a series.
#[derive(Debug, Clone, Serialize)]
pub struct Steady {
    pub class: Class,
    /// First iteration of the last stretch of like segments.
    pub from_iteration: usize,
    /// Seconds before it.
    pub warm_up_seconds: f64,
    /// Mean time of an iteration from then on, outliers set aside.
    pub seconds: f64,
    /// Seconds until iterations first took no more than 1/0.9 of that: the time to 90 % of peak performance.
    pub to_90_percent_seconds: f64,
}

/// Part of the iterations that must be like the last ones, for these to be called steady. Barrett et al. want 500 of 2 000.
const STEADY_PART: f64 = 0.25;
/// Segments whose means differ by less than this part are alike, whatever their variance.
const LIKE: f64 = 0.02;
/// Iterations around one that tell whether it is an outlier.
const WINDOW: usize = 200;
/// Iterations whose median, and the first of which, must be fast for 90 % of peak performance to be reached.
const RUN: usize = 3;

#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    mean: f64,
    deviation: f64,
}

/// Classifies a series of times in seconds; none if there are fewer than four.
pub fn classify(times: &[f64]) -> Option<Steady> {
    if times.len() < 4 {
        return None;
    }
    let clean = without_outliers(times);
    let segments = segments(&clean);
    let last = segments.last()?;
    let alike = |a: &Segment, b: &Segment| {
        let least = LIKE * a.mean.max(b.mean);
        (a.mean - b.mean).abs() <= a.deviation.max(b.deviation).max(least)
    };
    let steady = segments.iter().rev().take_while(|segment| alike(segment, last)).last()?;
    let from = steady.start;
    let fastest = segments.iter().min_by(|a, b| a.mean.total_cmp(&b.mean))?;
    let class = if ((times.len() - from) as f64) < STEADY_PART * times.len() as f64 {
        Class::NoSteadyState
    } else if from == 0 {
        Class::Flat
    } else if alike(fastest, last) {
        Class::WarmUp
    } else {
        Class::SlowDown
    };
    let seconds = clean[from..].iter().sum::<f64>() / (clean.len() - from) as f64;
    let fast = |at: &usize| {
        let next = &clean[*at..(*at + RUN).min(clean.len())];
        next[0].max(median(next)) <= seconds / 0.9
    };
    let reached = (0..clean.len()).find(fast).unwrap_or(from);
    Some(Steady {
        class,
        from_iteration: from,
        warm_up_seconds: times[..from].iter().sum(),
        seconds,
        to_90_percent_seconds: times[..reached].iter().sum(),
    })
}

/// The series with the median of its surroundings in place of each outlier: more than three times the range of the middle 80 % away
/// from it.
fn without_outliers(times: &[f64]) -> Vec<f64> {
    let clean = |(at, time): (usize, &f64)| {
        let start = at.saturating_sub(WINDOW / 2).min(times.len().saturating_sub(WINDOW));
        let mut around = times[start..times.len().min(start + WINDOW)].to_vec();
        around.sort_by(f64::total_cmp);
        let part = |part: f64| around[((around.len() - 1) as f64 * part).round() as usize];
        let (middle, range) = (part(0.5), part(0.9) - part(0.1));
        if (time - middle).abs() > 3.0 * range.max(LIKE * middle) { middle } else { *time }
    };
    // The first iterations are what warm-up is about: they may well be far off.
    let kept = times.len() / 10;
    let mut result: Vec<f64> = times.iter().enumerate().map(clean).collect();
    result[..kept].copy_from_slice(&times[..kept]);
    result
}

/// Cuts a series where its mean or variance changes.
fn segments(times: &[f64]) -> Vec<Segment> {
    let n = times.len();
    let mut sums = vec![(0.0, 0.0)];
    for time in times {
        let (sum, squares) = *sums.last().expect("it is not empty");
        sums.push((sum + time, squares + time * time));
    }
    let moments = |start: usize, end: usize| {
        let count = (end - start) as f64;
        let mean = (sums[end].0 - sums[start].0) / count;
        (mean, ((sums[end].1 - sums[start].1) / count - mean * mean).max(0.0))
    };
    // Clocks and machines are never steadier than this.
    let floor = (1e-3 * median(times)).powi(2).max(f64::MIN_POSITIVE);
    let cost = |start: usize, end: usize| {
        (end - start) as f64 * (moments(start, end).1.max(floor).ln() + 1.0)
    };
    const LEAST: usize = 2;
    let penalty = 15.0 * (n as f64).ln();
    // best[end]: the least cost of a cut of times[..end], and where its last segment starts.
    let mut best = vec![(-penalty, 0)];
    let mut candidates = vec![0];
    for end in 1..=n {
        let of = |start: &usize| best[*start].0 + cost(*start, end) + penalty;
        let long_enough = |start: &&usize| end - **start >= LEAST || **start == 0;
        let start = candidates.iter().filter(long_enough).min_by(|a, b| of(a).total_cmp(&of(b)));
        let start = start.copied().unwrap_or(0);
        let least = of(&start);
        // What is worse than the best by more than the penalty never becomes the best again.
        let keep: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|c| end - c < LEAST || best[*c].0 + cost(*c, end) <= least)
            .collect();
        best.push((least, start));
        candidates = keep;
        candidates.push(end);
    }
    let mut cuts = Vec::new();
    let mut end = n;
    while end > 0 {
        let start = best[end].1;
        let (mean, variance) = moments(start, end);
        cuts.push(Segment { start, mean, deviation: variance.sqrt() });
        end = start;
    }
    cuts.reverse();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around these means, with a noise of one part in a hundred.
    fn series(parts: &[(usize, f64)]) -> Vec<f64> {
        let mut state = 7_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) as f64 / f64::from(1_u32 << 31) - 0.5) / 50.0
        };
        let times = |(count, mean): &(usize, f64)| vec![*mean; *count];
        parts.iter().flat_map(times).map(|mean| mean * (1.0 + noise())).collect()
    }

    #[test]
    fn series_are_told_apart() {
        let cases = [
            (series(&[(200, 1.0)]), Class::Flat, 0),
            (series(&[(20, 5.0), (30, 2.0), (150, 1.0)]), Class::WarmUp, 50),
            (series(&[(3, 9.0), (197, 1.0)]), Class::WarmUp, 3),
            (series(&[(60, 1.0), (140, 1.5)]), Class::SlowDown, 60),
            (series(&[(100, 1.0), (80, 2.0), (20, 1.5)]), Class::NoSteadyState, 180),
        ];
        for (times, class, from) in cases {
            let found = classify(&times).expect("there are enough");
            assert_eq!((found.class, found.from_iteration), (class, from), "{found:?}");
            let before: f64 = times[..from].iter().sum();
            assert!((found.warm_up_seconds - before).abs() < 1e-9);
        }
    }

    #[test]
    fn outliers_do_not_cut() {
        let mut times = series(&[(20, 5.0), (180, 1.0)]);
        for at in [77, 120, 199] {
            times[at] = 30.0;
        }
        let found = classify(&times).expect("there are enough");
        assert_eq!((found.class, found.from_iteration), (Class::WarmUp, 20));
        assert!((found.seconds - 1.0).abs() < 0.01);
    }

    #[test]
    fn ninety_percent_of_peak_comes_before_the_steady_state() {
        let times = series(&[(20, 5.0), (40, 1.08), (140, 1.0)]);
        let found = classify(&times).expect("there are enough");
        assert_eq!(found.from_iteration, 60);
        assert!((found.to_90_percent_seconds - 100.0).abs() < 2.0, "{found:?}");
    }

    #[test]
    fn short_and_constant_series_are_no_trouble() {
        assert!(classify(&[1.0; 3]).is_none());
        for times in [vec![1.0; 4], vec![0.0; 50]] {
            assert_eq!(classify(&times).expect("there are enough").class, Class::Flat);
        }
    }
}
