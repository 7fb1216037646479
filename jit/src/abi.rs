//! The contract between compiled code and everything else.
//!
//! Compiled code, the interpreter and the runtime agree on three things, all of them here: the layout of the
//! structures that code touches ([`VmContext`], [`ThreadState`]), the calling conventions, and the codes and
//! functions by which code asks the runtime for something ([`TrapCode`], [`Builtin`]).
//!
//! # Calling conventions
//!
//! * **Native**: a compiled function is `extern "C" fn(ctx: *mut VmContext, params...) -> result`. Integers,
//!   floats and vectors travel as their LLVM types, references as `i64` (see [`Ref`]). With more than one result
//!   the function returns nothing and takes a last parameter `*mut u64`, to which it writes all results as slots.
//!   In a module with tail calls ([`ModuleEnv::tail_calls`](crate::env::ModuleEnv)) native functions and stubs have LLVM's
//!   `tailcc` convention instead, and no parameters on the stack: what does not fit into registers is in
//!   [`VmContext::spill`], in slots, from the call to the callee's first instructions. So a tail call is one jump,
//!   whatever the types.
//! * **Slots**: parameters and results as 64-bit slots in one array, results over parameters, a `v128` in two
//!   slots. `i32` and `f32` occupy the low half; the high half is unspecified. This is what the interpreter's
//!   frames are made of, and what an *invoker*, a *signature stub* and an *OSR entry* translate from and to.
//! * **Invoker** of a type (slots to native): `extern "C" fn(ctx, slots: *mut u64, code: *const u8)`.
//! * **Signature stub** of a type (native to slots): a native function with a further `nest` parameter (register
//!   r10 on x86-64) that holds the function index; it calls [`Builtin::Enter`]. The code table's entry of a
//!   function that has no machine code points to a trampoline that loads the index and jumps to the stub.
//! * **OSR entry** of a loop: `extern "C" fn(ctx, slots: *mut u64)`. `slots` is the frame of the function at the
//!   loop's header, as in [`frame`]. It runs the rest of the function and writes the results to `slots[0..]`.
//!
//! # Tail calls across tiers
//!
//! Native code that tail-calls a function without machine code jumps to its stub. If the stub finds itself called by the
//! invoker of its segment (the chain has given up all frames in between), [`Builtin::Enter`] only notes the call and answers
//! [`status::TAIL`]: the stub and the invoker return, and whoever entered the segment makes the call, with the
//! segment gone. An OSR entry notes its tail calls in any case. So no chain takes native stack, whichever tiers it goes through.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

/// Layout of a frame in slots, the same in every tier.
///
/// ```text
/// [parameters][other locals][link: LINK_SLOTS][operands, bottom first]
/// ```
/// A caller leaves the arguments on top of its operands; they are the callee's parameters where they lie. Results
/// are written from the frame's first slot on. The link belongs to the interpreter. At the header of a loop every
/// live value is in its slot.
pub mod frame {
    /// Slots between the locals and the operands, for the interpreter's own use.
    pub const LINK_SLOTS: u32 = 4;
}

/// Offset in bytes, from the context, of the first defined global. Each global takes 16 bytes.
pub const GLOBALS_OFFSET: usize = 128;
/// Bytes that a global occupies (room for a `v128`).
pub const GLOBAL_SIZE: usize = 16;

/// What running code sees of its instance. One for each wasm thread and module instance; compiled code gets it
/// as its first argument. Defined globals follow at [`GLOBALS_OFFSET`].
#[repr(C, align(64))]
pub struct VmContext {
    /// What may still be spent before the slow path runs, in units of roughly one wasm operator. Only the thread
    /// that runs the instance, and a signal handler on that thread, access it.
    pub budget: UnsafeCell<i64>,
    /// Address of byte 0 of memory 0; never moves. Null without a memory.
    pub memory_base: *mut u8,
    /// Points to the current length of memory 0 in bytes. It may grow at any moment, and never shrinks.
    pub memory_length: *const AtomicU64,
    /// Per function index (imports first): the address of its native code, or of a trampoline to its stub.
    pub code_table: *const AtomicPtr<u8>,
    /// Per function index: where the interpreter enters the function.
    pub interp_table: *const AtomicPtr<u8>,
    /// Per table index: the table.
    pub tables: *const *mut TableDesc,
    /// Per memory index: the memory.
    pub memories: *const MemoryDesc,
    /// Per imported global: its cell.
    pub imported_globals: *const *mut GlobalCell,
    /// The thread that runs this instance now.
    pub thread: *mut ThreadState,
    /// Lowest native stack address at which a function may start that calls others, in bytes.
    pub stack_limit: usize,
    /// The runtime's own instance; opaque to code.
    pub instance: *const (),
    /// What the budget was last refilled to.
    pub budget_quantum: i64,
    /// Parameters for which there are no registers, where native functions have the `tailcc` convention.
    pub spill: *mut u64,
    /// Per tag index: what tells the tag from all others of the store.
    pub tags: *const *const (),
    /// How often each function was called in each tier ([`calls_index`]), where calls are counted; null otherwise. Only the thread that
    /// runs the instance writes to them.
    pub calls: *mut u64,
    /// Room for later fields.
    pub reserved: [usize; 1],
}

