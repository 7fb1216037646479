//! gdb's interface for JIT compilers: an object file in memory for each piece of code, in a list that gdb reads ("JIT Compilation Interface" in
//! its manual).
//!
//! The objects have no code in them, but symbols, lines and frames of the code where it is. Frames are described at each
//! instruction, so that gdb walks through all of them.

use super::{Line, Piece, Sink};
use crate::vm::sys::{Framing, Framings};
use gimli::write::{
    Address, AttributeValue, CallFrameInstruction, CommonInformationEntry, DebugFrame, DwarfUnit,
    EndianVec, FrameDescriptionEntry, FrameTable, LineProgram, LineString, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian, X86_64, constants};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ptr::null_mut;

#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    file: *const u8,
    file_bytes: u64,
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

// Weak: another JIT compiler in the process may have them, too, and share them.
std::arch::global_asm!(
    ".pushsection .text.__jit_debug_register_code, \"ax\", @progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, @function",
    "__jit_debug_register_code:",
    "ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor, \"aw\", @progbits",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, @object",
    ".balign 8",
    "__jit_debug_descriptor:",
    ".long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, . - __jit_debug_descriptor",
    ".popsection",
);

unsafe extern "C" {
    /// gdb has a breakpoint here.
    fn __jit_debug_register_code();
    static mut __jit_debug_descriptor: Descriptor;
}

/// An object that gdb knows.
struct Registered {
    entry: Box<Entry>,
    _file: Box<[u8]>,
}

// SAFETY: the pointers are those of a list that is changed under the lock of the log alone.
unsafe impl Send for Registered {}

#[derive(Default)]
pub(super) struct Gdb {
    /// By the address of the code.
    registered: BTreeMap<usize, Registered>,
}

impl Sink for Gdb {
    fn loaded(&mut self, pieces: &[Piece<'_>]) -> io::Result<()> {
        for piece in pieces {
            let file = object(piece).map_err(io::Error::other)?.into_boxed_slice();
            let (next, previous) = (null_mut(), null_mut());
            let file_bytes = file.len() as u64;
            let mut entry = Box::new(Entry { next, previous, file: file.as_ptr(), file_bytes });
            // SAFETY: under the lock of the log; entries stay where they are until they are taken out of the list.
            unsafe {
                let descriptor = &raw mut __jit_debug_descriptor;
                let new: *mut Entry = &raw mut *entry;
                (*new).next = (*descriptor).first;
                if let Some(first) = (*descriptor).first.as_mut() {
                    first.previous = new;
                }
                (*descriptor).first = new;
                tell(new, REGISTER);
            }
            self.registered.insert(piece.address, Registered { entry, _file: file });
        }
        Ok(())
    }

    fn freed(&mut self, address: usize) {
        let Some(mut gone) = self.registered.remove(&address) else { return };
        // SAFETY: as above.
        unsafe {
            let old: *mut Entry = &raw mut *gone.entry;
            match (*old).previous.as_mut() {
                Some(previous) => previous.next = (*old).next,
                None => __jit_debug_descriptor.first = (*old).next,
            }
            if let Some(next) = (*old).next.as_mut() {
                next.previous = (*old).previous;
            }
            tell(old, UNREGISTER);
        }
    }
}

/// Tells gdb of a change.
///
/// # Safety
/// The lock of the log is held, and the entry lives.
unsafe fn tell(entry: *mut Entry, action: u32) {
    // SAFETY: by contract.
    unsafe {
        let descriptor = &raw mut __jit_debug_descriptor;
        (*descriptor).relevant = entry;
        (*descriptor).action = action;
        __jit_debug_register_code();
    }
}

/// The object file of a piece of code.
fn object(piece: &Piece<'_>) -> gimli::write::Result<Vec<u8>> {
    let (address, size) = (piece.address as u64, piece.code.len() as u64);
    let mut elf = Elf::default();
    let text = elf.section(b".text", Kind::Code { address, size }, &[]);
    for (name, data) in dwarf(piece)? {
        elf.section(name.as_bytes(), Kind::Plain, &data);
    }
    elf.section(b".debug_frame", Kind::Plain, &frames(piece)?);
    Ok(elf.finish(&piece.name, text, address, size))
}

const ENCODING: Encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 8 };

