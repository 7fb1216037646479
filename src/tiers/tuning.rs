//! Every knob of tiering: unit, value, and where the number comes from.

/// What a budget is refilled to, in wasm operators. At about 1.5 ns for an interpreted operator the slow path runs
/// every 30 us and costs less than 1 %.
pub(crate) const QUANTUM: u32 = 20_000;

/// The quantum under the random strategy: small, so that tiers change often.
pub(crate) const RANDOM_QUANTUM: u32 = 300;

/// Heat, in interpreted operators per byte of the body, from which quick code is asked for. Quick code costs 1.7 us
/// per byte (about 1 100 interpreted operators) to make; asking a little before the break-even pays since a worker makes it.
pub(crate) const QUICK_HEAT_PER_BYTE: u32 = 800;

/// As [`QUICK_HEAT_PER_BYTE`], for full code, which costs 20-40 us per byte (about 20 000 operators). A quarter of
/// the break-even: the worker's core would mostly be idle otherwise.
pub(crate) const FULL_HEAT_PER_BYTE: u32 = 5_000;

/// Bodies smaller than this count as this many bytes: a request costs at least 0.24 ms (quick) or 0.95 ms (full).
pub(crate) const SMALLEST_BODY: u64 = 120;

/// An operator in quick code takes about a sixth of the time that it takes in the interpreter.
pub(crate) const QUICK_HEAT_DIVISOR: u64 = 6;

/// Bodies larger than this many bytes never get full code: about 20 000 IR instructions, past which LLVM's code
/// generation grows faster than the function (4-8 s for 63 500 instructions), and cannot be interrupted.
pub(crate) const LARGEST_FULL_BODY: usize = 24_000;

/// Functions that one quick job compiles at most: batches of 8 small functions halve the cost of one.
pub(crate) const QUICK_BATCH: usize = 8;

/// Bytes of the bodies of such a batch: what is larger takes so long (1.7 us per byte) that its neighbours would wait, and gains
/// nothing by them.
pub(crate) const QUICK_BATCH_BYTES: usize = 4_000;

/// Full code is asked for at so small a part of its break-even: in the queue, this is what it stands behind quick code whose heat
/// is the same share of its own threshold.
pub(crate) const FULL_URGENCY_DIVISOR: u64 = 4;

/// A loop around the running one is entered rather than it if at least one in so many budgets was spent there. It is entered somewhat later, but takes
/// no copies of the loops around the inner one, which make up half of such an entry's code.
pub(crate) const OUTER_LOOP_ONE_IN: u32 = 256;

/// Budgets that must be spent elsewhere in a function before one of its loops may be taken to be over.
pub(crate) const LOOP_IS_OVER: u64 = 64;

/// Seconds after which a compile thread without work ends.
pub(crate) const WORKER_IDLE_SECONDS: u64 = 5;

/// What a call from the interpreter to machine code takes of the budget: at 20 ns about as much as so many operators.
pub(crate) const NATIVE_CALL_WEIGHT: u16 = 12;

/// Heat of all functions together, in interpreted operators, from which anything is compiled: about 10 ms. The load of LLVM costs
/// 20 ms of a processor, so what ends sooner had better not begin it.
pub(crate) const FIRST_HEAT: u64 = 7_000_000;

/// Under the random strategy, one in so many slow paths changes the tier.
pub(crate) const RANDOM_ONE_IN: u64 = 4;

/// When the tiered strategy changes tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// What a thread may spend between two looks at its heat, in wasm operators. More than 0.
    pub quantum: u32,
    /// Heat, in interpreted operators per byte of a function's body, from which quick code is asked for.
    pub quick_heat_per_byte: u32,
    /// The same for full code.
    pub full_heat_per_byte: u32,
    /// Heat of all functions of an engine together, in interpreted operators, before which nothing is compiled: the first compile
    /// loads LLVM.
    pub first_heat: u64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            quantum: QUANTUM,
            quick_heat_per_byte: QUICK_HEAT_PER_BYTE,
            full_heat_per_byte: FULL_HEAT_PER_BYTE,
            first_heat: FIRST_HEAT,
        }
    }
}

impl Tuning {
    /// Everything that runs for more than a moment is compiled, quick and then full: for tests, whose programs are short.
    pub const EAGER: Tuning =
        Tuning { quantum: 1, quick_heat_per_byte: 0, full_heat_per_byte: 1, first_heat: 0 };
}
