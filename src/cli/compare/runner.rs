//! Runs contenders in turns.

use super::contenders::Contender;
use super::model::{Case, Cell, Part, Plot, Row, Unit};
use super::suite::Program;
use crate::cli::measure::{self, Run};
use crate::cli::stats::{Summary, median};
use indicatif::ProgressBar;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    Wall,
    /// Most bytes in memory; runs of their own.
    Memory,
    /// The median of the last half of the times that the program itself tells.
    Repeats,
    /// From the last output to the end.
    AfterOutput,
    /// Wall time for each of so many.
    Each(u32),
}

/// The arguments that a program gets from a contender.
type Arguments<'a> = Box<dyn Fn(&Contender) -> Vec<String> + 'a>;

/// A case to be measured.
pub struct Task<'a> {
    pub case: Case,
    pub program: Program,
    /// The file, if it is not the suite's.
    pub file: Option<PathBuf>,
    pub dirs: Vec<(PathBuf, &'static str)>,
    pub arguments: Arguments<'a>,
    pub runs: u32,
    /// How many times as long as the case before it is expected to take, if that is of the same series.
    pub growth: f64,
}

impl<'a> Task<'a> {
    pub fn new(
        case: &str,
        program: Program,
        runs: u32,
        arguments: impl Fn(&Contender) -> Vec<String> + 'a,
    ) -> Task<'a> {
        let case = Case { name: case.to_owned(), series: String::new(), at: 0.0 };
        let arguments = Box::new(arguments);
        Task { case, program, file: None, dirs: Vec::new(), arguments, runs, growth: 1.0 }
    }
}

/// Seconds of a run of which there need be no second one.
const LONG: f64 = 5.0;

pub struct Runner<'a> {
    pub contenders: &'a [Contender],
    pub suite: &'a Path,
    /// After this time a run is ended.
    pub limit: Duration,
    pub progress: ProgressBar,
    /// Why a contender cannot run a program: what the comparison of outputs has shown.
    unfit: HashMap<(String, &'static str), String>,
}

