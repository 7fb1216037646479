//! When code changes its tier.

use std::fmt;
use std::str::FromStr;

/// Which tiers run, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Everything in the interpreter.
    Interp,
    /// Each function is compiled at O0 when it is first called.
    Quick,
    /// Each function is compiled with optimisation when it is first called.
    Full,
    /// Interpreter first, then quick and full code for what is hot.
    #[default]
    Tiered,
    /// Tiers change at random points, for tests.
    Random {
        /// Seed of the choices.
        seed: u64,
    },
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strategy::Interp => f.write_str("interp"),
            Strategy::Quick => f.write_str("quick"),
            Strategy::Full => f.write_str("full"),
            Strategy::Tiered => f.write_str("tiered"),
            Strategy::Random { seed } => write!(f, "random:{seed}"),
        }
    }
}

/// The text is not a strategy.
#[derive(Debug, thiserror::Error)]
#[error("expected interp, quick, full, tiered or random[:SEED], not {0:?}")]
pub struct UnknownStrategy(String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let unknown = || UnknownStrategy(text.to_owned());
        Ok(match text.split_once(':') {
            None => match text {
                "interp" => Strategy::Interp,
                "quick" => Strategy::Quick,
                "full" => Strategy::Full,
                "tiered" => Strategy::Tiered,
                "random" => Strategy::Random { seed: 0 },
                _ => return Err(unknown()),
            },
            Some(("random", seed)) => {
                Strategy::Random { seed: seed.parse().map_err(|_| unknown())? }
            }
            Some(_) => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_round_trip_through_their_names() {
        for name in ["interp", "quick", "full", "tiered", "random:0", "random:77"] {
            assert_eq!(name.parse::<Strategy>().unwrap().to_string(), name);
        }
        for name in ["", "fast", "random:x", "full:1"] {
            assert!(name.parse::<Strategy>().is_err(), "{name}");
        }
    }
}
