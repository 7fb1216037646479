//! Validation of function bodies, on all cores when there is enough to do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmparser::{FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources};

/// Below this many bytes of code a second thread costs more than it saves.
const PARALLEL_BYTES: usize = 256 << 10;
/// Functions that a validating thread takes at a time.
const CHUNK: usize = 64;

type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// Validates all bodies. The error that is reported is that of the lowest offset among those found.
pub(crate) fn validate_bodies(bodies: Vec<Body<'_>>) -> Result<(), wasmparser::Error> {
    let bytes: usize = bodies.iter().map(|(_, body)| body.as_bytes().len()).sum();
    let threads = match bytes {
        0..PARALLEL_BYTES => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(8),
    };
    if threads == 1 {
        let mut allocations = FuncValidatorAllocations::default();
        for (func, body) in bodies {
            let mut validator = func.into_validator(allocations);
            validator.validate(&body)?;
            allocations = validator.into_allocations();
        }
        return Ok(());
    }
    let next = AtomicUsize::new(0);
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
                if let Err(e) = validator.validate(&body) {
                    let mut failure = failure.lock().expect("no panics hold it");
                    if failure.as_ref().is_none_or(|old| e.offset() < old.offset()) {
                        *failure = Some(e);
                    }
                    next.store(cells.len(), Ordering::Relaxed);
                    return;
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
    failure.into_inner().expect("no panics hold it").map_or(Ok(()), Err)
}
