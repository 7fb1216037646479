//! The end of the process while threads compile: it waits for them to leave LLVM, and goes on with its own code.
#![cfg(feature = "llvm")]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};
use std::sync::mpsc;
use std::time::Duration;

use common::{LEVELS, Wasm, addresses};
use updraft_jit::{CodeSpace, Compiler, Job, Loading, Options};

/// Tells the test that it is the process to end, and when: after so many milliseconds, or so many rounds of compiling more
/// than [`LOADING`].
const MOMENT: &str = "UPDRAFT_TEST_EXIT_AFTER";
/// Milliseconds within which LLVM is loaded, on some machines. It does not matter what happens when.
const LOADING: usize = 24;
const CODE: i32 = 42;

#[test]
fn the_process_ends_while_threads_compile() {
    if let Ok(moment) = std::env::var(MOMENT) {
        compile_and_exit(moment.parse().expect("a number"));
    }
    let this = std::env::current_exe().expect("a path");
    for moment in 0..2 * LOADING {
        let output = Command::new(&this)
            .args(["--exact", "the_process_ends_while_threads_compile", "--nocapture"])
            .env(MOMENT, moment.to_string())
            .output()
            .expect("it starts");
        let (code, signal) = (output.status.code(), output.status.signal());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((code, signal), (Some(CODE), None), "at {moment}: {said}");
    }
}

fn compile_and_exit(moment: usize) -> ! {
    let (sender, done) = mpsc::channel();
    for worker in 0..3 {
        let sender = sender.clone();
        let loading = Loading::announce();
        std::thread::spawn(move || work(worker, &sender, loading));
    }
    std::thread::sleep(Duration::from_millis(moment.min(LOADING) as u64));
    for _ in LOADING..moment {
        done.recv().expect("the workers go on");
    }
    exit(CODE)
}

fn work(worker: usize, done: &mpsc::Sender<()>, loading: Loading) {
    let loaded = updraft_jit::load();
    drop(loading);
    assert!(loaded.is_ok(), "{loaded:?}");
    let wasm = Wasm::new(
        "(module (func (param i32) (result i32) (local i32)
           (loop
             (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (local.get 0)))
             (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
           (local.get 1)))",
    );
    for round in worker.. {
        // Everything of LLVM comes and goes meanwhile.
        let Ok(mut compiler) = Compiler::new(Options::default()) else { return };
        let Ok(space) = CodeSpace::new(&addresses()) else { return };
        let job = Job {
            functions: &[0],
            level: LEVELS[round % 2],
            osr: &[(0, 0)],
            stub_known: &|_| false,
            invoker_known: &|_| false,
        };
        let Ok(object) = compiler.compile(&wasm.env, &wasm.bytes, &job) else { return };
        let Ok(_linked) = space.link(&object) else { return };
        if done.send(()).is_err() {
            return;
        }
    }
}
