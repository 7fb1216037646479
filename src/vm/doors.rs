//! The way from compiled code to builtins, which notes where the code was left: see [`walk`](super::walk).
//!
//! In a tail call of a builtin, what is noted is the caller's caller.

use super::builtins;
use std::arch::naked_asm;
use std::mem::offset_of;
use updraft_jit::abi::{Builtin, ThreadState, VmContext};

macro_rules! doors {
    ($($builtin:ident $name:ident;)*) => {
        $(#[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                // No builtin has a parameter in either register.
                "mov rax, [rdi + {thread}]",
                "mov r11, [rsp]",
                "mov [rax + {pc}], r11",
                "mov [rax + {fp}], rbp",
                "jmp {builtin}",
                thread = const offset_of!(VmContext, thread),
                pc = const offset_of!(ThreadState, exit_pc),
                fp = const offset_of!(ThreadState, exit_fp),
                builtin = sym builtins::$name,
            )
        })*

        /// Where compiled code calls a builtin; `None` for those that do not come back.
        pub(super) fn address(builtin: Builtin) -> Option<usize> {
            Some(match builtin {
                $(Builtin::$builtin => $name as *const () as usize,)*
                Builtin::Raise | Builtin::RaisePending => return None,
            })
        }
    };
}

doors! {
    Enter enter;
    CallIndirect call_indirect;
    TailCallIndirect tail_call_indirect;
    CallRef call_ref;
    TailCallRef tail_call_ref;
    Throw throw;
    ThrowRef throw_ref;
    Caught caught;
    Catch catch;
    TailPending tail_pending;
    Budget budget;
    FirstCall first_call;
    MemoryGrow memory_grow;
    MemoryInit memory_init;
    MemoryCopy memory_copy;
    MemoryFill memory_fill;
    DataDrop data_drop;
    TableGet table_get;
    TableSet table_set;
    TableGrow table_grow;
    TableFill table_fill;
    TableCopy table_copy;
    TableInit table_init;
    ElemDrop elem_drop;
    GlobalSetRef global_set_ref;
    AtomicNotify atomic_notify;
    AtomicWait32 atomic_wait32;
    AtomicWait64 atomic_wait64;
}
