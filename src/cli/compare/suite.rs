//! The programs that engines are compared by.

use std::path::{Path, PathBuf};

/// A program of the suite, which lies in a folder beneath the suite's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Program {
    pub name: &'static str,
    folder: Folder,
    /// Whether it imports `wasi.thread-spawn` and a shared memory.
    pub threads: bool,
    /// An amount of work that takes native code about 25 ms.
    pub amount: u32,
    /// Whether its loops can be vectorised: native code is then further ahead.
    pub vectors: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Folder {
    Kernels,
    Programs,
    Examples,
}

impl Program {
    const fn new(name: &'static str, folder: Folder, amount: u32) -> Program {
        Program { name, folder, threads: false, amount, vectors: false }
    }

    const fn threaded(name: &'static str, folder: Folder, amount: u32) -> Program {
        Program { threads: true, ..Program::new(name, folder, amount) }
    }

    const fn vectors(name: &'static str, amount: u32) -> Program {
        Program { vectors: true, ..Program::new(name, Folder::Kernels, amount) }
    }

    /// The built program, or with another ending its source.
    pub fn file(&self, suite: &Path, ending: &str) -> PathBuf {
        let folder = match self.folder {
            Folder::Kernels => "benches/kernels",
            Folder::Programs => "benches/programs",
            Folder::Examples => "examples/threads",
        };
        suite.join(folder).join(self.name).with_extension(ending)
    }

    pub fn is_kernel(&self) -> bool {
        self.folder == Folder::Kernels
    }

    /// Arguments for a little work, with which outputs are compared.
    pub fn small(&self) -> Vec<String> {
        let text: &[&str] = match self.name {
            "fib" => &["15"],
            "nbody" => &["500"],
            "stop" => &["wait", "1"],
            "spawnstorm" => &["20", "0", "1"],
            "pingpong" => &["100"],
            "lz" | "msort" => &["6", "1", "2"],
            _ => &["6"],
        };
        text.iter().map(|&argument| argument.to_owned()).collect()
    }

    /// With what code it ends.
    pub fn exit_code(&self) -> i32 {
        if self.name == "stop" { 3 } else { 0 }
    }
}

/// Those with an amount of work as their first argument, and repeats as their second.
pub const PROGRAMS: [Program; 19] = [
    Program::new("fib", Folder::Kernels, 34),
    Program::new("sieve", Folder::Kernels, 12),
    Program::vectors("matmul", 80),
    Program::new("nbody", Folder::Kernels, 300_000),
    Program::new("sha256", Folder::Kernels, 6000),
    Program::new("mandelbrot", Folder::Kernels, 700),
    Program::new("fannkuch", Folder::Kernels, 12),
    Program::new("spectral", Folder::Kernels, 900),
    Program::vectors("saxpy", 2000),
    Program::new("btree", Folder::Programs, 400),
    Program::new("calc", Folder::Programs, 450),
    Program::new("deflate", Folder::Programs, 35),
    Program::new("json", Folder::Programs, 160),
    Program::new("raytrace", Folder::Programs, 600),
    Program::new("regex", Folder::Programs, 50),
    Program::new("script", Folder::Programs, 120),
    Program::new("wordcount", Folder::Programs, 200),
    Program::threaded("lz", Folder::Programs, 45),
    Program::threaded("msort", Folder::Programs, 110),
];

/// Those that measure one thing about threads.
pub const SPAWN: Program = Program::threaded("spawnstorm", Folder::Examples, 0);
pub const WAIT: Program = Program::threaded("pingpong", Folder::Examples, 0);
pub const STOP: Program = Program::threaded("stop", Folder::Programs, 0);

/// A program of [`PROGRAMS`].
pub fn program(name: &str) -> Option<Program> {
    PROGRAMS.into_iter().find(|program| program.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_there() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for program in PROGRAMS.into_iter().chain([SPAWN, WAIT, STOP]) {
            for ending in ["wasm", "c"] {
                assert!(program.file(repository, ending).is_file(), "{}.{ending}", program.name);
            }
        }
    }
}
