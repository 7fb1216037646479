//! From samples to counted stacks: what the addresses on a thread's stacks mean.

use super::ProfileConfig;
use crate::interp;
use crate::module::{Item, Module};
use crate::observe::sampler::{Outside, Sample, Seen};
use crate::threads::ThreadId;
use crate::tiers::Tier;
use crate::vm::sys::Framings;
use crate::vm::walk::{Continued, Step};
use std::collections::HashMap;
use std::time::Duration;

/// Samples whose times are kept, at most: two hours of one thread, at a thousand a second.
const MOST_TIMES: usize = 8_000_000;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Tier(Tier),
    /// A host function that runs.
    Host,
    /// A host function that blocks, or a wait.
    Wait,
    /// A wait for a compile.
    Compile,
    /// What is none of these.
    Other,
}

/// A frame, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    pub label: String,
    pub kind: Kind,
}

/// A stack: a frame on top of another stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The stack below, by place in the list; [`ROOT`] for the outermost frame.
    pub below: u32,
    pub frame: u32,
}

pub(super) const ROOT: u32 = u32::MAX;

/// When a stack was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub at: Duration,
    pub thread: ThreadId,
    pub stack: u32,
}

/// Counted stacks.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    pub(super) frames: Vec<Frame>,
    frame_ids: HashMap<Frame, u32>,
    /// Those below come before those on top.
    pub(super) nodes: Vec<Node>,
    node_ids: HashMap<Node, u32>,
    /// By stack: the samples that ended in it.
    pub(super) counts: Vec<u64>,
    pub(super) times: Vec<Timed>,
    /// Samples whose times were not kept.
    pub(super) untimed: u64,
}

impl Stacks {
    pub fn samples(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn frame(&mut self, label: String, kind: Kind) -> u32 {
        let frame = Frame { label, kind };
        if let Some(id) = self.frame_ids.get(&frame) {
            return *id;
        }
        let id = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.frame_ids.insert(frame, id);
        id
    }

    /// The stack of these frames, the innermost first.
    fn stack(&mut self, frames: &[u32]) -> u32 {
        frames.iter().rev().fold(ROOT, |below, frame| {
            let node = Node { below, frame: *frame };
            let Stacks { nodes, node_ids, counts, .. } = self;
            *node_ids.entry(node).or_insert_with(|| {
                nodes.push(node);
                counts.push(0);
                nodes.len() as u32 - 1
            })
        })
    }

    fn time(&mut self, timed: Timed) {
        if self.times.len() < MOST_TIMES {
            self.times.push(timed);
        } else {
            self.untimed += 1;
        }
    }

    /// The frames of a stack, the outermost first.
    pub(super) fn frames_of(&self, stack: u32) -> Vec<u32> {
        let mut frames = Vec::new();
        let mut at = stack;
        while at != ROOT {
            let Node { below, frame } = self.nodes[at as usize];
            frames.push(frame);
            at = below;
        }
        frames.reverse();
        frames
    }
}

/// What an address in machine code is.
#[derive(Clone, Copy)]
struct Machine {
    frame: u32,
    loop_entry: bool,
}

/// Reads the samples of one program. Its code is not freed meanwhile.
pub(crate) struct Reader {
    module: Module,
    config: ProfileConfig,
    machine: HashMap<usize, Option<Machine>>,
    bytecode: HashMap<usize, Option<u32>>,
    /// By first byte of the code.
    framings: HashMap<usize, Framings>,
    /// Frames of functions, by index and tier.
    functions: HashMap<(u32, Tier), u32>,
    /// When threads were seen outside of wasm, on a processor and off it, for samples that they still owe.
    outside: HashMap<ThreadId, [Vec<Duration>; 2]>,
    found: Vec<u32>,
}

impl Reader {
    pub fn new(module: Module, config: ProfileConfig) -> Reader {
        module.code.add_instance();
        Reader {
            module,
            config,
            machine: HashMap::new(),
            bytecode: HashMap::new(),
            framings: HashMap::new(),
            functions: HashMap::new(),
            outside: HashMap::new(),
            found: Vec::new(),
        }
    }

    /// Adds what was seen.
    pub fn add(&mut self, stacks: &mut Stacks, seen: &Seen<'_>) {
        match seen {
            Seen::Outside(thread, at, outside) => {
                let running = matches!(outside, Outside::Host { running: true, .. });
                if self.config.times && (running || self.config.waits) {
                    let times = self.outside.entry(*thread).or_default();
                    let times = &mut times[usize::from(!running)];
                    if times.len() < MOST_TIMES {
                        times.push(*at);
                    }
                }
            }
            Seen::Taken(sample) => self.taken(stacks, sample),
        }
    }

