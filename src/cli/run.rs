//! `updraft run`.

use super::record::{Interrupts, ProfileFile, Record, profile_file};
use super::{FAILURE, exit, fail, print_err, print_out};
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use updraft::{
    Config, Engine, Error, Func, LinkError, Linker, Module, Observer, Process, ProcessConfig,
    ProfileConfig, Pthreads, Stopped, Store, Strategy, Val, ValType, WasiCtxBuilder,
};

/// Exit code of a trap: what a shell shows for a program that was ended by SIGABRT.
const TRAPPED: i32 = 134;
/// Exit code of a timeout, as timeout(1) has it.
const TIMED_OUT: i32 = 124;
/// Exit code of a program that a signal has ended, as shells have it: so much more than the signal's number.
pub const INTERRUPTED: i32 = 128;
/// Exit code for too much processor time: what a shell shows for a program that was ended by SIGXCPU.
const OUT_OF_CPU_TIME: i32 = 152;

#[derive(clap::Args)]
pub struct Args {
    /// The program, a .wasm or .wat file, and its arguments (or those of the function, with --invoke): what follows the file is
    /// theirs, flags too
    #[arg(value_names = ["FILE", "ARGS"], required = true, trailing_var_arg = true)]
    program: Vec<OsString>,

    /// Call this exported function instead of _start, and print its results
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,

    /// When to compile: interp, quick, full, tiered or random[:SEED]
    #[arg(long, value_name = "STRATEGY", default_value = "tiered")]
    tier: Strategy,

    /// Most threads that the program may have at once, besides its first [default: 1024; 4 with --pthreads wamr]
    #[arg(long, value_name = "N")]
    max_threads: Option<u32>,

    /// The pthread library that the program may import: off, or wamr for programs built against WAMR's, whose stack in linear memory
    /// is divided among the threads of --max-threads
    #[arg(long, value_name = "LIBRARY", default_value = "off")]
    pthreads: PthreadsArg,

    /// Most bytes that all memories of the program may have together; suffixes K, M, G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    max_memory: Option<u64>,

    /// Most elements that all tables of the program may have together, those of each thread among them
    #[arg(long, value_name = "N")]
    max_table_elements: Option<u64>,

    /// Most instances at once, of which each thread has one
    #[arg(long, value_name = "N")]
    max_instances: Option<u64>,

    /// End the program once all its threads together have taken so many seconds of processor time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_cpu: Option<Duration>,

    /// Bytes of stack for interpreted code, if it is not to be that of --stack-size; suffixes K, M, G
    #[arg(long, value_name = "BYTES", value_parser = value_stack_bytes)]
    value_stack: Option<u64>,

    /// Bytes of stack for each thread, both for interpreted and for compiled code; suffixes K, M, G
    #[arg(long, value_name = "BYTES", default_value = "8M", value_parser = stack_bytes)]
    stack_size: u64,

    /// End the program after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// Threads that compile [default: half the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    compile_threads: Option<u16>,

    /// Print a summary of tiers, compiles and threads at the end, to standard error
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    stats: Option<StatsFormat>,

    /// Write the summary as JSON to a file
    #[arg(long, value_name = "FILE")]
    stats_file: Option<PathBuf>,

    /// Call the function of --invoke so often, and write the time of each call to the file of --stats-file
    #[arg(long, value_name = "N", default_value_t = 1, requires = "invoke", hide = true)]
    iterations: u32,

    /// Write a trace of the tiers and threads, for Perfetto or Chrome's viewer
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Write a page about the run: threads, compiles, tiers, functions
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write a profile of all threads and tiers: a flame graph (.svg), a profile for profiler.firefox.com (.json), or folded stacks
    /// (.folded, .txt). May be repeated
    #[arg(long, value_name = "FILE", value_parser = profile_file)]
    profile: Vec<ProfileFile>,

