//! Where Updraft should stand, and where it does: computed from the figures alone.

use super::model::{Part, Report};
use super::suite;
use serde::Serialize;

/// Something to be reached.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    /// What was measured; none if the figures for it are not there.
    pub measured: Option<String>,
    pub reached: Option<bool>,
}

/// A case in which somebody else is faster, or needs less.
#[derive(Debug, Serialize)]
pub struct Loss {
    pub part: String,
    pub case: String,
    /// Which of Updraft's strategies.
    pub ours: String,
    pub best: String,
    /// How many times as long.
    pub ratio: f64,
}

const TIERED: &str = "updraft tiered";
const FULL: &str = "updraft full";
const INTERP: &str = "updraft interp";

/// The strategy that stands for Updraft in a part.
fn ours(part: &Part) -> &'static str {
    if part.id == "steady" { FULL } else { TIERED }
}

/// A difference of less than this is none: runs of the same program differ as much.
const NOISE: f64 = 1.03;

/// All cases that a peer wins, those with the greatest ratios first. Interpreters are compared among themselves as well.
pub fn losses(report: &Report) -> Vec<Loss> {
    let mut losses = Vec::new();
    let interpreters =
        |name: &str| ["wasmi", "wasm3", "iwasm", "iwasm-classic", "iwasm interp"].contains(&name);
    for part in &report.parts {
        let mut compare = |ours: &str, peer: &dyn Fn(&str) -> bool| {
            for case in &part.cases {
                let Some(own) = part.median(ours, &case.name) else { continue };
                let others = part.rows.iter().filter(|row| peer(&row.contender));
                let best = others
                    .filter_map(|row| Some((part.median(&row.contender, &case.name)?, row)))
                    .min_by(|a, b| a.0.total_cmp(&b.0));
                if let Some((best, row)) = best
                    && own > best * NOISE
                {
                    losses.push(Loss {
                        part: part.title.clone(),
                        case: case.name.clone(),
                        ours: ours.to_owned(),
                        best: row.contender.clone(),
                        ratio: own / best,
                    });
                }
            }
        };
        compare(ours(part), &|name| !name.starts_with("updraft") && name != "native");
        if part.id == "steady" {
            compare(INTERP, &interpreters);
        }
    }
    losses.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    losses
}

/// What the project wants to reach, in one interleaved run.
pub fn targets(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |what: String, measured: Option<(String, bool)>| {
        let (measured, reached) = measured.unzip();
        targets.push(Target { what, measured, reached });
    };
    let below = |value: Option<f64>, limit: f64, text: &dyn Fn(f64) -> String| {
        value.map(|value| (text(value), value <= limit))
    };
    let single = |id: &str, case: &str| report.part(id)?.median(TIERED, case);
    let milliseconds = |value: f64| format!("{:.2} ms", value * 1e3);
    add(
        "start of a small program: 2 ms of processor time".into(),
        below(single("startup-cpu", "fib 1"), 0.002, &milliseconds),
    );
    add(
        "its memory: 8 MB".into(),
        below(single("memory", "fib 1"), 8e6, &|bytes| format!("{:.1} MB", bytes / 1e6)),
    );
    add(
        "CPython prints its version within 0.5 s".into(),
        below(single("cpython", "version"), 0.5, &|seconds| format!("{seconds:.2} s")),
    );

    let steady = report.part("steady");
    let times = |contender: &str, base: &str| {
        steady.and_then(|part| part.ratio(contender, base, |_| true)).map(|(ratio, _)| ratio)
    };
    let faster =
        |value: Option<f64>, least: f64| value.map(|value| (format!("{value:.2}"), value >= least));
    add(
        "interpreter: 1.5 times as fast as wasmi (geometric mean)".into(),
        faster(times("wasmi", INTERP), 1.5),
    );
    for peer in ["wasm3", "iwasm"] {
        add(format!("interpreter: ahead of {peer} on each kernel"), ahead(steady, peer));
    }
    for peer in ["wasmtime", "node"] {
        add(format!("full code: ahead of {peer} (geometric mean)"), faster(times(peer, FULL), 1.0));
    }
    for (vectors, limit) in [(false, 1.15), (true, 1.5)] {
        let measured = steady.and_then(|part| {
            let kernel = |name: &str| {
                suite::program(name).is_some_and(|p| p.is_kernel() && p.vectors == vectors)
            };
            part.ratio(FULL, "native", |case| kernel(&case.name))
        });
        let kind = if vectors { "loops that can be vectorised" } else { "scalar kernels" };
        add(
            format!("full code: within {limit} of native code on {kind} (geometric mean)"),
            measured.map(|(ratio, _)| (format!("{ratio:.2}"), ratio <= limit)),
        );
    }

    let worst = report.part("envelope").and_then(worst_of_envelope);
    add(
        "tiered: at each run length at most 1.25 times the best of all strategies and peers".into(),
        worst.map(|(ratio, case)| (format!("{ratio:.2} at worst ({case})"), ratio <= 1.25)),
    );

    let threads = report.part("threads");
    for program in ["lz", "msort"] {
        let sooner = threads.and_then(|part| {
            Some(
                part.median(TIERED, &format!("{program} 1"))?
                    / part.median(TIERED, &format!("{program} 2"))?,
            )
        });
        add(
            format!("{program}: 1.85 times as fast on two threads as on one"),
            faster(sooner, 1.85),
        );
    }
    let total = threads.and_then(|part| part.ratio("wasmtime", TIERED, |_| true));
    add(
        "threads: total time ahead of wasmtime (geometric mean)".into(),
        faster(total.map(|(ratio, _)| ratio), 1.0),
    );
    targets
}

/// The kernel on which a peer's interpreter comes closest to ours, or goes past it.
fn ahead(steady: Option<&Part>, peer: &str) -> Option<(String, bool)> {
    let part = steady?;
    let kernels =
        part.cases.iter().filter(|case| suite::program(&case.name).is_some_and(|p| p.is_kernel()));
    let (ratio, case) = kernels
        .filter_map(|case| {
            let ratio = part.median(peer, &case.name)? / part.median(INTERP, &case.name)?;
            Some((ratio, &case.name))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((format!("{ratio:.2} at worst ({case})"), ratio >= 1.0))
}

fn worst_of_envelope(part: &Part) -> Option<(f64, String)> {
    let worst = part.cases.iter().filter_map(|case| {
        let own = part.median(TIERED, &case.name)?;
        let others = part.rows.iter().filter(|row| row.contender != "native");
        let best = others.filter_map(|row| part.median(&row.contender, &case.name));
        Some((own / best.min_by(f64::total_cmp)?, case.name.clone()))
    });
    worst.max_by(|a, b| a.0.total_cmp(&b.0))
}
