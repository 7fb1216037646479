//! What is measured.

use super::model::{Case, Part, Plot, Unit};
use super::runner::{Measure, Runner, Task};
use super::suite::{self, PROGRAMS, Program};
use std::path::{Path, PathBuf};

/// The parts by the names that `--parts` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Name {
    Startup,
    Memory,
    Steady,
    Envelope,
    Threads,
    Spawn,
    Wait,
    Stop,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Programs of the steady state.
    pub programs: Vec<Program>,
    /// Programs of the envelope.
    pub lengths_of: Vec<Program>,
    /// Work in seconds of native code.
    pub lengths: Vec<f64>,
    /// The longest of them that more than the first program is run with.
    pub longest_of_all: f64,
    /// Runs of short cases; long ones are run less often.
    pub runs: u32,
    /// Times that code which is compiled repeats the work.
    pub repeats: u32,
    /// Threads that are made, and messages that are handed over.
    pub events: u32,
    pub most_threads: usize,
}

impl Extent {
    pub fn new(short: bool, most_threads: usize) -> Extent {
        let named = |names: &[&str]| names.iter().filter_map(|name| suite::program(name)).collect();
        if short {
            Extent {
                programs: named(&[
                    "fib", "sieve", "nbody", "sha256", "saxpy", "btree", "json", "script",
                ]),
                lengths_of: named(&["script"]),
                lengths: vec![0.01, 0.1, 1.0],
                longest_of_all: 1.0,
                runs: 5,
                repeats: 20,
                events: 500,
                most_threads,
            }
        } else {
            Extent {
                programs: PROGRAMS.to_vec(),
                lengths_of: named(&["script", "deflate"]),
                lengths: vec![0.01, 0.1, 1.0, 10.0, 60.0],
                longest_of_all: 1.0,
                runs: 11,
                repeats: 30,
                events: 1000,
                most_threads,
            }
        }
    }

    /// Runs of a case that takes native code so many seconds.
    fn runs_of(&self, seconds: f64) -> u32 {
        let runs = match seconds {
            seconds if seconds < 0.05 => self.runs.min(5),
            seconds if seconds < 0.5 => self.runs.min(3),
            seconds if seconds < 5.0 => self.runs.min(2),
            _ => 1,
        };
        runs.max(1)
    }

    /// The programs whose outputs are to be compared first.
    pub fn all_programs(&self, parts: &[Name]) -> Vec<Program> {
        let mut all: Vec<Program> = Vec::new();
        let mut add = |programs: &[Program]| {
            for program in programs {
                if !all.contains(program) {
                    all.push(*program);
                }
            }
        };
        for part in parts {
            match part {
                Name::Startup => add(&[PROGRAMS[0]]),
                Name::Memory => add(&memory_programs()),
                Name::Steady => add(&self.programs),
                Name::Envelope => add(&self.lengths_of),
                Name::Threads => add(&threaded()),
                Name::Spawn => add(&[suite::SPAWN]),
                Name::Wait => add(&[suite::WAIT]),
                Name::Stop => add(&[suite::STOP]),
            }
        }
        all
    }
}

/// A runtime of CPython: its module and arguments, and the folder of its library.
#[derive(Debug, Clone)]
pub struct Cpython {
    pub module: PathBuf,
    pub library: Option<PathBuf>,
}

impl Cpython {
    /// From a folder that holds `python*.wasm`, and perhaps a folder `lib` or `usr` beside it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(folder: &Path) -> Result<Cpython, String> {
        let unreadable = |error| format!("cannot read {}: {error}", folder.display());
        let mut modules: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("python") && name.ends_with(".wasm") {
                modules.push(path);
            }
        }
        modules.sort();
        let module = modules.pop();
        let module = module.ok_or_else(|| format!("no python*.wasm in {}", folder.display()))?;
        let library =
            ["usr", "lib"].iter().map(|name| folder.join(name)).find(|path| path.is_dir());
        Ok(Cpython { module, library })
    }
}

fn threaded() -> Vec<Program> {
    PROGRAMS.into_iter().filter(|program| program.threads).collect()
}

fn memory_programs() -> Vec<Program> {
    ["fib", "script", "lz"].iter().filter_map(|name| suite::program(name)).collect()
}

fn strings<const N: usize>(arguments: [String; N]) -> Vec<String> {
    arguments.to_vec()
}

/// Measures a part.
pub fn measure(
    part: Name,
    runner: &Runner,
    extent: &Extent,
    cpython: Option<&Cpython>,
) -> Vec<Part> {
    match part {
        Name::Startup => startup(runner, extent, cpython),
        Name::Memory => vec![memory(runner)],
        Name::Steady => vec![steady(runner, extent)],
        Name::Envelope => vec![envelope(runner, extent)],
        Name::Threads => vec![threads(runner, extent)],
        Name::Spawn => vec![spawn(runner, extent)],
        Name::Wait => vec![wait(runner, extent)],
        Name::Stop => vec![stop(runner, extent)],
    }
}

