//! Profiles: where the threads of a program spend their time, in all tiers, with whole stacks.
//!
//! A profile counts samples ([`super::sampler`]). Time on a processor counts: in wasm, in the runtime, and in host functions while they run. Time
//! parked in `memory.atomic.wait`, in host functions that block, or waiting for a compile is left out, unless it is asked for.

#[cfg(all(test, feature = "llvm"))]
mod exact;
mod firefox;
mod flame;
mod stacks;

pub(crate) use stacks::Reader;
#[cfg(feature = "llvm")]
pub(crate) use stacks::readable;

use stacks::Stacks;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What a profile counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileConfig {
    /// Samples of each thread in a second, from 1 to [`ProfileConfig::MOST_RATE`].
    pub rate: u32,
    /// Whether time counts in which a thread is parked: in waits, in host functions that block, and while it waits for a compile.
    pub waits: bool,
    /// Whether it is kept when each sample was taken, which [`ProfileFormat::Firefox`] needs: 16 bytes a sample.
    pub times: bool,
}

impl ProfileConfig {
    /// The highest rate, in samples a second.
    pub const MOST_RATE: u32 = 10_000;
}

impl Default for ProfileConfig {
    fn default() -> Self {
        ProfileConfig { rate: 1000, waits: false, times: true }
    }
}

/// The forms of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProfileFormat {
    /// A flame graph, a picture (SVG) in which a browser zooms and searches, with a colour for each tier.
    FlameGraph,
    /// The processed format of the Firefox Profiler (profiler.firefox.com), JSON, with a lane for each thread.
    Firefox,
    /// Text, a line for each stack: its frames, the outermost first, with semicolons between them, a space, and the number of samples.
    Folded,
}

impl ProfileFormat {
    /// File extensions, and what they stand for.
    pub const EXTENSIONS: [(&str, ProfileFormat); 4] = [
        ("svg", ProfileFormat::FlameGraph),
        ("json", ProfileFormat::Firefox),
        ("folded", ProfileFormat::Folded),
        ("txt", ProfileFormat::Folded),
    ];

    /// The format that a file's extension stands for.
    ///
    /// # Errors
    /// If it stands for none.
    pub fn of(path: &Path) -> Result<ProfileFormat, UnknownProfileFormat> {
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned());
        extension.unwrap_or_default().parse()
    }
}

impl FromStr for ProfileFormat {
    type Err = UnknownProfileFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ProfileFormat::EXTENSIONS.iter().find(|(extension, _)| *extension == text);
        known.map(|(_, format)| *format).ok_or_else(|| UnknownProfileFormat(text.to_owned()))
    }
}

/// A file extension that stands for no [`ProfileFormat`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown form of profile {0:?}; known are .svg (flame graph), .json (Firefox Profiler), .folded and .txt (folded stacks)"
)]
pub struct UnknownProfileFormat(String);

/// Gathers a profile of a program. Clones share it.
///
/// [`Observer::watch`](crate::Observer::watch) begins to gather, and [`Profiler::write`] writes what there is.
#[derive(Clone, Debug)]
pub struct Profiler {
    config: ProfileConfig,
    started: SystemTime,
    stacks: Arc<Mutex<Stacks>>,
}

impl Profiler {
    /// A profile without samples.
    #[must_use]
    pub fn new(config: ProfileConfig) -> Profiler {
        let rate = config.rate.clamp(1, ProfileConfig::MOST_RATE);
        let config = ProfileConfig { rate, ..config };
        Profiler { config, started: SystemTime::now(), stacks: Arc::default() }
    }

    /// What it counts.
    #[must_use]
    pub fn config(&self) -> ProfileConfig {
        self.config
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.stacks().samples()
    }

    /// Writes the profile. `program` is its title.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(
        &self,
        format: ProfileFormat,
        program: &str,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let stacks = self.stacks();
        let mut out = io::BufWriter::new(out);
        match format {
            ProfileFormat::FlameGraph => flame::graph(&stacks, self.config, program, &mut out)?,
            ProfileFormat::Folded => flame::folded(&stacks, &mut out)?,
            ProfileFormat::Firefox => firefox::write(self, &stacks, program, &mut out)?,
        }
        io::Write::flush(&mut out)
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.config.rate
    }

    pub(crate) fn stacks(&self) -> MutexGuard<'_, Stacks> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
