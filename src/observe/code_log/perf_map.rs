//! perf's map: a line for each piece of code, see perf-report(1) and linux/tools/perf/Documentation/jit-interface.txt.

use super::{Piece, Sink};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};

pub(super) struct PerfMap {
    file: File,
    /// What the file says: end and name, by address.
    known: BTreeMap<usize, (usize, String)>,
}

impl PerfMap {
    pub fn create() -> io::Result<PerfMap> {
        let path = format!("/tmp/perf-{}.map", std::process::id());
        // Of an earlier process with the same id. Whatever else is there is not written to.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(PerfMap { file, known: BTreeMap::new() })
    }
}

fn line(address: usize, end: usize, name: &str) -> String {
    format!("{address:x} {:x} {name}\n", end - address)
}

impl Sink for PerfMap {
    fn loaded(&mut self, pieces: &[Piece<'_>]) -> io::Result<()> {
        let mut replaced = false;
        let mut text = String::new();
        for piece in pieces {
            let end = piece.address + piece.code.len();
            let overlaps = self.known.range(..end).rev();
            let overlaps: Vec<usize> = overlaps
                .take_while(|(_, (known_end, _))| *known_end > piece.address)
                .map(|(address, _)| *address)
                .collect();
            replaced |= !overlaps.is_empty();
            overlaps.iter().for_each(|address| drop(self.known.remove(address)));
            self.known.insert(piece.address, (end, piece.name.clone()));
            text += &line(piece.address, end, &piece.name);
        }
        if replaced {
            self.file.set_len(0)?;
            self.file.rewind()?;
            let lines = self.known.iter();
            text = lines.map(|(address, (end, name))| line(*address, *end, name)).collect();
        }
        self.file.write_all(text.as_bytes())
    }

    fn freed(&mut self, _: usize) {
        // Samples of it may be in perf's buffer.
    }
}

#[cfg(test)]
mod tests {
    use super::{PerfMap, Piece, Sink};
    use crate::{CodeLog, Config, Engine, Linker, Module, Store, Strategy, Val};
    use std::io::Read;

    #[test]
    fn the_address_of_a_function_is_found_in_the_map() {
        CodeLog::PerfMap.start().expect("the map can be made");
        for (strategy, tier) in [(Strategy::Quick, "quick"), (Strategy::Full, "full")] {
            let engine = Engine::new(Config { strategy, ..Config::default() });
            let text = r#"(module (func $twice (export "f") (param i32) (result i32)
                (i32.shl (local.get 0) (i32.const 1))))"#;
            let module = Module::new(&engine, text).expect("it is valid");
            let mut store = Store::new(&engine).expect("memory");
            let instance =
                Linker::new(&engine).instantiate(&mut store, &module).expect("no imports");
            let f = instance.func(&mut store, "f").expect("it is exported");
            assert!(matches!(
                f.call(&mut store, &[Val::I32(4)]).expect("no trap")[..],
                [Val::I32(8)]
            ));
            let address = module.code.native(0) as u64;
            let path = format!("/tmp/perf-{}.map", std::process::id());
            let map = std::fs::read_to_string(&path).expect("the map is there");
            let hex = |text| u64::from_str_radix(text, 16).expect("a number");
            let found = map.lines().find_map(|line| {
                let (start, rest) = line.split_once(' ')?;
                let (size, name) = rest.split_once(' ')?;
                (hex(start)..hex(start) + hex(size)).contains(&address).then_some(name)
            });
            assert_eq!(found, Some(&*format!("twice [{tier}]")), "{map}");
        }
        let _ = std::fs::remove_file(format!("/tmp/perf-{}.map", std::process::id()));
    }

    #[test]
    fn memory_that_is_used_again_has_its_later_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = || {
            let mut text = String::new();
            file.reopen().and_then(|mut f| f.read_to_string(&mut text)).expect("it is text");
            text
        };
        let known = std::collections::BTreeMap::new();
        let mut map = PerfMap { file: file.reopen().expect("it is there"), known };
        let piece = |name: &str, address, len| Piece {
            name: name.into(),
            address,
            code: &[0x90; 64][..len],
            lines: Vec::new(),
        };
        map.loaded(&[piece("a [quick]", 0x1000, 32), piece("b [quick]", 0x1020, 32)])
            .expect("written");
        assert_eq!(read(), "1000 20 a [quick]\n1020 20 b [quick]\n");
        map.freed(0x1000);
        map.loaded(&[piece("c [full]", 0x1010, 8)]).expect("written");
        assert_eq!(read(), "1010 8 c [full]\n1020 20 b [quick]\n");
    }
}
