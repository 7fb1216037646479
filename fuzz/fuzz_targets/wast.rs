//! Scripts of any text are refused with a place, or run; the command must not crash on either.
//!
//! Good seeds are the scripts of tests/litmus and tests/scripts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use updraft::{Config, Engine, Strategy, wast};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    Engine::new(Config {
        strategy: Strategy::Interp,
        max_memory: 16 << 20,
        value_stack: 1 << 20,
        native_stack: 1 << 20,
        ..Config::default()
    })
});

fuzz_target!(|text: &str| {
    // Loops would run forever, and nobody wakes who waits.
    if ["loop", "wait", "return_call"].iter().any(|word| text.contains(word)) {
        return;
    }
    if let Err(error) = wast::run(&ENGINE, text) {
        assert!(error.line > 0 && error.column > 0 && !error.message.is_empty());
    }
});
