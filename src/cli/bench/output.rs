//! The forms in which a benchmark is shown.

use super::{Figures, Report};
use crate::cli::stats::{mebibytes, seconds};
use std::fmt::Write;

pub fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report)
        .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
        + "\n"
}

/// A line for each run.
pub fn csv(report: &Report) -> String {
    let mut text = String::from(
        "contender,run,wall_seconds,cpu_seconds,compile_seconds,peak_memory_bytes,class,steady_seconds,warm_up_seconds\n",
    );
    for figures in &report.contenders {
        for (number, run) in figures.runs.iter().enumerate() {
            let compile = run.compile.map(|seconds| seconds.to_string()).unwrap_or_default();
            let steady = run.steady.as_ref().map_or(",,".into(), |steady| {
                format!("{},{},{}", steady.class, steady.seconds, steady.warm_up_seconds)
            });
            let _ = writeln!(
                text,
                "{},{},{},{},{compile},{},{steady}",
                figures.contender,
                number + 1,
                run.wall,
                run.cpu,
                run.peak_memory_bytes
            );
        }
    }
    text
}

pub fn table(report: &Report) -> String {
    let mut text = report.program.clone();
    for argument in &report.arguments {
        let _ = write!(text, " {argument}");
    }
    let runs = report.contenders.first().map_or(0, |first| first.runs.len());
    let _ = writeln!(
        text,
        "\nmedians of {runs} runs of each, in turns, on {} processors; the interval of the wall time holds the true median with 95 %{}\n",
        report.processors,
        if runs < 6 { " only from 6 runs on" } else { "" }
    );
    let _ = writeln!(
        text,
        "{:<14} {:>10} {:>23} {:>7} {:>10} {:>10} {:>11}",
        "", "wall", "interval", "ratio", "cpu", "compile", "peak memory"
    );
    for Figures { contender, wall, cpu, compile, peak_memory_bytes, ratio, same_output, .. } in
        &report.contenders
    {
        let _ = writeln!(
            text,
            "{contender:<14} {:>10} {:>23} {ratio:>7.2} {:>10} {:>10} {:>11}{}",
            seconds(wall.median),
            format!("{} .. {}", seconds(wall.low), seconds(wall.high)),
            seconds(cpu.median),
            compile.map_or("-".into(), |compile| seconds(compile.median)),
            mebibytes(peak_memory_bytes.median),
            if *same_output { "" } else { "  other output" }
        );
    }
    let Some(function) = &report.invoke else { return text };
    let _ = writeln!(
        text,
        "\niterations of {function}\n{:<14} {:>12} {:>12} {:>12}  class (runs)",
        "", "steady state", "warm-up", "to 90 %"
    );
    for Figures { contender, iterations, .. } in &report.contenders {
        if let Some(iterations) = iterations {
            let classes =
                iterations.classes.iter().map(|(class, runs)| format!("{class} ({runs})"));
            let _ = writeln!(
                text,
                "{contender:<14} {:>12} {:>12} {:>12}  {}",
                seconds(iterations.steady.median),
                seconds(iterations.warm_up.median),
                seconds(iterations.to_90_percent.median),
                classes.collect::<Vec<_>>().join(", ")
            );
        }
    }
    text
}

pub fn html(report: &Report) -> Result<String, serde_json::Error> {
    let body = include_str!("page.html");
    let script = concat!(include_str!("../charts.js"), include_str!("script.js"));
    updraft::internals::page("Benchmark - Updraft", body, report, script)
}