/// The sections that tell lines, and the function's name.
fn dwarf(piece: &Piece<'_>) -> gimli::write::Result<Vec<(&'static str, Vec<u8>)>> {
    let (address, size) = (Address::Constant(piece.address as u64), piece.code.len() as u64);
    let mut dwarf = DwarfUnit::new(ENCODING);
    let text = |text: &str| LineString::String(text.bytes().filter(|byte| *byte != 0).collect());
    let root_file = piece.lines.first().map_or("wasm", |line| &*line.file).to_owned();
    let mut program =
        LineProgram::new(ENCODING, LineEncoding::default(), text(""), None, text(&root_file), None);
    let directory = program.default_directory();
    let mut files = HashMap::new();
    program.begin_sequence(Some(address));
    for Line { offset, file, line } in &piece.lines {
        let id = *files
            .entry(file.clone())
            .or_insert_with(|| program.add_file(text(file), directory, None));
        let row = program.row();
        row.address_offset = u64::from(*offset);
        row.file = id;
        row.line = u64::from(*line);
        program.generate_row();
    }
    program.end_sequence(size);
    let first = piece.lines.first().map(|line| u64::from(line.line));
    dwarf.unit.line_program = program;
    let root = dwarf.unit.root();
    let name =
        |text: &str| AttributeValue::String(text.bytes().filter(|byte| *byte != 0).collect());
    let unit = dwarf.unit.get_mut(root);
    unit.set(constants::DW_AT_name, name(&root_file));
    unit.set(constants::DW_AT_producer, name("updraft"));
    unit.set(constants::DW_AT_language, AttributeValue::Language(constants::DW_LANG_C99));
    unit.set(constants::DW_AT_low_pc, AttributeValue::Address(address));
    unit.set(constants::DW_AT_high_pc, AttributeValue::Udata(size));
    unit.set(constants::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    let function = dwarf.unit.add(root, constants::DW_TAG_subprogram);
    let function = dwarf.unit.get_mut(function);
    function.set(constants::DW_AT_name, name(&piece.name));
    function.set(constants::DW_AT_low_pc, AttributeValue::Address(address));
    function.set(constants::DW_AT_high_pc, AttributeValue::Udata(size));
    function.set(constants::DW_AT_external, AttributeValue::Flag(true));
    if let Some(line) = first {
        function.set(constants::DW_AT_decl_line, AttributeValue::Udata(line));
    }
    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections)?;
    let mut written = Vec::new();
    sections.for_each(|id, data| {
        if !data.slice().is_empty() {
            written.push((id.name(), data.slice().to_vec()));
        }
        Ok::<_, gimli::write::Error>(())
    })?;
    Ok(written)
}

/// Where the caller's frame is, at each instruction.
fn frames(piece: &Piece<'_>) -> gimli::write::Result<Vec<u8>> {
    const WORD: i32 = 8;
    let mut table = FrameTable::default();
    let mut common = CommonInformationEntry::new(ENCODING, 1, -WORD as i8, X86_64::RA);
    common.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, WORD));
    common.add_instruction(CallFrameInstruction::Offset(X86_64::RA, -WORD));
    let common = table.add_cie(common);
    let address = Address::Constant(piece.address as u64);
    let mut function = FrameDescriptionEntry::new(address, piece.code.len() as u32);
    for (offset, framing) in Framings::of(piece.code).changes() {
        let (register, distance, saved) = match framing {
            Framing::Bare => (X86_64::RSP, WORD, false),
            Framing::Pushed => (X86_64::RSP, 2 * WORD, true),
            Framing::Framed => (X86_64::RBP, 2 * WORD, true),
        };
        function.add_instruction(*offset, CallFrameInstruction::Cfa(register, distance));
        function.add_instruction(
            *offset,
            if saved {
                CallFrameInstruction::Offset(X86_64::RBP, -2 * WORD)
            } else {
                CallFrameInstruction::SameValue(X86_64::RBP)
            },
        );
    }
    table.add_fde(common, function);
    let mut section = DebugFrame::from(EndianVec::new(LittleEndian));
    table.write_debug_frame(&mut section)?;
    Ok(section.slice().to_vec())
}

/// An ELF file in the making: "Executable and Linkable Format", System V ABI, for x86-64.
#[derive(Default)]
struct Elf {
    /// Headers of sections, but for the first, which is empty; with the contents behind the file's header.
    headers: Vec<[u64; 10]>,
    names: Vec<u8>,
    contents: Vec<u8>,
}