    /// Samples of each thread in a second
    #[arg(long, value_name = "HZ", default_value_t = 1000, requires = "profile",
        value_parser = clap::value_parser!(u32).range(1..=ProfileConfig::MOST_RATE as i64))]
    profile_rate: u32,

    /// Have the profile count the time, too, in which threads are parked: in waits, in host functions that block, and while they wait for
    /// a compile
    #[arg(long, requires = "profile")]
    profile_waits: bool,

    /// Tell perf the names of compiled functions. map: in /tmp/perf-PID.map. jitdump: with source lines, in jit-PID.dump, for perf inject
    /// --jit
    #[arg(long, value_name = "FORM")]
    perf: Option<PerfForm>,

    /// Tell gdb of compiled functions: names, source lines and frames
    #[arg(long)]
    gdb: bool,

    /// exact: every access traps where the specification says so; relaxed: faster loops, but loads whose value is unused may be dropped,
    /// stores before a trap may be lost, and a plain load in a loop may be read once only
    #[arg(long, value_name = "MODE", default_value = "exact")]
    traps: Traps,

    /// Give all NaNs that arithmetic makes the same bits, on all machines and in all tiers; costs a comparison for each
    #[arg(long)]
    canonicalize_nan: bool,

    /// What becomes of functions that the program imports and nobody defines. refuse: the program does not start; fail: it ends when
    /// it calls one
    #[arg(long, value_name = "WHAT", default_value = "refuse")]
    unknown_imports: UnknownImports,

    /// Give the program a directory, read and write; GUEST is its name there
    #[arg(long, value_name = "HOST[::GUEST]")]
    dir: Vec<String>,

    /// Listen for TCP connections on this address, and give the program the socket: as descriptor 3 and on, after
    /// the directories
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    tcplisten: Vec<String>,

    /// Set an environment variable of the program
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
}

