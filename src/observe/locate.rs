//! Where the frames of a backtrace are: byte offsets of machine code, and the source that DWARF tells.

use crate::error::{Frame, SourceLocation};
use crate::module::ModuleInner;
use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use wasmparser::{Parser, Payload};

/// Fills in what [`crate::Trap::locate`] promises.
pub(crate) fn locate(frames: &mut [Frame]) {
    #[cfg(feature = "llvm")]
    machine_code(frames);
    // One reading of DWARF for each run of frames of one module; nearly always there is one module.
    for run in frames.chunk_by_mut(|a, b| a.module.same(&b.module)) {
        let module = run[0].module.clone();
        sources(&module, run);
    }
}

/// Gives frames of compiled code their byte offsets.
#[cfg(feature = "llvm")]
fn machine_code(frames: &mut [Frame]) {
    use crate::tiers::{COMPILER_STACK, compiler_options};
    use std::collections::HashMap;
    use updraft_jit::{Compiler, Lines};

    if frames.iter().all(|frame| frame.offset.is_some()) {
        return;
    }
    // The lines of each piece of code that occurs, by the address of its recipe, which the frames keep.
    let mut known: HashMap<usize, Option<Lines>> = HashMap::new();
    let fill = || {
        for frame in frames.iter_mut().filter(|frame| frame.offset.is_none()) {
            let Some(place) = &frame.code else { continue };
            let Some((symbol, recipe)) = &place.made else { continue };
            let module = &frame.module;
            let lines = known.entry(std::sync::Arc::as_ptr(recipe) as usize).or_insert_with(|| {
                let options = compiler_options(module.engine.config());
                let lines = Compiler::new(options)
                    .and_then(|mut c| c.lines(&module.env, &module.bytes, recipe));
                lines.inspect_err(|error| tracing::debug!(%error, frame.func, "no lines")).ok()
            });
            let offset = lines.as_ref().and_then(|lines| lines.wasm_offset(*symbol, place.offset));
            frame.offset = offset;
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("updraft-locate".into())
            .stack_size(COMPILER_STACK)
            .spawn_scoped(scope, fill);
        if let Err(error) = thread {
            tracing::warn!(%error, "cannot start a thread; the backtrace has no offsets");
        }
    });
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Gives frames of a module their sources.
fn sources(module: &ModuleInner, frames: &mut [Frame]) {
    let Some((dwarf, code)) = dwarf(&module.bytes) else { return };
    let context = match addr2line::Context::from_dwarf(dwarf) {
        Ok(context) => context,
        Err(error) => {
            tracing::debug!(%error, "the module's DWARF cannot be read");
            return;
        }
    };
    for frame in frames {
        // Addresses in DWARF for WebAssembly are offsets in the code section.
        let Some(address) = frame.offset.and_then(|offset| u64::from(offset).checked_sub(code))
        else {
            continue;
        };
        let Ok(mut found) = context.find_frames(address).skip_all_loads() else { continue };
        while let Ok(Some(inlined)) = found.next() {
            let Some(location) = inlined.location else { continue };
            let (Some(file), Some(line)) = (location.file, location.line) else { continue };
            frame.source.push(SourceLocation {
                function: inlined
                    .function
                    .and_then(|name| name.demangle().ok().map(std::borrow::Cow::into_owned)),
                file: file.to_owned(),
                line,
                column: location.column.filter(|column| *column != 0),
            });
        }
    }
}

/// A module's source lines, in a copy of its DWARF.
#[cfg(feature = "llvm")]
pub(crate) struct Sources {
    context: addr2line::Context<gimli::EndianArcSlice<LittleEndian>>,
    /// Where the code section begins.
    code: u64,
}

#[cfg(feature = "llvm")]
impl Sources {
    /// If the module has any that can be read.
    pub fn of(bytes: &[u8]) -> Option<Sources> {
        let (sections, code) = dwarf_sections(bytes)?;
        let section = |id: SectionId| {
            let found = sections.iter().find(|section| section.0 == id.name());
            let data = found.map_or(&[][..], |section| section.1);
            Ok::<_, ()>(gimli::EndianArcSlice::new(data.into(), LittleEndian))
        };
        let context = addr2line::Context::from_dwarf(Dwarf::load(section).ok()?).ok()?;
        Some(Sources { context, code })
    }

    /// File and line of an offset in the module.
    pub fn line(&self, offset: u32) -> Option<(String, u32)> {
        let address = u64::from(offset).checked_sub(self.code)?;
        let location = self.context.find_location(address).ok()??;
        Some((location.file?.to_owned(), location.line?))
    }
}

/// The module's DWARF, if it has any, and where its code section begins.
fn dwarf(bytes: &[u8]) -> Option<(Dwarf<Slice<'_>>, u64)> {
    let (sections, code) = dwarf_sections(bytes)?;
    let section = |id: SectionId| {
        let found = sections.iter().find(|section| section.0 == id.name());
        Ok::<_, ()>(EndianSlice::new(found.map_or(&[][..], |section| section.1), LittleEndian))
    };
    Some((Dwarf::load(section).ok()?, code))
}

type NamedSection<'a> = (&'a str, &'a [u8]);

/// Names and contents of the module's DWARF sections, if it has any, and where its code section begins.
fn dwarf_sections(bytes: &[u8]) -> Option<(Vec<NamedSection<'_>>, u64)> {
    let (mut sections, mut code) = (Vec::new(), None);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::CodeSectionStart { unchecked_range, .. } => {
                code = Some(unchecked_range.start);
            }
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                sections.push((section.name(), section.data()));
            }
            _ => {}
        }
    }
    if sections.is_empty() {
        return None;
    }
    Some((sections, code?))
}
