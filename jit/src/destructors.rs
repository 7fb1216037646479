//! Destructors that libLLVM registers while it works.
//!
//! C++ registers the destructor of a function's static variable when the function first runs. `exit` runs the last registered
//! first, so these would run before [`crate::presence`] has waited for the threads that use the variables. The library's
//! link to `__cxa_atexit` is therefore replaced, once its own constructors have run, by a function that registers nothing: the
//! library stays until the process ends, and so may its variables.

use std::ffi::{CStr, c_int, c_void};

/// An entry of the dynamic section, and its tags (ELF-64 Object File Format, 12).
#[repr(C)]
#[derive(Clone, Copy)]
struct Dynamic {
    tag: u64,
    value: usize,
}

const DT_NULL: u64 = 0;
const DT_PLTRELSZ: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_JMPREL: u64 = 23;

/// A relocation, and its types that hold a function's address (System V ABI for AMD64, 4.4).
#[repr(C)]
struct Relocation {
    offset: usize,
    info: u64,
    addend: i64,
}

const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_JUMP_SLOT: u32 = 7;

/// A loaded library, as far as it concerns us.
#[derive(Default)]
struct Library {
    /// An address in it.
    inside: usize,
    base: usize,
    dynamic: usize,
    /// Read-only after relocation: start and end.
    relro: (usize, usize),
}

/// Has the library that contains the address `inside` register no destructors from now on. The number of links that were
/// replaced: none if the library has no such link, or a form that is not known.
///
/// # Safety
/// The library must be loaded, must never be unloaded, and no other thread may be in it.
pub(crate) unsafe fn keep_statics(inside: usize) -> usize {
    let mut library = Library { inside, ..Library::default() };
    // SAFETY: `visit` takes what `dl_iterate_phdr` gives, and a pointer to a `Library`.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut library).cast()) };
    if library.dynamic == 0 {
        return 0;
    }
    // SAFETY: the dynamic section, and what it refers to, are those of a loaded library.
    unsafe { replace(&library) }
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    library: *mut c_void,
) -> c_int {
    // SAFETY: as `dl_iterate_phdr` promises, and as `keep_statics` passes.
    let (info, library) = unsafe { (&*info, &mut *library.cast::<Library>()) };
    let base = info.dlpi_addr as usize;
    // SAFETY: as many headers as it says.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let start = base + header.p_vaddr as usize;
        (start, start + header.p_memsz as usize)
    };
    let holds = |header: &libc::Elf64_Phdr| {
        let (start, end) = range(header);
        header.p_type == libc::PT_LOAD && (start..end).contains(&library.inside)
    };
    if !headers.iter().any(holds) {
        return 0;
    }
    library.base = base;
    for header in headers {
        match header.p_type {
            libc::PT_DYNAMIC => library.dynamic = range(header).0,
            libc::PT_GNU_RELRO => library.relro = range(header),
            _ => {}
        }
    }
    1
}

/// # Safety
/// As for [`keep_statics`].
unsafe fn replace(library: &Library) -> usize {
    let (mut symbols, mut names) = (0, 0);
    let (mut tables, mut sizes) = ([0; 2], [0; 2]);
    let mut entry = library.dynamic as *const Dynamic;
    loop {
        // SAFETY: the section ends with an entry of tag DT_NULL.
        let Dynamic { tag, value } = unsafe { *entry };
        // The dynamic linker has made addresses of the offsets, or (musl) has not.
        let address = if value < library.base { value + library.base } else { value };
        match tag {
            DT_NULL => break,
            DT_SYMTAB => symbols = address,
            DT_STRTAB => names = address,
            DT_RELA => tables[0] = address,
            DT_RELASZ => sizes[0] = value,
            DT_JMPREL => tables[1] = address,
            DT_PLTRELSZ => sizes[1] = value,
            _ => {}
        }
        // SAFETY: it was not the last.
        entry = unsafe { entry.add(1) };
    }
    if symbols == 0 || names == 0 {
        return 0;
    }
    let mut replaced = 0;
    for (table, size) in tables.into_iter().zip(sizes).filter(|(table, _)| *table != 0) {
        let count = size / size_of::<Relocation>();
        // SAFETY: the table is as long as the dynamic section says.
        let relocations = unsafe { std::slice::from_raw_parts(table as *const Relocation, count) };
        for relocation in relocations {
            let (symbol, kind) = ((relocation.info >> 32) as usize, relocation.info as u32);
            if symbol == 0 || ![R_X86_64_JUMP_SLOT, R_X86_64_GLOB_DAT].contains(&kind) {
                continue;
            }
            // SAFETY: the relocation names a symbol of the table, and the symbol a string.
            let name = unsafe {
                let symbol = &*(symbols as *const libc::Elf64_Sym).add(symbol);
                CStr::from_ptr((names + symbol.st_name as usize) as *const _)
            };
            if name == c"__cxa_atexit" {
                let slot = library.base + relocation.offset;
                // SAFETY: the slot holds the address of a function of this type, and nobody calls it now.
                replaced += usize::from(unsafe { set(slot, library.relro) });
            }
        }
    }
    replaced
}

/// Writes the address of [`register_nothing`] to a slot. Whether it could.
///
/// # Safety
/// It must be a slot for such an address, that nobody uses now.
unsafe fn set(slot: usize, relro: (usize, usize)) -> bool {
    // SAFETY: it only reads a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let start = slot & !(page - 1);
    let protect = |protection| {
        // SAFETY: the page of the slot is data of the library; it gets back the protection it had.
        unsafe { libc::mprotect(start as *mut c_void, page, protection) == 0 }
    };
    let fixed = start >= relro.0 & !(page - 1) && start + page <= relro.1.next_multiple_of(page);
    if fixed && !protect(libc::PROT_READ | libc::PROT_WRITE) {
        return false;
    }
    // SAFETY: as the caller promises; the page can be written to.
    unsafe { (slot as *mut usize).write(register_nothing as *const () as usize) };
    if fixed {
        protect(libc::PROT_READ);
    }
    true
}

extern "C" fn register_nothing(_: *mut c_void, _: *mut c_void, _: *mut c_void) -> c_int {
    0
}