#[derive(Clone, Copy, ValueEnum)]
enum StatsFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PerfForm {
    Map,
    Jitdump,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Traps {
    Exact,
    Relaxed,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UnknownImports {
    Refuse,
    Fail,
}

#[derive(Clone, Copy, ValueEnum)]
enum PthreadsArg {
    Off,
    Wamr,
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| "expected a number of bytes, such as 512K or 64M")?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

/// Stack sizes that threads can be made with.
fn stack_bytes(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 512 << 10;
    const MOST: u64 = 16 << 30;
    match bytes(text)? {
        size @ LEAST..=MOST => Ok(size),
        _ => Err("must be from 512K to 16G".into()),
    }
}

/// Sizes of the interpreter's stack: frames of a few functions at least.
fn value_stack_bytes(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 64 << 10;
    const MOST: u64 = 16 << 30;
    match bytes(text)? {
        size @ LEAST..=MOST => Ok(size),
        _ => Err("must be from 64K to 16G".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "expected seconds, such as 1.5")?;
    Duration::try_from_secs_f64(number).map_err(|e| e.to_string())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() {
        return Err("the name of the variable is empty".into());
    }
    Ok((key.into(), value.into()))
}

fn address(text: &str) -> Result<String, String> {
    if updraft::host::wasi::is_listen_address(text) {
        Ok(text.into())
    } else {
        Err("expected HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080".into())
    }
}

impl Args {
    fn file(&self) -> &Path {
        Path::new(&self.program[0])
    }

    /// Those of the program.
    fn args(&self) -> &[OsString] {
        &self.program[1..]
    }

    /// What is to be recorded.
    pub fn record(&self) -> Record {
        Record::new(&self.stats_file, &self.trace, &self.report, &self.profile, || {
            let mut config = ProfileConfig::default();
            config.rate = self.profile_rate;
            config.waits = self.profile_waits;
            config
        })
    }
}

pub fn main(args: Args, record: Record) -> i32 {
    let interrupts = record.is_wanted().then(Interrupts::catch);
    // The program's first thread gets the stack that was asked for, as all others do.
    let stack = args.stack_size as usize;
    let thread = std::thread::Builder::new()
        .name("wasm-main".into())
        .stack_size(stack)
        // The process ends here: a thread that ends waits for a load of LLVM that it has caused.
        .spawn(move || exit(run(&args, record, interrupts)));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(_) => fail(&"the engine failed; this is a defect of Updraft, please report it"),
        Err(error) => {
            fail(&format!("cannot start a thread with a stack of {stack} bytes: {error}"))
        }
    }
}

fn run(args: &Args, record: Record, interrupts: Option<Interrupts>) -> i32 {
    let recording = match record.begin(args.file()) {
        Ok(recording) => recording,
        Err(error) => return fail(&error),
    };
    if let Err(error) = start_code_logs(args) {
        return fail(&error);
    }
    let engine = Engine::new(Config {
        strategy: args.tier,
        compile_threads: args.compile_threads.map(usize::from),
        exact_traps: args.traps == Traps::Exact,
        canonicalize_nan: args.canonicalize_nan,
        count_calls: recording.counts_calls(),
        value_stack: args.value_stack.unwrap_or(args.stack_size) as usize,
        native_stack: args.stack_size as usize,
        max_memory: args.max_memory.unwrap_or(u64::MAX),
        ..Config::default()
    });
    let module = match super::load(&engine, args.file()) {
        Ok(module) => module,
        Err(error) => return fail(&error),
    };
    let result = prepare(args, &engine, &module);
    let process = match result {
        Ok(process) => process,
        Err(error) => return fail(&error),
    };
    let observer = process.observer();
    if let Some(interrupts) = &interrupts {
        interrupts.end(process.terminator());
    }
    let watch = recording.watch(&observer);
    let mut times = Vec::new();
    let result = match &args.invoke {
        None => process.run(),
        Some(name) => invoke(process, name, args, &mut times),
    };
    drop(watch);
    let code = match (interrupts.and_then(|i| i.came()), &result) {
        (Some(signal), Err(Error::Stopped(Stopped::Terminated))) => {
            print_err(&format!("updraft: the program was ended by signal {signal}\n"));
            INTERRUPTED + signal
        }
        _ => report(result, args),
    };
    if let Some(format) = args.stats {
        print_stats(&observer, format);
    }
    let failed =
        recording.end(&about(args, &engine, &observer, code), || stats_text(&observer, &times));
    for error in &failed {
        fail(error);
    }
    if !failed.is_empty() {
        return FAILURE;
    }
    // The process ends now, and takes all of it along.
    std::mem::forget((engine, module, observer));
    code
}

/// What a trace says of the run as a whole.
fn about(
    args: &Args,
    engine: &Engine,
    observer: &Observer,
    code: i32,
) -> serde_json::Map<String, serde_json::Value> {
    let about = serde_json::json!({
        "program": args.file().display().to_string(),
        "arguments": args.args().iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>(),
        "strategy": engine.config().strategy.to_string(),
        "exit_code": code,
        "stats": serde_json::to_value(observer.stats()).unwrap_or_default(),
    });
    match about {
        serde_json::Value::Object(map) => map,
        _ => unreachable!("an object was made"),
    }
}

/// Begins to tell perf and gdb about machine code.
#[cfg(feature = "llvm")]
fn start_code_logs(args: &Args) -> Result<(), String> {
    use updraft::CodeLog;
    let perf = args.perf.map(|form| match form {
        PerfForm::Map => CodeLog::PerfMap,
        PerfForm::Jitdump => CodeLog::JitDump,
    });
    for log in perf.into_iter().chain(args.gdb.then_some(CodeLog::Gdb)) {
        log.start().map_err(|error| format!("cannot tell perf or gdb about code: {error}"))?;
    }
    Ok(())
}

#[cfg(not(feature = "llvm"))]
fn start_code_logs(args: &Args) -> Result<(), String> {
    if args.perf.is_some() || args.gdb {
        return Err(
            "--perf and --gdb: this build has no compiler, so there is no machine code".into()
        );
    }
    Ok(())
}

/// The program with its host modules.
fn prepare(args: &Args, engine: &Engine, module: &Module) -> Result<Process, String> {
    let mut wasi = WasiCtxBuilder::new().inherit_stdio();
    let name =
        args.file().file_name().map_or("program".into(), |n| n.to_string_lossy().into_owned());
    wasi = wasi.arg(name);
    if args.invoke.is_none() {
        wasi = wasi.args(args.args());
    }
    for (key, value) in &args.env {
        wasi = wasi.env(key, value);
    }
    for dir in &args.dir {
        let (host, guest) = dir.split_once("::").unwrap_or((dir, dir));
        wasi = wasi.preopened_dir(host, guest, false);
    }
    for address in &args.tcplisten {
        wasi = wasi.tcp_listener(address);
    }
    let wasi = wasi.build().map_err(|error| with_sources(&error))?;
    for (fd, address) in wasi.listeners() {
        tracing::info!(%address, fd, "listening (--tcplisten)");
    }
    let mut linker = Linker::new(engine);
    updraft::add_wasi(&mut linker, wasi);
    let (pthreads, max_threads) = match args.pthreads {
        PthreadsArg::Off => (Pthreads::Off, ProcessConfig::default().max_threads),
        // WAMR's own default: the stack is divided among so many.
        PthreadsArg::Wamr => (Pthreads::Wamr, 4),
    };
    let max_threads = args.max_threads.unwrap_or(max_threads);
    let config = ProcessConfig {
        max_threads,
        timeout: args.timeout,
        max_cpu: args.max_cpu,
        max_memory: args.max_memory,
        max_table_elements: args.max_table_elements,
        max_instances: args.max_instances,
        // The engine's are this program's.
        value_stack: None,
        native_stack: None,
        pthreads,
        unknown_functions: args.unknown_imports == UnknownImports::Fail,
    };
    Process::new(&linker, module, &config).map_err(|e| e.to_string())
}

/// An error with what caused it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Reports how a program ended and gives the exit code for it.
fn report(result: Result<i32, Error>, args: &Args) -> i32 {
    match result {
        Ok(code) | Err(Error::Exit(code)) => code,
        Err(Error::Trap(mut trap)) => {
            trap.locate();
            print_err(&format!("updraft: {trap}\n"));
            TRAPPED
        }
        Err(Error::Exception(mut exception)) => {
            exception.locate();
            print_err(&format!("updraft: {exception}\n"));
            TRAPPED
        }
        Err(Error::Stopped(Stopped::TimedOut)) => {
            let seconds = args.timeout.unwrap_or_default().as_secs_f64();
            print_err(&format!("updraft: the program was ended after {seconds} s (--timeout)\n"));
            TIMED_OUT
        }
        Err(Error::Stopped(Stopped::CpuTime)) => {
            let seconds = args.max_cpu.unwrap_or_default().as_secs_f64();
            print_err(&format!(
                "updraft: the program was ended after {seconds} s of processor time (--max-cpu)\n"
            ));
            OUT_OF_CPU_TIME
        }
        Err(error) => {
            let hint = match &error {
                Error::Link(LinkError::Unknown { kind: "function", .. }) => {
                    " (--unknown-imports fail starts the program without it)"
                }
                _ => "",
            };
            fail(&format!("{}: {error}{hint}", args.file().display()))
        }
    }
}

/// Calls an exported function with arguments from the command line, and prints its results.
fn invoke(process: Process, name: &str, args: &Args, times: &mut Vec<f64>) -> Result<i32, Error> {
    let call = |store: &mut Store, func: Func| {
        let ty = func.ty(store);
        if ty.params().len() != args.args().len() {
            return Err(Error::Call(format!(
                "{name:?} takes {} arguments, but {} were given",
                ty.params().len(),
                args.args().len()
            )));
        }
        let params: Result<Vec<Val>, Error> = ty
            .params()
            .iter()
            .zip(args.args())
            .map(|(ty, text)| parse_value(*ty, &text.to_string_lossy()))
            .collect();
        let (params, mut results) = (params?, Vec::new());
        for _ in 0..args.iterations {
            let start = Instant::now();
            results = func.call(store, &params)?;
            times.push(start.elapsed().as_secs_f64());
        }
        for value in results {
            print_out(&format!("{}\n", value_text(&value)));
        }
        Ok(())
    };
    match process.run_entry(name, call) {
        Ok(()) => Ok(0),
        Err(Error::Exit(code)) => Ok(code),
        Err(error) => Err(error),
    }
}

fn parse_value(ty: ValType, text: &str) -> Result<Val, Error> {
    let wrong = |_| Error::Call(format!("{text:?} is not a value of type {ty}"));
    // Integers may be given signed or unsigned.
    Ok(match ty {
        ValType::I32 => Val::I32(
            text.parse::<i32>()
                .or_else(|_| text.parse::<u32>().map(|v| v as i32))
                .map_err(|_| wrong(()))?,
        ),
        ValType::I64 => Val::I64(
            text.parse::<i64>()
                .or_else(|_| text.parse::<u64>().map(|v| v as i64))
                .map_err(|_| wrong(()))?,
        ),
        ValType::F32 => Val::F32(text.parse::<f32>().map_err(|_| wrong(()))?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().map_err(|_| wrong(()))?.to_bits()),
        _ => {
            return Err(Error::Call(format!(
                "values of type {ty} cannot be given on the command line"
            )));
        }
    })
}

fn value_text(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(v) => f32::from_bits(*v).to_string(),
        Val::F64(v) => f64::from_bits(*v).to_string(),
        Val::V128(v) => format!("{v:#034x}"),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => "null".into(),
        Val::ExnRef(Some(_)) => "an exception".into(),
        Val::FuncRef(Some(_)) => "a function".into(),
        Val::ExternRef(Some(_)) => "a host value".into(),
    }
}

fn print_stats(observer: &Observer, format: StatsFormat) {
    let text = match format {
        StatsFormat::Text => observer.stats().to_string(),
        StatsFormat::Json => stats_text(observer, &[]),
    };
    print_err(&text);
}

/// The summary as JSON, with the times of the calls of --invoke if there are several.
fn stats_text(observer: &Observer, times: &[f64]) -> String {
    let stats = serde_json::to_value(observer.stats()).and_then(|mut stats| {
        if times.len() > 1
            && let Some(stats) = stats.as_object_mut()
        {
            stats.insert("iteration_seconds".into(), times.into());
        }
        serde_json::to_string_pretty(&stats)
    });
    stats.unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}")) + "\n"
}
