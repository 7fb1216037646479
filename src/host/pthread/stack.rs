//! The stack in linear memory ("auxiliary stack"), divided among the threads as WAMR divides it.
//!
//! The linker reserves one such stack, for the first thread. With at most N others, it is cut into N + 1 shares: the first
//! thread keeps the highest, and each new one gets a free share, to which its instance's `__stack_pointer` is set.

use super::lock;
use crate::module::{ConstOp, Item, Module};
use crate::vm::InstanceData;
use std::sync::Mutex;
use wasmparser::ValType;

/// `WASM_THREAD_AUX_STACK_SIZE_MIN`, in bytes.
const LEAST: u32 = 256;
/// The linker aligns stacks so.
const ALIGNMENT: u32 = 16;

/// How a module's stack is divided.
#[derive(Debug)]
pub(super) struct AuxStack {
    /// The global `__stack_pointer`.
    pointer: u32,
    /// Where the first thread's share begins; stacks grow downwards.
    top: u32,
    /// Bytes of a share.
    share: u32,
    /// Which shares are taken, the first thread's not among them.
    taken: Mutex<Vec<bool>>,
}

/// The value with which a constant global of type i32 begins.
fn constant(module: &Module, index: u32) -> Option<u32> {
    let env = &module.env;
    let defined = index.checked_sub(env.imported_globals)?;
    match &*module.global_inits[defined as usize] {
        [ConstOp::Value(value)] if env.globals[index as usize].content_type == ValType::I32 => {
            Some(*value as u32)
        }
        _ => None,
    }
}

fn exported(module: &Module, name: &str) -> Option<u32> {
    match module.export(name) {
        Some(Item::Global(index)) => Some(index),
        _ => None,
    }
}

/// The end of static data and stack.
pub(super) fn heap_base(module: &Module) -> Option<u32> {
    constant(module, exported(module, "__heap_base")?)
}

impl AuxStack {
    /// Finds the stack, as WAMR's loader does: between the exported constants `__data_end` and `__heap_base`, or from 0 on; its pointer is
    /// the first mutable global that begins there.
    pub fn divide(module: &Module, max_threads: u32) -> Result<AuxStack, String> {
        let data_end = exported(module, "__data_end").and_then(|index| constant(module, index));
        let (Some(data_end), Some(heap_base)) = (data_end, heap_base(module)) else {
            return Err("the module does not export the globals __data_end and __heap_base, which tell where \
                        its stack is; link with --export=__data_end --export=__heap_base"
                .into());
        };
        let is_pointer = |index: &u32| {
            let ty = module.env.globals[*index as usize];
            let begins = constant(module, *index);
            ty.mutable && begins.is_some_and(|top| top > 0 && top <= heap_base)
        };
        let globals = module.env.imported_globals..module.env.globals.len() as u32;
        let named = exported(module, "__stack_pointer").filter(is_pointer);
        let found = named.or_else(|| globals.clone().find(is_pointer));
        let Some((pointer, top)) = found.and_then(|index| Some((index, constant(module, index)?)))
        else {
            return Err("the module has no global that could be its __stack_pointer".into());
        };
        let size = if top > data_end { top - data_end } else { top };
        let shares = max_threads.saturating_add(1);
        let share = size / shares / ALIGNMENT * ALIGNMENT;
        if share < LEAST {
            return Err(format!(
                "the module's stack of {size} bytes is too small for {shares} threads of at least {LEAST} bytes each; \
                 link with a larger -z stack-size, or run with a lower --max-threads"
            ));
        }
        let top = top / ALIGNMENT * ALIGNMENT;
        let taken = Mutex::new(vec![false; max_threads as usize]);
        Ok(AuxStack { pointer, top, share, taken })
    }

    /// Takes a free share.
    pub fn take(&self) -> Result<u32, String> {
        let mut taken = lock(&self.taken);
        let Some(free) = taken.iter().position(|taken| !taken) else {
            return Err(format!(
                "all {} shares of the module's stack are taken (--max-threads)",
                taken.len()
            ));
        };
        taken[free] = true;
        Ok(free as u32)
    }

    pub fn give_back(&self, share: u32) {
        lock(&self.taken)[share as usize] = false;
    }

    /// Sets an instance's stack pointer to the top of a share.
    pub fn enter(&self, instance: &InstanceData, share: u32) {
        let top = self.top - self.share * (share + 1);
        instance.global(self.pointer).set([top.into(), 0]);
    }
}
