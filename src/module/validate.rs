//! Validation of function bodies, on all cores when there is enough to do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use wasmparser::{
    FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, ValidatorResources,
    WasmFeatures,
};

/// Below this many bytes of code a second thread costs more than it saves.
const PARALLEL_BYTES: usize = 256 << 10;
/// Functions that a validating thread takes at a time.
const CHUNK: usize = 64;

type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// Validates a body. Tells whether it makes tail calls.
fn validate_body(
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    features: WasmFeatures,
) -> Result<bool, wasmparser::Error> {
    let mut reader = body.get_binary_reader();
    let (bytes, start) = (body.as_bytes(), reader.original_position());
    validator.read_locals(&mut reader)?;
    reader.set_features(features);
    let mut tail_calls = false;
    while !reader.eof() {
        let at = reader.original_position();
        // `return_call`, `return_call_indirect` and `return_call_ref`.
        tail_calls |= matches!(bytes[(at - start) as usize], 0x12 | 0x13 | 0x15);
        reader.visit_operator(&mut validator.visitor(at))??;
    }
    reader.finish_expression(&validator.visitor(reader.original_position()))?;
    Ok(tail_calls)
}

/// Validates all bodies. Tells whether any makes tail calls. The error that is reported is that of the lowest offset among
/// those found.
pub(crate) fn validate_bodies(
    bodies: Vec<Body<'_>>,
    features: WasmFeatures,
) -> Result<bool, wasmparser::Error> {
    let bytes: usize = bodies.iter().map(|(_, body)| body.as_bytes().len()).sum();
    let threads = match bytes {
        0..PARALLEL_BYTES => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(8),
    };
    if threads == 1 {
        let mut allocations = FuncValidatorAllocations::default();
        let mut tail_calls = false;
        for (func, body) in bodies {
            let mut validator = func.into_validator(allocations);
            tail_calls |= validate_body(&mut validator, &body, features)?;
            allocations = validator.into_allocations();
        }
        return Ok(tail_calls);
    }
    let next = AtomicUsize::new(0);
    let tail_calls = AtomicBool::new(false);
    let failure: Mutex<Option<wasmparser::Error>> = Mutex::new(None);
    let cells: Vec<Mutex<Option<Body<'_>>>> =
        bodies.into_iter().map(|body| Mutex::new(Some(body))).collect();
    let work = || {
        let mut allocations = FuncValidatorAllocations::default();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= cells.len() {
                return;
            }
            for cell in &cells[start..cells.len().min(start + CHUNK)] {
                let Some((func, body)) = cell.lock().expect("no panics hold it").take() else {
                    continue;
                };
                let mut validator = func.into_validator(std::mem::take(&mut allocations));
                match validate_body(&mut validator, &body, features) {
                    Ok(false) => {}
                    Ok(true) => tail_calls.store(true, Ordering::Relaxed),
                    Err(e) => {
                        let mut failure = failure.lock().expect("no panics hold it");
                        if failure.as_ref().is_none_or(|old| e.offset() < old.offset()) {
                            *failure = Some(e);
                        }
                        next.store(cells.len(), Ordering::Relaxed);
                        return;
                    }
                }
                allocations = validator.into_allocations();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    failure.into_inner().expect("no panics hold it").map_or(Ok(tail_calls.into_inner()), Err)
}