enum Kind {
    /// Code that is in memory, and not in the file.
    Code {
        address: u64,
        size: u64,
    },
    Plain,
    Symbols {
        names: u64,
        locals: u64,
    },
    Strings,
}

const ELF_HEADER: usize = 64;
const SYMBOL: u64 = 24;

impl Elf {
    /// Adds a section; returns its index.
    fn section(&mut self, name: &[u8], kind: Kind, contents: &[u8]) -> u64 {
        const PROGBITS: u64 = 1;
        const SYMTAB: u64 = 2;
        const STRTAB: u64 = 3;
        const NOBITS: u64 = 8;
        const ALLOCATED_AND_EXECUTABLE: u64 = 6;
        if self.names.is_empty() {
            self.names.push(0);
        }
        self.contents.resize(self.contents.len().next_multiple_of(8), 0);
        let at = (ELF_HEADER + self.contents.len()) as u64;
        let name_at = self.names.len() as u64;
        self.names.extend(name);
        self.names.push(0);
        self.contents.extend(contents);
        let bytes = contents.len() as u64;
        // Name, type, flags, address, offset, size, link, info, alignment, size of an entry.
        self.headers.push(match kind {
            Kind::Code { address, size } => {
                [name_at, NOBITS, ALLOCATED_AND_EXECUTABLE, address, at, size, 0, 0, 1, 0]
            }
            Kind::Plain => [name_at, PROGBITS, 0, 0, at, bytes, 0, 0, 1, 0],
            Kind::Symbols { names, locals } => {
                [name_at, SYMTAB, 0, 0, at, bytes, names, locals, 8, SYMBOL]
            }
            Kind::Strings => [name_at, STRTAB, 0, 0, at, bytes, 0, 0, 1, 0],
        });
        self.headers.len() as u64
    }

    /// Adds the function's symbol, and gives the bytes.
    fn finish(mut self, name: &str, text: u64, address: u64, size: u64) -> Vec<u8> {
        const GLOBAL_FUNCTION: u8 = 0x12;
        let mut strings = vec![0];
        strings.extend(name.bytes().filter(|byte| *byte != 0));
        strings.push(0);
        let mut symbols = vec![0; SYMBOL as usize];
        symbols.extend(1u32.to_le_bytes());
        symbols.extend([GLOBAL_FUNCTION, 0]);
        symbols.extend((text as u16).to_le_bytes());
        symbols.extend(address.to_le_bytes());
        symbols.extend(size.to_le_bytes());
        let names = self.section(b".strtab", Kind::Strings, &strings);
        self.section(b".symtab", Kind::Symbols { names, locals: 1 }, &symbols);
        // Its own name is the last that it holds.
        let mut names = self.names.clone();
        names.extend(b".shstrtab\0");
        let names_index = self.section(b".shstrtab", Kind::Strings, &names);
        self.contents.resize(self.contents.len().next_multiple_of(8), 0);

        let mut file = Vec::with_capacity(ELF_HEADER + self.contents.len() + 64 * 16);
        // 64 bits, little-endian, version 1, System V.
        file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        const EXECUTABLE: u16 = 2;
        const X86_64_MACHINE: u16 = 62;
        file.extend(EXECUTABLE.to_le_bytes());
        file.extend(X86_64_MACHINE.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        let headers_at = (ELF_HEADER + self.contents.len()) as u64;
        for word in [0, 0, headers_at] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        let count = self.headers.len() as u16 + 1;
        for half in [ELF_HEADER as u16, 0, 0, 64, count, names_index as u16] {
            file.extend(half.to_le_bytes());
        }
        file.extend(&self.contents);
        for header in std::iter::once(&[0; 10]).chain(&self.headers) {
            let [name, kind, flags, address, at, size, link, info, alignment, entry] = *header;
            file.extend((name as u32).to_le_bytes());
            file.extend((kind as u32).to_le_bytes());
            for word in [flags, address, at, size] {
                file.extend(word.to_le_bytes());
            }
            file.extend((link as u32).to_le_bytes());
            file.extend((info as u32).to_le_bytes());
            for word in [alignment, entry] {
                file.extend(word.to_le_bytes());
            }
        }
        file
    }
}
