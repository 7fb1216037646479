//! Function names from the custom section `name` (core specification, appendix "Custom Sections").

use wasmparser::{BinaryReader, Name, NameSectionReader};

/// Names by function index. A malformed section gives what could be read of it.
#[derive(Debug, Default)]
pub(crate) struct Names {
    functions: std::collections::HashMap<u32, Box<str>>,
}

impl Names {
    pub fn read(section: &[u8]) -> Names {
        let mut names = Names::default();
        for subsection in NameSectionReader::new(BinaryReader::new(section, 0)) {
            let Ok(subsection) = subsection else { break };
            if let Name::Function(map) = subsection {
                names.functions.extend(
                    map.into_iter().map_while(Result::ok).map(|n| (n.index, n.name.into())),
                );
            }
        }
        names
    }

    pub fn function(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_section_gives_no_names_and_no_panic() {
        for bytes in [&b""[..], b"\x01", b"\x01\xff\xff", b"\x01\x03\x02\x00\x09a"] {
            assert_eq!(Names::read(bytes).function(0), None);
        }
    }
}
