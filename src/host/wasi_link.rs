//! Ties WASI preview 1 to the linker.

use crate::error::Error;
use crate::func::{Caller, HostFunc};
use crate::host::wasi::{
    FUNCTIONS, GuestMemory, Host, MODULE, WasiCtx, WasiExit, WasiFunc, WasiType,
};
use crate::linker::{Linker, OnDemand};
use crate::val::FuncType;
use std::sync::Arc;
use wasmparser::ValType;

/// Defines `wasi_snapshot_preview1`. All stores that are instantiated from the linker share the context: one table of files, as
/// the threads of a program do.
pub fn add_wasi(linker: &mut Linker, wasi: WasiCtx) {
    let wasi = Arc::new(wasi);
    let names = FUNCTIONS.iter().map(|function| function.name).collect();
    linker
        .raw_funcs(OnDemand::new(MODULE, names, move |index| host_func(&FUNCTIONS[index], &wasi)));
}

fn host_func(function: &'static WasiFunc, wasi: &Arc<WasiCtx>) -> HostFunc {
    let wasi = wasi.clone();
    let types = |types: &[WasiType]| types.iter().map(|ty| value_type(*ty)).collect::<Vec<_>>();
    let ty = FuncType::new(types(function.params), types(function.results));
    let params = function.params.len();
    let func = move |caller: &mut Caller<'_>, slots: &mut [u64]| {
        if function.needs_memory {
            check_memory(caller, function.name)?;
        }
        let mut args = [0; 16];
        for ((arg, slot), ty) in args.iter_mut().zip(&*slots).zip(function.params) {
            // The high half of an i32's slot is unspecified.
            *arg = if *ty == WasiType::I32 { slot & 0xffff_ffff } else { *slot };
        }
        match (function.call)(&wasi, &Guest { caller }, &args[..params]) {
            Ok(Some(errno)) => {
                slots[0] = u64::from(errno);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(WasiExit::Exit(code)) => Err(Error::Exit(code as i32)),
            Err(WasiExit::Stopped) => Err(Error::Stopped(caller.stopped())),
        }
    };
    HostFunc { ty, func: Box::new(func), outside: false }
}

/// Addresses of preview 1 have 32 bits and lie in memory 0 of the caller.
fn check_memory(caller: &Caller<'_>, name: &str) -> Result<(), Error> {
    let wrong = match caller.linear_memory() {
        Some(memory) if !memory.current_type().memory64 => return Ok(()),
        Some(_) => "the memory of the calling module has 64-bit addresses",
        None => "the caller has no memory",
    };
    Err(Error::host(format!("{MODULE}.{name} needs a memory with 32-bit addresses, but {wrong}")))
}

fn value_type(ty: WasiType) -> ValType {
    match ty {
        WasiType::I32 => ValType::I32,
        WasiType::I64 => ValType::I64,
    }
}

/// The calling instance, as WASI needs it.
struct Guest<'a, 'b> {
    caller: &'a Caller<'b>,
}

impl Host for Guest<'_, '_> {
    fn memory(&self) -> GuestMemory {
        match self.caller.linear_memory() {
            // SAFETY: the bytes are accessible, and stay so while the instance, and so this call, lives.
            Some(memory) => unsafe { GuestMemory::new(memory.base(), memory.len()) },
            // SAFETY: no byte is accessible.
            None => unsafe { GuestMemory::new(std::ptr::null_mut(), 0) },
        }
    }

    fn stopped(&self) -> bool {
        self.caller.checkpoint()
    }
}