/// A script that imports, computes and prints: about 20 ms of native CPython.
const SCRIPT: &str = "import json, re\n\
    words = [w for w in re.split(r'\\W+', 'the quick brown fox jumps over the lazy dog ' * 200) if w]\n\
    count = {}\n\
    for w in words: count[w] = count.get(w, 0) + 1\n\
    print(json.dumps(count, sort_keys=True), sum(i * i for i in range(50000)))\n";

fn startup(runner: &Runner, extent: &Extent, cpython: Option<&Cpython>) -> Vec<Part> {
    let hello = Task::new("fib 1", PROGRAMS[0], extent.runs * 2, |_| strings(["1".into()]));
    let note = "A program of 32 kB that prints one line.";
    let wall = runner.part(
        ("startup", "Start-up", note),
        (Unit::Seconds, Plot::Bars),
        Measure::Wall,
        |_| true,
        &[hello],
    );
    let mut parts = vec![wall.processor_time("startup-cpu", "Start-up, processor time")];
    parts.insert(0, wall);
    if let Some(cpython) = cpython {
        let task = |case: &str, arguments: Vec<String>| Task {
            file: Some(cpython.module.clone()),
            dirs: cpython.library.iter().map(|folder| (folder.clone(), "/usr")).collect(),
            ..Task::new(case, PROGRAMS[0], 3, move |_| arguments.clone())
        };
        parts.push(runner.part(
            ("cpython", "CPython", "A module of 26 MB. The script imports json and re, splits text, counts words and prints."),
            (Unit::Seconds, Plot::Bars),
            Measure::Wall,
            // Compiling all of it first takes the strategies quick and full minutes.
            |contender| !["native", "updraft quick", "updraft full"].contains(&contender.name.as_str()),
            &[
                task("version", strings(["--version".into()])),
                task("script", strings(["-c".into(), SCRIPT.into()])),
            ],
        ));
    }
    parts
}

fn memory(runner: &Runner) -> Part {
    let tasks: Vec<Task> = memory_programs()
        .into_iter()
        .map(|program| {
            let (case, amount) = match program.name {
                "fib" => ("fib 1".to_owned(), 1),
                name => (name.to_owned(), program.amount),
            };
            Task::new(&case, program, 3, move |contender| {
                // No interpreter needs more for more work.
                let amount = if contender.interprets { amount.div_ceil(5) } else { amount };
                strings([amount.to_string(), "1".into(), "2".into()])
            })
        })
        .collect();
    runner.part(
        ("memory", "Memory", "Most resident memory of the process. lz runs with two threads."),
        (Unit::Bytes, Plot::Bars),
        Measure::Memory,
        |_| true,
        &tasks,
    )
}

fn steady(runner: &Runner, extent: &Extent) -> Part {
    let tasks: Vec<Task> = extent
        .programs
        .iter()
        .map(|program| {
            let amount = program.amount;
            let repeats = extent.repeats;
            let runs = extent.runs.div_ceil(6);
            Task::new(program.name, *program, runs, move |contender| {
                // An interpreter is as fast the second time as ever.
                let times = if contender.interprets { 2 } else { repeats };
                strings([amount.to_string(), times.to_string()])
            })
        })
        .collect();
    runner.part(
        (
            "steady",
            "Steady state",
            "The same work again and again in one process, timed by the program itself: the median of the last half. One thread.",
        ),
        (Unit::Seconds, Plot::Bars),
        Measure::Repeats,
        |_| true,
        &tasks,
    )
}

/// A length as people say it.
fn length_name(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.0} s") }
}

fn envelope(runner: &Runner, extent: &Extent) -> Part {
    let mut tasks = Vec::new();
    for (number, program) in extent.lengths_of.iter().enumerate() {
        let mut shorter = None;
        for &seconds in &extent.lengths {
            if number > 0 && seconds > extent.longest_of_all {
                continue;
            }
            let amount = (f64::from(program.amount) * seconds / 0.025).ceil();
            let case = Case {
                name: format!("{} {}", program.name, length_name(seconds)),
                series: program.name.to_owned(),
                at: seconds,
            };
            let growth = shorter.map_or(1.0, |shorter| seconds / shorter);
            shorter = Some(seconds);
            tasks.push(Task {
                case,
                growth,
                ..Task::new("", *program, extent.runs_of(seconds), move |_| {
                    strings([format!("{amount:.0}")])
                })
            });
        }
    }
    runner.part(
        (
            "envelope",
            "Time against run length",
            "Whole runs, start and end included, with as much work as takes native code about so long.",
        ),
        (Unit::Seconds, Plot::Lines),
        Measure::Wall,
        // Its place is between the interpreter and full code.
        |contender| contender.name != "updraft quick",
        &tasks,
    )
}

