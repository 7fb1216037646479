//! Scripts of our own in `tests/wast`, for what those of the specification leave out, under each strategy.

use updraft::{Config, Engine, Strategy, Tuning};

fn check(strategy: &str) {
    let strategy: Strategy = strategy.parse().unwrap();
    // Scripts are short; with these tunings they reach every tier all the same.
    let engine = Engine::new(Config { strategy, tuning: Tuning::EAGER, ..Config::default() });
    let mut passed = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wast")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let report = updraft::wast::run(&engine, &text)
            .unwrap_or_else(|error| panic!("{}:{error}", path.display()));
        let bad: Vec<_> = report.failed.iter().chain(&report.skipped).collect();
        assert!(bad.is_empty(), "{}: {bad:#?}", path.display());
        passed += report.passed;
    }
    assert!(passed > 150, "only {passed} passed");
}

macro_rules! strategies {
    ($($name:ident = $strategy:literal;)*) => {$(
        #[test]
        fn $name() {
            check($strategy);
        }
    )*};
}

strategies! { interp = "interp"; }
#[cfg(feature = "llvm")]
strategies! { quick = "quick"; full = "full"; tiered = "tiered"; random = "random:7"; }