/// Tiers of which calls are counted: interpreter, quick code, full code.
pub const CALL_TIERS: u32 = 3;

/// Where the calls of a function in a tier (0: interpreter, 1: quick code, 2: full code) are counted.
#[must_use]
pub const fn calls_index(func: u32, tier: u32) -> usize {
    func as usize * CALL_TIERS as usize + tier as usize
}

const _: () = assert!(size_of::<VmContext>() == GLOBALS_OFFSET);

/// The value of a global: the low bytes hold it.
#[repr(C, align(16))]
#[derive(Debug)]
pub struct GlobalCell(pub UnsafeCell<[u64; 2]>);

/// A table as code sees it. Elements are [`Ref`]s.
#[repr(C)]
#[derive(Debug)]
pub struct TableDesc {
    /// The first element; moves when the table grows.
    pub base: *mut u64,
    /// Number of elements.
    pub length: u64,
}

/// An exception as code sees it; a reference to it is its address.
#[repr(C)]
#[derive(Debug)]
pub struct ExceptionDesc {
    /// Its tag, as [`VmContext::tags`] has it.
    pub tag: *const (),
    /// Its values, in slots.
    pub values: *const u64,
}

/// A memory as code sees it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct MemoryDesc {
    /// Address of byte 0; never moves.
    pub base: *mut u8,
    /// Points to the current length in bytes.
    pub length: *const AtomicU64,
}

/// How a reference is held in a slot, a table or a global.
///
/// * `0` is null.
/// * Bit 0 set: a function of *this* module, `function index << 32 | canonical type index << 1 | 1`. It names no
///   instance, so that the tables of all thread instances are the same bytes.
/// * otherwise: an address that the runtime knows (a function of another instance, an `externref`).
///
/// A reference of the second form never leaves its instance: the runtime converts it where it would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Ref(pub u64);

impl Ref {
    /// The null reference.
    pub const NULL: Ref = Ref(0);

    /// Function `func` of this module, whose type's canonical index is `ty`.
    #[must_use]
    pub const fn local(func: u32, ty: u32) -> Ref {
        Ref((func as u64) << 32 | Self::local_tag(ty) as u64)
    }

    /// The low half of every reference to a function of this module of canonical type `ty`.
    #[must_use]
    pub const fn local_tag(ty: u32) -> u32 {
        ty << 1 | 1
    }

    /// The function index, if this refers to a function of this module.
    #[must_use]
    pub const fn as_local(self) -> Option<u32> {
        if self.0 & 1 == 1 { Some((self.0 >> 32) as u32) } else { None }
    }
}

/// Values of [`ThreadState::state`].
pub mod state {
    /// In the interpreter, the runtime or the host: a stop waits until the thread looks.
    pub const HOST: u32 = 0;
    /// In compiled code: a signal handler may unwind the thread at once, wherever its program counter is.
    pub const NATIVE: u32 = 1;
    /// In a function of the embedder, or waiting: the thread touches nothing of the program, and looks at what is pending before it
    /// does again.
    pub const OUTSIDE: u32 = 2;
}

/// Bits of [`ThreadState::pending`].
pub mod pending {
    /// The thread's group stops.
    pub const STOP: u32 = 1;
    /// The time of the thread's call is over.
    pub const DEADLINE: u32 = 2;
    /// The thread must give up what it runs.
    pub const ENDS: u32 = STOP | DEADLINE;
    /// Above these bits: the number of the pause that the thread's group is in; 0 in none.
    pub const PAUSE_SHIFT: u32 = 2;
}

/// What builtins answer that run other code.
pub mod status {
    /// The results are there.
    pub const DONE: u32 = 0;
    /// The cause has been recorded: call [`Builtin::RaisePending`](super::Builtin::RaisePending).
    pub const FAILED: u32 = 1;
    /// A tail call was noted: return at once, with any results.
    pub const TAIL: u32 = 2;
}