/// 1, 2, 4 and so on, and the most.
fn thread_counts(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|c| *c < most).collect();
    counts.push(most);
    counts
}

fn threads(runner: &Runner, extent: &Extent) -> Part {
    let mut tasks = Vec::new();
    for program in threaded() {
        // About a second of native code.
        let amount = program.amount * 40;
        for count in thread_counts(extent.most_threads) {
            let case = Case {
                name: format!("{} {count}", program.name),
                series: program.name.to_owned(),
                at: count as f64,
            };
            tasks.push(Task {
                case,
                ..Task::new("", program, extent.runs.min(3), move |_| {
                    strings([amount.to_string(), "1".into(), count.to_string()])
                })
            });
        }
    }
    runner.part(
        (
            "threads",
            "Threads",
            "Whole runs of the compressor and the merge sort with 1 to N threads, and the work of about a second of native code.",
        ),
        (Unit::Seconds, Plot::Lines),
        Measure::Wall,
        |contender| contender.threads && !contender.interprets,
        &tasks,
    )
}

fn spawn(runner: &Runner, extent: &Extent) -> Part {
    let count = extent.events;
    let task = |at_once: u32| {
        Task::new(&format!("{at_once} at once"), suite::SPAWN, extent.runs.min(3), move |_| {
            strings([count.to_string(), "0".into(), at_once.to_string()])
        })
    };
    runner.part(
        (
            "spawn",
            "Making and joining a thread",
            "Time of a whole run by the number of its threads.",
        ),
        (Unit::Seconds, Plot::Bars),
        Measure::Each(count),
        |contender| contender.threads,
        &[task(1), task(8)],
    )
}

fn wait(runner: &Runner, extent: &Extent) -> Part {
    let count = extent.events * 20;
    let task = Task::new("round trip", suite::WAIT, extent.runs.min(5), move |_| {
        strings([count.to_string()])
    });
    runner.part(
        (
            "wait",
            "Wait and notify",
            "Two threads hand a word over, each way by memory.atomic.wait32 and notify. Time of a whole run by the number of round trips.",
        ),
        (Unit::Seconds, Plot::Bars),
        Measure::Each(count),
        |contender| contender.threads,
        &[task],
    )
}

fn stop(runner: &Runner, extent: &Extent) -> Part {
    let threads = extent.most_threads;
    let task = |what: &'static str, case: &str| {
        Task::new(case, suite::STOP, extent.runs.min(7), move |_| {
            strings([what.into(), threads.to_string()])
        })
    };
    runner.part(
        (
            "stop",
            "Stopping",
            "From the last output before proc_exit to the end of the process, with as many other threads as there are processors.",
        ),
        (Unit::Seconds, Plot::Bars),
        Measure::AfterOutput,
        |contender| contender.threads,
        &[task("spin", "they compute"), task("wait", "they wait")],
    )
}

/// How many runs there will be, for the progress bar: no contender is taken out of a part.
pub fn runs(parts: &[Name], extent: &Extent, contenders: u64) -> u64 {
    let each = |part: &Name| {
        let runs = u64::from(extent.runs);
        match part {
            Name::Startup => runs * 2,
            Name::Memory => 9,
            Name::Steady => extent.programs.len() as u64 * runs.div_ceil(6),
            Name::Envelope => {
                let all = |wanted: &dyn Fn(f64) -> bool| -> u64 {
                    let lengths = extent.lengths.iter().filter(|length| wanted(**length));
                    lengths.map(|length| u64::from(extent.runs_of(*length))).sum()
                };
                let others = (extent.lengths_of.len() as u64).saturating_sub(1);
                all(&|_| true) + others * all(&|length| length <= extent.longest_of_all)
            }
            Name::Threads => 2 * thread_counts(extent.most_threads).len() as u64 * runs.min(3),
            Name::Spawn => 2 * runs.min(3),
            Name::Wait => runs.min(5),
            Name::Stop => 2 * runs.min(7),
        }
    };
    let checks = extent.all_programs(parts).len() as u64;
    contenders * (checks + parts.iter().map(each).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_threads() {
        assert_eq!(thread_counts(1), [1]);
        assert_eq!(thread_counts(2), [1, 2]);
        assert_eq!(thread_counts(6), [1, 2, 4, 6]);
    }
}
