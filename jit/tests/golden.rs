//! The delicate sequences of generated code, as LLVM's representation or as assembly: `tests/golden/*.wat`, whose tails are what is
//! expected.
//!
//! The first line of a file says what is shown: `;;! SHOW LEVEL FUNCTION [osr LOOP] [relaxed]`, SHOW one of `llvm`, `llvm-opt` and `asm`,
//! LEVEL `quick` or `full`. Code is for the architecture's baseline, so that machines do not matter; what changes with
//! everything (numbers of metadata and attributes, alignments of the text, directives of the assembler) is left out. `UPDRAFT_BLESS=1` writes the
//! tails anew: look at the difference before it is committed.
#![cfg(feature = "llvm")]

mod common;

use common::Wasm;
use std::path::{Path, PathBuf};
use updraft_jit::{Compiler, Cpu, Job, Level, Options, Text};

const EXPECTED: &str = "\n;;; expected\n";

/// What the first line asks for.
struct Request<'a> {
    what: Text,
    level: Level,
    function: &'a str,
    osr: Option<u32>,
    exact_traps: bool,
}

fn request(text: &str) -> Request<'_> {
    let line = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.strip_prefix(";;! ").expect("a request").split(' ').collect();
    let [what, level, function, rest @ ..] = &words[..] else { panic!("too short: {line}") };
    let what = match *what {
        "llvm" => Text::Llvm,
        "llvm-opt" => Text::LlvmOptimised,
        "asm" => Text::Assembly,
        other => panic!("nothing is called {other}"),
    };
    let level = match *level {
        "quick" => Level::Quick,
        "full" => Level::Full,
        other => panic!("there is no level {other}"),
    };
    let (mut osr, mut exact_traps) = (None, true);
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "osr" => osr = Some(rest.next().expect("the loop").parse().expect("its number")),
            "relaxed" => exact_traps = false,
            other => panic!("{other} means nothing"),
        }
    }
    Request { what, level, function, osr, exact_traps }
}

/// The code that a file asks for, without what does not matter.
fn generate(text: &str) -> String {
    let Request { what, level, function, osr, exact_traps } = request(text);
    let wasm = Wasm::new(text);
    let func = wasm.exports[function];
    let options = Options { exact_traps, cpu: Cpu::Baseline, ..Options::default() };
    let mut compiler = Compiler::new(options).expect("LLVM can be loaded");
    let osr: Vec<(u32, u32)> = osr.map(|index| (func, index)).into_iter().collect();
    let functions: &[u32] = if osr.is_empty() { &[func] } else { &[] };
    let (stub_known, invoker_known) = (&|_| true, &|_| true);
    let job = Job { functions, level, osr: &osr, stub_known, invoker_known };
    let code = compiler.emit_text(&wasm.env, &wasm.bytes, &job, what).expect("it compiles");
    let keep = if what == Text::Assembly { keep_assembly } else { keep_llvm };
    let code: String = code
        .lines()
        .filter_map(keep)
        .map(|line| format!(";; {}", line.trim_end()) + "\n")
        .collect();
    code.replace(&unique_part(&code), "")
}

/// What makes the names of this job's symbols unique: `.`, a number of the process, `.`, a number.
fn unique_part(code: &str) -> String {
    let digits = |text: &str, base| text.chars().take_while(|c| c.is_digit(base)).count();
    let parts = code.match_indices('.').map(|(at, _)| &code[at..]);
    let unique = parts.filter_map(|part| {
        let first = 1 + digits(&part[1..], 16);
        let second = part[first..].strip_prefix('.').map(|rest| digits(rest, 10))?;
        (first == 17 && second > 0).then(|| &part[..first + 1 + second])
    });
    unique.max().expect("a symbol is defined").to_owned()
}

/// A line of LLVM's representation: definitions of functions, without metadata and attributes.
fn keep_llvm(line: &str) -> Option<String> {
    let apart = ["; ", "source_filename", "target ", "declare ", "attributes ", "!"];
    if line.is_empty() || apart.iter().any(|start| line.starts_with(start)) {
        return None;
    }
    let line = line.split(", !").next().expect("the beginning");
    let line = line.split(" ; preds").next().expect("the beginning").trim_end();
    // References to groups of attributes: `#3`.
    let words = line.split(' ').filter(|word| {
        !word.strip_prefix('#').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// A line of assembly: instructions and labels, without comments and the assembler's directives.
fn keep_assembly(line: &str) -> Option<String> {
    let line = line.split('#').next().expect("the beginning").trim_end();
    let word = line.trim_start();
    let label = word.ends_with(':');
    if word.is_empty() || word.starts_with('.') && !label {
        return None;
    }
    Some(line.replace('\t', "  ").trim_end().to_owned())
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn generated_code_is_as_expected() {
    let bless = std::env::var_os("UPDRAFT_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let whole = std::fs::read_to_string(&path).unwrap();
        let (text, expected) = whole.split_once(EXPECTED).unwrap_or((&whole, ""));
        let code = generate(text);
        if bless {
            std::fs::write(&path, format!("{}{EXPECTED}{code}", text.trim_end())).unwrap();
        } else if code != expected {
            let differs = code.lines().zip(expected.lines()).find(|(got, wanted)| got != wanted);
            wrong.push(format!("{}: {differs:#?}, all of it:\n{code}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDRAFT_BLESS=1 accepts these:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_that_changes_by_itself_is_kept() {
    assert_eq!(
        keep_llvm("  %2 = load i32, ptr %1, align 1, !tbaa !4"),
        Some("  %2 = load i32, ptr %1, align 1".into())
    );
    assert_eq!(
        keep_llvm("  call void @updraft_raise(ptr %0, i32 2) #3"),
        Some("  call void @updraft_raise(ptr %0, i32 2)".into())
    );
    assert_eq!(keep_llvm("attributes #0 = { nounwind }"), None);
    assert_eq!(
        keep_assembly("\tmovl\t(%rdi), %eax                # comment"),
        Some("  movl  (%rdi), %eax".into())
    );
    assert_eq!(keep_assembly("\t.p2align\t4"), None);
    assert_eq!(keep_assembly(".LBB0_1:"), Some(".LBB0_1:".into()));
}