    fn taken(&mut self, stacks: &mut Stacks, sample: &Sample<'_>) {
        let leaf = match sample.outside {
            None => None,
            Some(Outside::Host { running, import }) => {
                if !running && !self.config.waits {
                    return;
                }
                let name = import.map_or(String::new(), |import| self.import_name(import.into()));
                let kind = if running { Kind::Host } else { Kind::Wait };
                Some(stacks.frame(format!("[host call{name}]"), kind))
            }
            Some(_) if !self.config.waits => return,
            Some(Outside::Waiting) => Some(stacks.frame("[wait]".into(), Kind::Wait)),
            Some(Outside::Compile) => Some(stacks.frame("[compile]".into(), Kind::Compile)),
        };
        self.found.clear();
        self.found.extend(leaf);
        let called = usize::from(sample.called_since(&self.module.code.interp));
        self.resolve(stacks, sample.steps().skip(called));
        if sample.cut {
            let cut = stacks.frame("[truncated]".into(), Kind::Other);
            self.found.push(cut);
        }
        if self.found.is_empty() {
            let frame = stacks.frame("[runtime]".into(), Kind::Other);
            self.found.push(frame);
        }
        let stack = stacks.stack(&self.found);
        stacks.counts[stack as usize] += u64::from(sample.weight);
        if !self.config.times {
            return;
        }
        let running = match sample.outside {
            None => {
                return stacks.time(Timed { at: sample.at, thread: sample.thread, stack });
            }
            Some(outside) => matches!(outside, Outside::Host { running: true, .. }),
        };
        let times = &mut self.outside.entry(sample.thread).or_default()[usize::from(!running)];
        let count = usize::from(sample.weight).min(times.len());
        for at in times.drain(..count) {
            stacks.time(Timed { at, thread: sample.thread, stack });
        }
    }

    /// The labels of a stack's frames, the innermost first.
    #[cfg(all(test, feature = "llvm"))]
    pub fn names(&mut self, stacks: &mut Stacks, steps: impl Iterator<Item = Step>) -> Vec<String> {
        self.found.clear();
        self.resolve(stacks, steps);
        self.found.iter().map(|frame| stacks.frames[*frame as usize].label.clone()).collect()
    }

    /// Finds a stack's frames, the innermost first.
    fn resolve(&mut self, stacks: &mut Stacks, steps: impl Iterator<Item = Step>) {
        let mut continued = Continued::default();
        for step in steps {
            match step {
                Step::Edge => continued = Continued::default(),
                Step::Bytecode(ip) => {
                    let frame = self.bytecode(stacks, ip);
                    self.found.extend(frame);
                }
                Step::Returned(pc) => {
                    self.machine(stacks, pc.wrapping_sub(1), &mut continued);
                }
                Step::Interrupted { pc, top } => {
                    self.machine(stacks, pc, &mut continued);
                    if let Some(caller) = self.caller_on_top(pc, top) {
                        self.machine(stacks, caller.wrapping_sub(1), &mut continued);
                    }
                }
            }
        }
    }

    fn bytecode(&mut self, stacks: &mut Stacks, ip: usize) -> Option<u32> {
        if let Some(known) = self.bytecode.get(&ip) {
            return *known;
        }
        let place = interp::place_of(&self.module.code.interp, ip);
        let frame = place.map(|(func, _)| self.function(stacks, func, Tier::Interp));
        self.bytecode.insert(ip, frame);
        frame
    }

    fn machine(&mut self, stacks: &mut Stacks, pc: usize, continued: &mut Continued) {
        let known = self.machine.get(&pc).copied();
        let machine = known.unwrap_or_else(|| {
            let place = self.module.code.find(pc);
            let machine = place.map(|place| {
                let frame = self.function(stacks, place.func, place.tier());
                Machine { frame, loop_entry: place.is_loop_entry() }
            });
            self.machine.insert(pc, machine);
            machine
        });
        if let Some(Machine { frame, loop_entry }) = machine
            && !continued.by(loop_entry)
        {
            self.found.push(frame);
        }
    }

    fn caller_on_top(&mut self, pc: usize, top: [usize; 2]) -> Option<usize> {
        let (start, _) = self.module.code.bounds(pc)?;
        if !self.framings.contains_key(&start) {
            let (_, framings) = self.module.code.framings(pc)?;
            self.framings.insert(start, framings);
        }
        self.framings[&start].at(pc - start).on_top(top)
    }

    fn function(&mut self, stacks: &mut Stacks, func: u32, tier: Tier) -> u32 {
        let module = &self.module;
        *self.functions.entry((func, tier)).or_insert_with(|| {
            let name = readable(&module.function_name(func));
            stacks.frame(format!("{name} [{tier}]"), Kind::Tier(tier))
        })
    }

    fn import_name(&self, func: u32) -> String {
        let import = self.module.imports.iter().find(|i| i.item == Item::Func(func));
        import.map_or(String::new(), |import| format!(" {}", import.name))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.module.code.remove_instance();
    }
}

/// A function's name as its source has it, in one line and without semicolons, which separate frames.
pub(crate) fn readable(name: &str) -> String {
    let plain = if let Ok(name) = rustc_demangle::try_demangle(name) {
        // Without the hash.
        format!("{name:#}")
    } else {
        let symbol = name.starts_with("_Z").then(|| cpp_demangle::Symbol::new(name).ok()).flatten();
        symbol.and_then(|symbol| symbol.demangle().ok()).unwrap_or_else(|| name.to_owned())
    };
    plain.replace(';', ":").replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn names_are_readable_and_separable() {
        assert_eq!(readable("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(readable("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(readable("<[u8; 4]>::f\n"), "<[u8: 4]>::f ");
        assert_eq!(readable("main"), "main");
    }
}