/// What a wasm thread is doing, as far as compiled code, its entry trampoline and signal handlers must know.
#[repr(C)]
#[derive(Debug)]
pub struct ThreadState {
    /// One of [`state`].
    pub state: AtomicU32,
    /// Not zero when the thread must stop or pause, see [`pending`]; checked after `state` was set to NATIVE.
    pub pending: AtomicU32,
    /// Save area of the innermost entry into compiled code; null outside.
    pub save: *mut u8,
    /// The context that runs now.
    pub ctx: *mut VmContext,
    /// First free slot of the value stack, valid while the interpreter is not running on this thread.
    pub value_sp: *mut u64,
    /// End of the value stack.
    pub value_limit: *mut u64,
    /// Lowest native stack address at which runtime code may be entered, in bytes.
    pub native_limit: usize,
    /// What a sampling profiler sees and asks for; compiled code does not look at it.
    pub sampled: Sampled,
    /// Not zero once the thread is on its way out of its group, and needs no more signals.
    pub leaving: AtomicU32,
    /// The last pause in which the thread has said that it touches nothing of the program.
    pub parked: AtomicU32,
    /// Where it says so, to whoever waits for that; null outside of a group.
    pub acknowledged: AtomicPtr<AtomicU32>,
    /// Program counter, frame pointer and stack pointer of compiled code in which a pause has met the thread.
    pub interrupted: [AtomicUsize; 3],
    /// The state that was the native thread's current one before this one: of a call that this one is nested in.
    pub outer: *mut ThreadState,
    /// Where the innermost wasm was left for the runtime. In compiled code the return address of the call, in the interpreter the
    /// running instruction, or, with the lowest bit set, the one behind the call.
    pub exit_pc: usize,
    /// The frame that it was left from: the frame pointer, or the first slot.
    pub exit_fp: usize,
}

impl Default for ThreadState {
    /// Of a thread without stacks and context, in [`state::HOST`].
    fn default() -> ThreadState {
        ThreadState {
            state: AtomicU32::new(state::HOST),
            pending: AtomicU32::new(0),
            save: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
            value_sp: std::ptr::null_mut(),
            value_limit: std::ptr::null_mut(),
            native_limit: 0,
            sampled: Sampled::default(),
            leaving: AtomicU32::new(0),
            parked: AtomicU32::new(0),
            acknowledged: AtomicPtr::default(),
            interrupted: Default::default(),
            outer: std::ptr::null_mut(),
            exit_pc: 0,
            exit_fp: 0,
        }
    }
}

/// What a thread and the profiler that samples it share.
#[derive(Debug, Default)]
pub struct Sampled {
    /// [`activity`].
    pub activity: AtomicU32,
    /// One of [`sample`].
    pub wanted: AtomicU32,
    /// One more than the budget that was taken away to make a sample due; 0 if none was.
    pub budget: AtomicI64,
    /// Where samples go: the profiler's, null if there is none.
    pub ring: AtomicPtr<u8>,
    /// Samples for which the thread was outside of wasm, on a processor or off it. It takes them, all at once, when it comes back.
    pub owed: [AtomicU32; 2],
    /// When a sample became due: what was in the register of the interpreter's instruction pointer. Anything, if the interpreter did not run.
    pub due_at: AtomicUsize,
}

/// Values of [`Sampled::activity`].
pub mod activity {
    /// Running wasm, in whatever tier, or not running at all.
    pub const WASM: u32 = 0;
    /// In a host function.
    pub const HOST: u32 = 1;
    /// In `memory.atomic.wait`.
    pub const WAIT: u32 = 2;
    /// Waiting for a compile.
    pub const COMPILE: u32 = 3;
}

/// Values of [`Sampled::wanted`].
pub mod sample {
    /// None.
    pub const NONE: u32 = 0;
    /// The profiler asks for one, and sends the signal.
    pub const ASKED: u32 = 1;
    /// The signal came in the interpreter or the runtime: the next look at the budget takes it.
    pub const DUE: u32 = 2;
}

macro_rules! trap_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// Why code trapped. The texts are those of the specification's test-suite.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum TrapCode { $($(#[$doc])* $name = $value,)* }

        impl TrapCode {
            /// Every code.
            pub const ALL: &[TrapCode] = &[$(TrapCode::$name,)*];

            /// The code with this number.
            #[must_use]
            pub const fn from_u32(value: u32) -> Option<TrapCode> {
                match value { $($value => Some(TrapCode::$name),)* _ => None }
            }

            /// What the specification's test-suite calls this trap.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(TrapCode::$name => $text,)* }
            }
        }
    };
}

