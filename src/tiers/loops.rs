//! Which loop to enter while it runs.

use super::{Tier, tuning};
use crate::module::Module;
use std::ops::Range;
use updraft_jit::env::ModuleEnv;
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// The loop to make an entry for while loop `index` of the function runs; none if all that would do were asked for.
///
/// An entry of full code has copies of the loops around it, so the outermost loop whose header is passed now and then is
/// best. Quick code has no copies, so there it is the loop itself.
pub(super) fn best_entry(module: &Module, func: u32, index: u32, tier: Tier) -> Option<u32> {
    let code = &module.code;
    let wanted = |index: &u32| !code.is_loop_requested(func, *index, tier);
    if tier == Tier::Full {
        let least = code.loop_samples(func, index) / tuning::OUTER_LOOP_ONE_IN;
        let often = |outer: &u32| code.loop_samples(func, *outer) > least;
        let outer = around(&module.env, &module.bytes, func, index);
        if let Some(outer) = outer.into_iter().filter(often).find(wanted) {
            return Some(outer);
        }
    }
    Some(index).filter(wanted)
}

/// The loops around a loop, the outermost first.
fn around(env: &ModuleEnv, bytes: &[u8], func: u32, index: u32) -> Vec<u32> {
    let Range { start, end } = env.body(func);
    let body = FunctionBody::new(BinaryReader::new(&bytes[start..end], start as u64));
    let Ok(mut reader) = body.get_operators_reader() else { return Vec::new() };
    // Per open block: the loop's ordinal, if it is one.
    let mut blocks: Vec<Option<u32>> = Vec::new();
    let mut loops = 0;
    while let Ok(operator) = reader.read() {
        match operator {
            Operator::Loop { .. } if loops == index => {
                return blocks.into_iter().flatten().collect();
            }
            Operator::Loop { .. } => {
                blocks.push(Some(loops));
                loops += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                blocks.push(None);
            }
            Operator::End => {
                blocks.pop();
            }
            _ => {}
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    #[test]
    fn loops_around_a_loop_are_found() {
        let text = "(module (func) (func (param i32)
            (loop (block (loop (if (local.get 0) (then (loop))))) (loop (block)))
            (loop)))";
        let module = Module::new(&Engine::default(), text).expect("it is valid");
        let found: Vec<_> =
            (0..6).map(|index| around(&module.env, &module.bytes, 1, index)).collect();
        let expected: [&[u32]; 6] = [&[], &[0], &[0, 1], &[0], &[], &[]];
        assert_eq!(found, expected);
    }
}