impl<'a> Runner<'a> {
    pub fn new(
        contenders: &'a [Contender],
        suite: &'a Path,
        limit: Duration,
        progress: ProgressBar,
    ) -> Runner<'a> {
        Runner { contenders, suite, limit, progress, unfit: HashMap::new() }
    }

    /// Runs each program with a little work under all, and notes who does not give the output that most give.
    pub fn compare_outputs(&mut self, programs: &[Program]) {
        for program in programs {
            let mut outputs: Vec<(&Contender, Vec<u8>)> = Vec::new();
            for contender in self.contenders {
                self.progress.set_message(format!("outputs: {}, {}", program.name, contender.name));
                match self.run(contender, program, None, &program.small(), &[]) {
                    Ok(run) => outputs.push((contender, run.stdout)),
                    Err(reason) => {
                        self.unfit.insert((contender.name.clone(), program.name), reason);
                    }
                }
                self.progress.inc(1);
            }
            let votes = |output: &[u8]| outputs.iter().filter(|(_, other)| other == output).count();
            let Some((_, agreed)) = outputs.iter().max_by_key(|(_, output)| votes(output)) else {
                continue;
            };
            for (contender, output) in &outputs {
                if output != agreed {
                    let text = String::from_utf8_lossy(output).trim_end().to_owned();
                    let reason = format!("other output: {text:?}");
                    self.unfit.insert((contender.name.clone(), program.name), reason);
                }
            }
        }
    }

    /// One run that ended well, or what was wrong.
    fn run(
        &self,
        contender: &Contender,
        program: &Program,
        file: Option<&Path>,
        arguments: &[String],
        dirs: &[(PathBuf, &str)],
    ) -> Result<Run, String> {
        let built = program.file(self.suite, "wasm");
        let command = contender.command(program, file.unwrap_or(&built), arguments, dirs)?;
        let run = measure::run(command, Some(self.limit))
            .map_err(|error| format!("does not start: {error}"))?;
        if run.timed_out {
            return Err(format!("took more than {} s", self.limit.as_secs()));
        }
        if run.status.code() != Some(program.exit_code()) {
            let text = String::from_utf8_lossy(&run.stderr);
            let last = text.lines().rfind(|line| !line.starts_with("repeat ")).unwrap_or_default();
            let last: String = last.chars().take(160).collect();
            return Err(format!("failed ({}): {last}", run.status));
        }
        Ok(run)
    }

    /// Measures all tasks under these contenders, the runs of each task in turns.
    pub fn part(
        &self,
        (id, title, note): (&str, &str, &str),
        (unit, plot): (Unit, Plot),
        measure: Measure,
        wanted: impl Fn(&Contender) -> bool,
        tasks: &[Task],
    ) -> Part {
        let contenders: Vec<&Contender> = self.contenders.iter().filter(|c| wanted(c)).collect();
        let mut rows: Vec<Row> = contenders
            .iter()
            .map(|contender| Row { contender: contender.name.clone(), cells: Vec::new() })
            .collect();
        // Wall time of each contender in the case before, for those that follow in its series.
        let mut before: Vec<Option<f64>> = vec![None; contenders.len()];
        for (number, task) in tasks.iter().enumerate() {
            let follows = number > 0 && tasks[number - 1].case.series == task.case.series;
            let mut cells: Vec<Cell> = vec![Cell::default(); contenders.len()];
            let mut walls: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
            for (index, contender) in contenders.iter().enumerate() {
                let key = (contender.name.clone(), task.program.name);
                cells[index].reason = self.unfit.get(&key).cloned();
                if !follows || cells[index].reason.is_some() {
                    continue;
                }
                let expected = before[index].map(|wall| wall * task.growth);
                match expected {
                    Some(expected) if expected > self.limit.as_secs_f64() => {
                        cells[index].reason =
                            Some(format!("left out: about {expected:.0} s were expected"));
                        before[index] = Some(expected);
                    }
                    _ => {}
                }
            }
            let mut output: Option<Vec<u8>> = None;
            for _ in 0..task.runs {
                for (index, contender) in contenders.iter().enumerate() {
                    self.progress.inc(1);
                    let cell = &mut cells[index];
                    let long = walls[index].iter().any(|wall| *wall > LONG);
                    if cell.reason.is_some() || long {
                        continue;
                    }
                    self.progress
                        .set_message(format!("{id}: {}, {}", task.case.name, contender.name));
                    match self.once(contender, task, measure, &mut output) {
                        Ok((value, wall, cpu)) => {
                            cell.values.push(value);
                            cell.cpu.push(cpu);
                            walls[index].push(wall);
                        }
                        Err(reason) => cell.reason = Some(reason),
                    }
                }
            }
            for (index, mut cell) in cells.into_iter().enumerate() {
                if cell.reason.is_none() {
                    cell.figure = Some(Summary::new(&cell.values));
                    before[index] = Some(median(&walls[index]));
                }
                rows[index].cells.push(cell);
            }
        }
        Part {
            id: id.to_owned(),
            title: title.to_owned(),
            note: note.to_owned(),
            unit,
            plot,
            cases: tasks.iter().map(|task| task.case.clone()).collect(),
            rows,
        }
    }

    /// The figure of one run, its wall time and its processor time.
    fn once(
        &self,
        contender: &Contender,
        task: &Task,
        measure: Measure,
        output: &mut Option<Vec<u8>>,
    ) -> Result<(f64, f64, f64), String> {
        let arguments = (task.arguments)(contender);
        if matches!(measure, Measure::Memory) {
            let built = task.program.file(self.suite, "wasm");
            let file = task.file.as_deref().unwrap_or(&built);
            let command = contender.command(&task.program, file, &arguments, &task.dirs)?;
            let peak = measure::peak_memory(&command).map_err(|error| error.to_string())?;
            return Ok((peak as f64, 0.0, 0.0));
        }
        let run =
            self.run(contender, &task.program, task.file.as_deref(), &arguments, &task.dirs)?;
        let first = output.get_or_insert_with(|| run.stdout.clone());
        if *first != run.stdout {
            let text = String::from_utf8_lossy(&run.stdout);
            return Err(format!("other output: {:?}", text.trim_end()));
        }
        let (wall, cpu) = (run.wall.as_secs_f64(), run.cpu.as_secs_f64());
        let value = match measure {
            Measure::Wall | Measure::Memory => wall,
            Measure::AfterOutput => run.after_output.as_secs_f64(),
            Measure::Each(count) => wall / f64::from(count),
            Measure::Repeats => {
                let times = repeats(&String::from_utf8_lossy(&run.stderr));
                if times.is_empty() {
                    return Err("told no times".into());
                }
                median(&times[times.len() / 2..]).max(1e-6)
            }
        };
        Ok((value, wall, cpu))
    }
}

/// The times of `repeat N: T us` in seconds.
fn repeats(text: &str) -> Vec<f64> {
    text.lines()
        .filter_map(|line| line.strip_prefix("repeat ")?.split_once(": ")?.1.strip_suffix(" us"))
        .filter_map(|time| Some(time.parse::<f64>().ok()? / 1e6))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_repeats() {
        let text = "repeat 1: 2000 us\nsomething else\nrepeat 2: 500000 us\nrepeat 3: x us\n";
        assert_eq!(repeats(text), [0.002, 0.5]);
    }
}