trap_codes! {
    /// `unreachable` was executed.
    Unreachable = 1, "unreachable";
    /// An access outside of a memory.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// An access outside of a table.
    TableOutOfBounds = 3, "out of bounds table access";
    /// `call_indirect` outside of its table.
    UndefinedElement = 4, "undefined element";
    /// `call_indirect` of a null element.
    UninitializedElement = 5, "uninitialized element";
    /// `call_indirect` of a function of another type.
    IndirectCallTypeMismatch = 6, "indirect call type mismatch";
    /// Signed division or truncation whose result does not fit.
    IntegerOverflow = 7, "integer overflow";
    /// Integer division or remainder by zero.
    IntegerDivideByZero = 8, "integer divide by zero";
    /// Truncation of a NaN.
    InvalidConversionToInteger = 9, "invalid conversion to integer";
    /// The native stack or the value stack is used up.
    StackOverflow = 10, "call stack exhausted";
    /// An atomic access whose address is not a multiple of its size.
    UnalignedAtomic = 11, "unaligned atomic";
    /// `memory.atomic.wait` on a memory that is not shared.
    ExpectedSharedMemory = 12, "expected shared memory";
    /// A null reference where none may be.
    NullReference = 13, "null reference";
    /// The runtime could not get memory that the program needs.
    OutOfMemory = 14, "out of memory";
    /// `call_ref` of a null reference.
    NullFunctionReference = 15, "null function reference";
    /// `throw_ref` of a null reference.
    NullExceptionReference = 16, "null exception reference";
}

/// Types in the signature of a [`Builtin`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbiType {
    /// An address.
    Ptr,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// No result.
    Void,
    /// Does not return: control leaves the compiled segment.
    Never,
}

