//! A comparison as text: tables in Markdown, for docs/benchmarks.md and the terminal.

use super::model::{Part, Report, Unit};
use super::targets::{self, Loss, Target};
use crate::cli::stats::{mebibytes, seconds};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the page gets: the report, and what follows from it.
#[derive(Serialize)]
pub struct Shown<'a> {
    report: &'a Report,
    date: String,
    targets: Vec<Target>,
    losses: Vec<Loss>,
    /// The geometric means of each part, in the order of its rows.
    ratios: BTreeMap<&'a str, Vec<Option<f64>>>,
}

impl<'a> Shown<'a> {
    pub fn new(report: &'a Report) -> Shown<'a> {
        let ratios = report.parts.iter().map(|part| (part.id.as_str(), ratios(part))).collect();
        Shown {
            report,
            date: date(report.made),
            targets: targets::targets(report),
            losses: targets::losses(report),
            ratios,
        }
    }
}

/// How many times the first row's figures each row's are, by the geometric mean of the cases that both have.
fn ratios(part: &Part) -> Vec<Option<f64>> {
    let Some(base) = part.rows.first() else { return Vec::new() };
    let base = &base.contender;
    let rows = part.rows.iter();
    rows.map(|row| part.ratio(&row.contender, base, |_| true).map(|(ratio, _)| ratio)).collect()
}

/// The day of a time since 1970 (the proleptic Gregorian calendar; after Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms").
fn date(made: u64) -> String {
    let days = made / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => seconds(value),
        Unit::Bytes => mebibytes(value),
    }
}

pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let _ = writeln!(
        text,
        "Made by `updraft compare {}` on {}: {}, {} processors, {:.0} GiB; {}.\n",
        report.flags.join(" "),
        date(report.made),
        machine.processor,
        machine.processors,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.system
    );
    text.push_str("| contender | version |\n|---|---|\n");
    for engine in &report.contenders {
        let _ = writeln!(text, "| {} | {} |", engine.name, engine.version.replace('|', "/"));
    }
    for (name, reason) in &report.left_out {
        let _ = writeln!(text, "| {name} | left out: {} |", reason.replace('|', "/"));
    }

    let targets = targets::targets(report);
    text.push_str("\n### Targets\n\n| target | measured | |\n|---|---|---|\n");
    for Target { what, measured, reached } in &targets {
        let mark = match reached {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "not measured",
        };
        let _ = writeln!(text, "| {what} | {} | {mark} |", measured.as_deref().unwrap_or("-"));
    }

    let losses = targets::losses(report);
    text.push_str("\n### Cases that Updraft loses\n\n");
    if losses.is_empty() {
        text.push_str("None of those measured.\n");
    } else {
        text.push_str(
            "| what | case | Updraft | best peer | times as much |\n|---|---|---|---|---|\n",
        );
        for Loss { part, case, ours, best, ratio } in &losses {
            let ours = ours.trim_start_matches("updraft ");
            let _ = writeln!(text, "| {part} | {case} | {ours} | {best} | {ratio:.2} |");
        }
    }
    for part in &report.parts {
        render_part(&mut text, part);
    }
    text
}

fn render_part(text: &mut String, part: &Part) {
    let _ = writeln!(text, "\n### {}\n\n{}\n", part.title, part.note);
    let runs = |row: &super::model::Row| row.cells.iter().map(|cell| cell.values.len()).max();
    let runs = part.rows.iter().filter_map(runs).max().unwrap_or(0);
    let _ = writeln!(text, "Medians of up to {runs} runs, in turns.\n");
    text.push_str("| |");
    for row in &part.rows {
        let _ = write!(text, " {} |", row.contender);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(part.rows.len()));
    text.push('\n');
    for (index, case) in part.cases.iter().enumerate() {
        let best = part
            .rows
            .iter()
            .filter(|row| row.contender != "native")
            .filter_map(|row| row.cells[index].median())
            .min_by(f64::total_cmp);
        let _ = write!(text, "| {} |", case.name);
        for row in &part.rows {
            let cell = match row.cells[index].median() {
                Some(median) if Some(median) == best => format!("**{}**", value(part.unit, median)),
                Some(median) => value(part.unit, median),
                None => "-".into(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    if part.cases.len() > 1 {
        let _ = write!(
            text,
            "| geometric mean, {} = 1 |",
            part.rows.first().map_or("", |r| &r.contender)
        );
        for ratio in ratios(part) {
            let _ = write!(text, " {} |", ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")));
        }
        text.push('\n');
    }
    // Reasons, each once.
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for row in &part.rows {
        for (cell, case) in row.cells.iter().zip(&part.cases) {
            if let Some(reason) = &cell.reason {
                let key = format!("{}: {reason}", row.contender);
                match reasons.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, cases)) => cases.push(&case.name),
                    None => reasons.push((key, vec![&case.name])),
                }
            }
        }
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    for (reason, cases) in reasons {
        let _ = writeln!(text, "* {} ({})", reason.replace('\n', " "), cases.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days() {
        for (made, day) in
            [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_392_000, "2026-11-23")]
        {
            assert_eq!(date(made), day);
        }
    }
}
