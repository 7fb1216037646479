//! Workers that compile, link, run and remove at the same time.
#![cfg(feature = "llvm")]

mod common;

use common::{LEVELS, Wasm, addresses};
use updraft_jit::{CodeSpace, Compiler, Job, Object, Options, Symbol};

fn program() -> Wasm {
    let mut text = String::from("(module ");
    for i in 0..24 {
        text += &format!(
            "(func (param i32) (result i32) (local i32)
               (loop
                 (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const {})) (local.get 0)))
                 (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
               (local.get 1))",
            3 + 2 * i
        );
    }
    Wasm::new(&(text + ")"))
}

fn expected(i: u32, n: u32) -> u32 {
    (1..=n).rev().fold(0_u32, |s, x| s.wrapping_mul(3 + 2 * i).wrapping_add(x))
}

#[test]
fn workers_share_a_code_space() {
    let wasm = program();
    let space = CodeSpace::new(&addresses()).expect("LLVM");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (wasm, space) = (&wasm, &space);
            scope.spawn(move || work(wasm, space, worker));
        }
    });
}

/// Rounds of each worker.
const ROUNDS: u32 = 48;

fn work(wasm: &Wasm, space: &CodeSpace, worker: u32) {
    let mut compiler = Compiler::new(Options::default()).expect("LLVM");
    for round in 0..ROUNDS {
        let functions: Vec<u32> = (0..5).map(|i| (worker * 7 + round * 5 + i) % 24).collect();
        let osr = [(functions[0], 0)];
        let job = Job {
            functions: &functions,
            level: LEVELS[round as usize % 2],
            osr: &osr,
            stub_known: &|_| false,
            invoker_known: &|_| false,
        };
        let object = compiler.compile(&wasm.env, &wasm.bytes, &job).expect("it compiles");
        assert_eq!(object.symbols().count(), 7);
        let linked = space.link(&object).expect("it links");
        // Quick code counts in the context; it is not asked for more.
        let mut context = [0_u64; 64];
        context[0] = i64::MAX as u64;
        for symbol in &linked.symbols {
            let Symbol::Function(func) = symbol.symbol else { continue };
            // SAFETY: the address is that of a function of this type, whose code has not been removed.
            let result = unsafe {
                let run: extern "C" fn(*mut u64, u32) -> u32 = std::mem::transmute(symbol.address);
                run(context.as_mut_ptr(), 100)
            };
            assert_eq!(result, expected(func, 100), "function {func}");
        }
        if round % 3 != 0 {
            linked.remove().expect("it can be removed");
        }
    }
}

#[test]
fn code_goes_with_the_last_handle() {
    let wasm = program();
    let mut compiler = Compiler::new(Options::default()).expect("LLVM");
    let job = Job {
        functions: &[3],
        level: LEVELS[0],
        osr: &[],
        stub_known: &|_| true,
        invoker_known: &|_| true,
    };
    let object = compiler.compile(&wasm.env, &wasm.bytes, &job).expect("it compiles");
    for _ in 0..20 {
        let space = CodeSpace::new(&addresses()).expect("LLVM");
        let (first, second) = (space.link(&object), space.link(&object));
        assert!(second.is_err(), "the same names, twice in one space");
        let first = first.expect("it links");
        let again = Object::from_bytes(object.bytes().to_vec()).expect("it is an object");
        assert_eq!(again.symbols().collect::<Vec<_>>(), [Symbol::Function(3)]);
        drop(space);
        first.remove().expect("the handle keeps the space");
    }
}

#[test]
fn a_missing_runtime_function_is_an_error() {
    let wasm = program();
    let mut compiler = Compiler::new(Options::default()).expect("LLVM");
    let job = Job {
        functions: &[0],
        level: LEVELS[0],
        osr: &[],
        stub_known: &|_| true,
        invoker_known: &|_| true,
    };
    let object = compiler.compile(&wasm.env, &wasm.bytes, &job).expect("it compiles");
    let space = CodeSpace::new(&[]).expect("LLVM");
    let error = space.link(&object).err().expect("quick code calls `Budget`");
    assert!(error.to_string().contains("updraft_budget"), "{error}");
}