macro_rules! builtins {
    ($($(#[$doc:meta])* $name:ident $symbol:literal ($($param:ident),*) -> $result:ident;)*) => {
        /// The runtime's functions that compiled code calls, `extern "C"`, the context first.
        ///
        /// Where the result is a *status*, zero is success; otherwise the cause has been recorded for the thread, and
        /// the code must call [`Builtin::RaisePending`]. Builtins that take a *frame* are for calls in tail position: they
        /// may answer [`status::TAIL`], too. The frame is the frame pointer of the function that called the one
        /// which asks; null in an OSR entry.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u32)]
        pub enum Builtin { $($(#[$doc])* $name,)* }

        impl Builtin {
            /// All of them, in order.
            pub const ALL: &[Builtin] = &[$(Builtin::$name,)*];

            /// The symbol under which compiled objects refer to it.
            #[must_use]
            pub const fn symbol(self) -> &'static str {
                match self { $(Builtin::$name => $symbol,)* }
            }

            /// Parameter types, the context included.
            #[must_use]
            pub const fn params(self) -> &'static [AbiType] {
                match self { $(Builtin::$name => &[AbiType::Ptr, $(AbiType::$param,)*],)* }
            }

            /// Result type.
            #[must_use]
            pub const fn result(self) -> AbiType {
                match self { $(Builtin::$name => AbiType::$result,)* }
            }
        }
    };
}

builtins! {
    /// `(function index, slots, frame) -> status`: calls a function that has no machine code, or an import.
    Enter "updraft_enter" (I32, Ptr, Ptr) -> I32;
    /// `(table, element index, type index, slots) -> status`: the slow and complete form of `call_indirect`. The slots hold the arguments.
    CallIndirect "updraft_call_indirect" (I32, I64, I32, Ptr) -> I32;
    /// `(table, element index, type index, slots, frame) -> status`: the same in tail position.
    TailCallIndirect "updraft_tail_call_indirect" (I32, I64, I32, Ptr, Ptr) -> I32;
    /// `(reference, slots) -> status`: `call_ref` of a reference that is null or names no function of this module.
    CallRef "updraft_call_ref" (I64, Ptr) -> I32;
    /// `(reference, slots, frame) -> status`: `return_call_ref` of any reference.
    TailCallRef "updraft_tail_call_ref" (I64, Ptr, Ptr) -> I32;
    /// `(tag, slots) -> status`: `throw`. The status is never success; what has been recorded is the exception, or why the thread must
    /// stop.
    Throw "updraft_throw" (I32, Ptr) -> I32;
    /// `(reference) -> status`: `throw_ref`, in the same way.
    ThrowRef "updraft_throw_ref" (I64) -> I32;
    /// `() -> exception or null`: after a failure, the exception if it was one.
    Caught "updraft_caught" () -> Ptr;
    /// `(whether its reference is kept) -> status`: the exception has found its handler, and its values have been taken.
    Catch "updraft_catch" (I32) -> I32;
    /// `(slots, frame) -> status`: makes the tail call that an OSR entry has noted, if there is one.
    TailPending "updraft_tail_pending" (Ptr, Ptr) -> I32;
    /// `(trap code)`: traps. Never returns to the caller.
    Raise "updraft_raise" (I32) -> Never;
    /// `()`: leaves with the cause that a status announced.
    RaisePending "updraft_raise_pending" () -> Never;
    /// `(function index, loop index or `FUNCTION_ENTRY`) -> OSR entry or null`: quick code's budget is spent.
    /// If an entry comes back, the caller stores its frame to `slots`, calls the entry and returns the results.
    /// At the entry of a function the result is ignored: better code is for the next call. An entry made at the quick level
    /// begins with a check of its own, so whoever answers with one must have refilled the budget.
    Budget "updraft_budget" (I32, I32) -> Ptr;
    /// `(function index, tier)`: the instance calls the function in this tier ([`calls_index`]) for the first time. Asked for only where
    /// calls are counted.
    FirstCall "updraft_first_call" (I32, I32) -> Void;
    /// `(memory, pages) -> previous pages or -1`.
    MemoryGrow "updraft_memory_grow" (I32, I64) -> I64;
    /// `(memory, data segment, destination, source, bytes) -> status`.
    MemoryInit "updraft_memory_init" (I32, I32, I64, I32, I32) -> I32;
    /// `(destination memory, source memory, destination, source, bytes) -> status`.
    MemoryCopy "updraft_memory_copy" (I32, I32, I64, I64, I64) -> I32;
    /// `(memory, destination, byte, bytes) -> status`.
    MemoryFill "updraft_memory_fill" (I32, I64, I32, I64) -> I32;
    /// `(data segment)`.
    DataDrop "updraft_data_drop" (I32) -> Void;
    /// `(table, index, out: slot) -> status`.
    TableGet "updraft_table_get" (I32, I64, Ptr) -> I32;
    /// `(table, index, reference) -> status`.
    TableSet "updraft_table_set" (I32, I64, I64) -> I32;
    /// `(table, reference, elements) -> previous length or -1`.
    TableGrow "updraft_table_grow" (I32, I64, I64) -> I64;
    /// `(table, index, reference, elements) -> status`.
    TableFill "updraft_table_fill" (I32, I64, I64, I64) -> I32;
    /// `(destination table, source table, destination, source, elements) -> status`.
    TableCopy "updraft_table_copy" (I32, I32, I64, I64, I64) -> I32;
    /// `(table, element segment, destination, source, elements) -> status`.
    TableInit "updraft_table_init" (I32, I32, I64, I32, I32) -> I32;
    /// `(element segment)`.
    ElemDrop "updraft_elem_drop" (I32) -> Void;
    /// `(global, reference)`: `global.set` of a reference to a global that others see (imported or exported).
    GlobalSetRef "updraft_global_set_ref" (I32, I64) -> Void;
    /// `(memory, effective address, count) -> woken or -1 for a recorded trap`.
    AtomicNotify "updraft_atomic_notify" (I32, I64, I32) -> I64;
    /// `(memory, effective address, expected, timeout in ns or negative) -> 0 woken, 1 not equal, 2 timed out, -1 for a recorded cause`.
    AtomicWait32 "updraft_atomic_wait32" (I32, I64, I32, I64) -> I64;
    /// As [`Builtin::AtomicWait32`], for 64-bit values.
    AtomicWait64 "updraft_atomic_wait64" (I32, I64, I64, I64) -> I64;
}

/// Most that one turn of a loop, or one call of a function, takes of the budget. A turn through a long body with
/// many branches (an interpreter's loop) runs only a small part of it.
pub const MOST_WEIGHT: u32 = 100;

/// [`Builtin::Budget`]'s loop index at the entry of a function.
pub const FUNCTION_ENTRY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_codes_round_trip() {
        for code in TrapCode::ALL {
            assert_eq!(TrapCode::from_u32(*code as u32), Some(*code));
        }
        assert_eq!(TrapCode::from_u32(0), None);
    }

    #[test]
    fn local_references_tell_function_and_type() {
        let r = Ref::local(7, 3);
        assert_eq!(r.as_local(), Some(7));
        assert_eq!(r.0 as u32, Ref::local_tag(3));
        assert_eq!(Ref::NULL.as_local(), None);
    }
}
