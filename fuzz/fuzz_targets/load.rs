//! The loader takes any bytes and gives a module or an error. What it accepts is also instantiated and, within narrow
//! limits, run in the interpreter: mostly for the translation of valid bodies that no compiler would write.
//!
//! Good seeds are the committed programs: `fuzz/corpus/load/` may link to examples/threads and benches/kernels.
#![no_main]

mod engine;

use engine::ENGINE;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use updraft::{Linker, Module, ModuleError, Process, ProcessConfig, WasiCtxBuilder};

fuzz_target!(|bytes: &[u8]| {
    match Module::new(&ENGINE, bytes) {
        Ok(module) => run(&module),
        Err(ModuleError::Invalid { offset, .. } | ModuleError::Unsupported { offset, .. }) => {
            // Offsets in the text format's translation are not bounded by the text.
            assert!(!bytes.starts_with(b"\0") || offset <= bytes.len() as u64);
        }
        Err(_) => {}
    }
});

fn run(module: &Module) {
    let mut linker = Linker::new(&ENGINE);
    let wasi = WasiCtxBuilder::new().args(["fuzz"]).build().expect("nothing in it can fail");
    updraft::add_wasi(&mut linker, wasi);
    let limits = ProcessConfig { max_threads: 2, timeout: Some(Duration::from_millis(20)), ..ProcessConfig::default() };
    if let Ok(process) = Process::new(&linker, module, &limits) {
        // Any end is a good end.
        let _ = process.run();
    }
}
