//! The interpreter within narrow limits.

use std::sync::LazyLock;
use updraft::{Config, Engine, Strategy};

pub static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    Engine::new(Config {
        strategy: Strategy::Interp,
        max_memory: 16 << 20,
        value_stack: 1 << 20,
        native_stack: 1 << 20,
        ..Config::default()
    })
});
