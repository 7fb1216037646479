/// What this process holds, as /proc tells.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub threads: usize,
    pub maps: usize,
    pub files: usize,
    /// Bytes in memory.
    pub resident: usize,
    pub address_space: usize,
}

impl Held {
    pub fn now() -> Held {
        let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
        };
        Held {
            threads: count("/proc/self/task"),
            maps: std::fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            files: count("/proc/self/fd"),
            resident: bytes("VmRSS:"),
            address_space: bytes("VmSize:"),
        }
    }
}
