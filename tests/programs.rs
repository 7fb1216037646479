//! The example programs and the kernels give the right output under each strategy, again and again.
//!
//! UPDRAFT_TEST_RUNS says how often each is run; `random` gets another seed each time.

mod common;

use common::*;
use std::collections::BTreeSet;
use std::io::Read;

/// The arguments with which a program prints its expected output.
fn arguments(program: &str) -> Vec<String> {
    let all = std::fs::read_to_string(repository("examples/threads/expected/args.txt")).unwrap();
    let mut lines = all.lines().map(|line| line.split(' ').map(str::to_owned));
    let mut line = lines
        .find(|line| line.clone().next().as_deref() == Some(program))
        .expect("a line in args.txt");
    line.next();
    line.collect()
}

/// The output with what may come in any order sorted: lines of hello's threads.
fn normalised(output: &str) -> Vec<&str> {
    let (mut any_order, ordered): (Vec<&str>, Vec<&str>) =
        output.lines().partition(|line| line.starts_with("thread ") && line.ends_with(" runs"));
    any_order.sort_unstable();
    any_order.extend(ordered);
    any_order
}

fn prints_what_is_expected(program: &str, strategy: &str) {
    let expected =
        std::fs::read_to_string(repository(&format!("examples/threads/expected/{program}.txt")))
            .unwrap();
    for run in 0..runs(3) {
        let output = Updraft::run(&tier(strategy, run))
            .arg(repository(&format!("examples/threads/{program}.wasm")))
            .args(arguments(program))
            .end()
            .quiet_success();
        assert_eq!(
            normalised(&output),
            normalised(&expected),
            "{program}, run {run} under {strategy}"
        );
    }
}

macro_rules! programs {
    ($($test:ident = $program:literal),* $(,)?) => {
        $(fn $test(strategy: &str) {
            prints_what_is_expected($program, strategy);
        })*
        per_strategy!($($test),*);

        /// No program is forgotten, neither here nor in the lists beside the programs.
        #[test]
        fn every_program_is_tested() {
            let tested = BTreeSet::from([$($program.to_owned()),*]);
            let built: BTreeSet<String> = std::fs::read_dir(repository("examples/threads"))
                .unwrap()
                .filter_map(|entry| {
                    Some(entry.unwrap().file_name().to_str()?.strip_suffix(".wasm")?.to_owned())
                })
                .collect();
            let listed = std::fs::read_to_string(repository("examples/threads/expected/args.txt")).unwrap();
            let listed: BTreeSet<String> =
                listed.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
            assert_eq!(tested, built);
            assert_eq!(tested, listed);
        }
    };
}

programs! {
    hello = "hello",
    mergesort = "mergesort",
    compress = "compress",
    mandelbrot = "mandelbrot",
    prodcons = "prodcons",
    spawnstorm = "spawnstorm",
    pingpong = "pingpong",
    mutex = "mutex",
    features = "features",
    rust_threads = "rust-threads",
}

