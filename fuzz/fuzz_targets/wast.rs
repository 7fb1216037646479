//! Scripts of any text are refused with a place, or run; the command must not crash on either.
//!
//! Good seeds are the scripts of tests/litmus and tests/scripts.
#![no_main]

mod engine;

use engine::ENGINE;
use libfuzzer_sys::fuzz_target;
use updraft::wast;

fuzz_target!(|text: &str| {
    // Loops would run forever, and nobody wakes who waits.
    if ["loop", "wait", "return_call"].iter().any(|word| text.contains(word)) {
        return;
    }
    if let Err(error) = wast::run(&ENGINE, text) {
        assert!(error.line > 0 && error.column > 0 && !error.message.is_empty());
    }
});