/// Text that compresses about as well as prose.
fn prose(bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "updraft", "of", "the", "thread", "a", "memory", "that", "waits", "for", "its", "turn",
        "again",
    ];
    let mut random = Random::new(7);
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
        text.push(if random.below(12) == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

/// What the compressor writes is a gzip file of what it read, whatever the number of its threads.
fn compressed_files_unpack(strategy: &str) {
    let input = prose(700_000);
    for (run, threads) in [1, 2, 5].into_iter().enumerate() {
        let ended = Updraft::run(&tier(strategy, run))
            .arg(repository("examples/threads/compress.wasm"))
            .args(["--threads", &threads.to_string()])
            .stdin(input.clone())
            .end()
            .expect(0);
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(&*ended.stdout)
            .read_to_end(&mut unpacked)
            .unwrap_or_else(|e| panic!("not a gzip file: {e}, {threads} threads under {strategy}"));
        assert!(unpacked == input, "other bytes came back, {threads} threads under {strategy}");
        assert!(ended.stdout.len() < input.len() / 2, "{} bytes", ended.stdout.len());
    }
}

/// (kernel, amount of work, checksum). The values are V8's; those of fib, sieve and nbody are also known otherwise, see
/// benches/kernels/README.md.
const KERNELS: [(&str, u32, i64); 15] = [
    ("fib", 20, 6765),
    ("fib", 24, 46368),
    ("sieve", 1, 82025),
    ("sieve", 2, 164_050),
    ("matmul", 1, 6_392_394_538),
    ("matmul", 3, 6_347_649_389_690),
    ("nbody", 1000, -169_087_605),
    ("nbody", 5000, -169_020_000),
    ("sha256", 10, 4_318_936_118_822_404_555),
    ("sha256", 100, -412_977_161_488_127_336),
    ("saxpy", 3, 655_328_582_280),
    ("saxpy", 20, -4_231_200_944_332_448_344),
    ("mandelbrot", 40, 475_845),
    ("fannkuch", 2, 188_978_564_256),
    ("spectral", 30, 7_315_331_503_632_128_091),
];

/// Both ways into a kernel give its checksum: as a program, and by its export.
fn kernels(strategy: &str) {
    for (run, (name, amount, sum)) in KERNELS.into_iter().enumerate() {
        let file = repository(&format!("benches/kernels/{name}.wasm"));
        let (amount, tier) = (amount.to_string(), tier(strategy, run));
        let output = Updraft::run(&tier).arg(&file).arg(&amount).end().quiet_success();
        assert_eq!(output, format!("{name}({amount}) = {sum}\n"), "{tier}");
        let output = Updraft::run(&tier)
            .args(["--invoke", "run"])
            .arg(&file)
            .arg(&amount)
            .end()
            .quiet_success();
        assert_eq!(output, format!("{sum}\n"), "{name} {amount} under {tier}");
    }
}

/// `--traps relaxed` gives up traps of unused accesses, not results.
#[cfg(feature = "llvm")]
#[test]
fn kernels_with_relaxed_traps() {
    for (name, amount, sum) in KERNELS {
        let output = Updraft::run("full")
            .args(["--traps", "relaxed", "--invoke", "run"])
            .arg(repository(&format!("benches/kernels/{name}.wasm")))
            .arg(amount.to_string())
            .end()
            .quiet_success();
        assert_eq!(output, format!("{sum}\n"), "{name} {amount}");
    }
}

/// The programs of the comparison print what native builds of them print, whatever the number of threads, and agree with themselves.
fn suite(strategy: &str) {
    let expected = std::fs::read_to_string(repository("benches/programs/expected.txt")).unwrap();
    for (run, line) in expected.lines().enumerate() {
        let (name, rest) = line.split_once('(').unwrap();
        let (amount, rest) = rest.split_once(") = ").unwrap();
        let file = repository(&format!("benches/programs/{name}.wasm"));
        let tier = tier(strategy, run);
        let threaded = THREADED.contains(&name);
        for (repeats, threads) in [("1", "1"), ("3", "2"), ("1", "5")] {
            if threads != "1" && !threaded {
                continue;
            }
            let ended =
                Updraft::run(&tier).arg(&file).args([amount, repeats, threads]).end().expect(0);
            assert_eq!(ended.text(), format!("{line}\n"), "{tier}, {threads} threads");
            let times = ended.stderr.lines().filter(|line| line.starts_with("repeat "));
            assert_eq!(times.count().to_string(), repeats, "{ended}");
        }
        if !threaded {
            let invoked = Updraft::run(&tier).args(["--invoke", "run"]).arg(&file).arg(amount);
            assert_eq!(invoked.end().quiet_success(), format!("{rest}\n"), "{tier}");
        }
    }
}

/// Those of the comparison's programs that start threads.
const THREADED: [&str; 2] = ["lz", "msort"];

#[test]
fn every_program_of_the_suite_is_tested() {
    let names = |folder: &str, ending: &str| -> BTreeSet<String> {
        let files = std::fs::read_dir(repository(folder)).unwrap();
        files
            .filter_map(|file| {
                Some(file.unwrap().file_name().to_str()?.strip_suffix(ending)?.to_owned())
            })
            .collect()
    };
    let expected = std::fs::read_to_string(repository("benches/programs/expected.txt")).unwrap();
    let listed = expected.lines().map(|line| line.split('(').next().unwrap().to_owned());
    let listed = listed.chain(["stop".to_owned()]).collect();
    assert_eq!(names("benches/programs", ".wasm"), listed);
    assert_eq!(names("benches/programs", ".c"), listed);
    let kernels: BTreeSet<String> = KERNELS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(names("benches/kernels", ".wasm"), kernels);
}

/// Threads that compute or wait for ever do not keep a program from ending.
fn stop(strategy: &str) {
    let file = repository("benches/programs/stop.wasm");
    for (run, (what, verb)) in [("spin", "compute"), ("wait", "wait")].into_iter().enumerate() {
        let ended = Updraft::run(&tier(strategy, run)).arg(&file).args([what, "3"]).end().expect(3);
        assert_eq!(ended.text(), format!("3 threads {verb}\n"));
    }
}

per_strategy!(compressed_files_unpack, kernels, suite, stop);
