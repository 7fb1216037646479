//! What a run records for later: a summary, a trace, a report, a profile. They are written however the program ends.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use updraft::{
    Observer, ProfileConfig, ProfileFormat, Profiler, Terminator, TraceRecorder,
    UnknownProfileFormat, Watch,
};

/// A file for a profile; its extension says in which form.
#[derive(Debug, Clone)]
pub struct ProfileFile(PathBuf, ProfileFormat);

pub fn profile_file(text: &str) -> Result<ProfileFile, UnknownProfileFormat> {
    let path = PathBuf::from(text);
    let format = ProfileFormat::of(&path)?;
    Ok(ProfileFile(path, format))
}

/// What is to be recorded, and where it goes.
pub struct Record {
    recorder: Option<TraceRecorder>,
    profiler: Option<Profiler>,
    summary: Option<PathBuf>,
    trace: Option<PathBuf>,
    report: Option<PathBuf>,
    profiles: Vec<ProfileFile>,
}

impl Record {
    pub fn new(
        summary: &Option<PathBuf>,
        trace: &Option<PathBuf>,
        report: &Option<PathBuf>,
        profiles: &[ProfileFile],
        config: impl FnOnce() -> ProfileConfig,
    ) -> Record {
        let (trace, report, profiles) = (trace.clone(), report.clone(), profiles.to_vec());
        let timed = profiles.iter().any(|file| file.1 == ProfileFormat::Firefox);
        let profiler = (!profiles.is_empty()).then(|| {
            let mut config = config();
            config.times = timed;
            Profiler::new(config)
        });
        let recorder = (trace.is_some() || report.is_some()).then(TraceRecorder::new);
        Record { recorder, profiler, summary: summary.clone(), trace, report, profiles }
    }

    /// What is to hear the tiers' events, if a trace is wanted.
    pub fn recorder(&self) -> Option<&TraceRecorder> {
        self.recorder.as_ref()
    }

    /// Whether the program is to be watched.
    pub fn is_wanted(&self) -> bool {
        self.recorder.is_some() || self.profiler.is_some()
    }

    /// Makes the files before the program runs: what cannot be written is not worth the wait. None of them is the program's, or another's.
    pub fn begin(self, program: &Path) -> Result<Recording, String> {
        let mut files = Files(vec![("program", program.to_owned())]);
        let Record { recorder, profiler, summary, trace, report, profiles } = self;
        let summary = summary.map(|path| files.create("summary", path)).transpose()?;
        let trace = trace.map(|path| files.create("trace", path)).transpose()?;
        let report = report.map(|path| files.create("report", path)).transpose()?;
        let profiles = profiles
            .into_iter()
            .map(|ProfileFile(path, format)| Ok((format, files.create("profile", path)?)))
            .collect::<Result<_, String>>()?;
        Ok(Recording { recorder, profiler, summary, trace, report, profiles })
    }
}

/// Files that are in use, by what they are.
struct Files(Vec<(&'static str, PathBuf)>);

impl Files {
    /// Makes a file, which is no other's.
    fn create(&mut self, what: &'static str, path: PathBuf) -> Result<(PathBuf, File), String> {
        let file = self.open(&path).map_err(|error| cannot_write(what, &path, &error))?;
        self.0.push((what, path.clone()));
        Ok((path, file))
    }

    /// Opens a file. What is in it goes only when it is known to be none of the others.
    fn open(&self, path: &Path) -> io::Result<File> {
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        let about = file.metadata()?;
        if about.is_file() {
            if let Some((other, _)) = self.0.iter().find(|(_, known)| leads_to(known, &about)) {
                return Err(io::Error::other(format!("the {other} is the same file")));
            }
            file.set_len(0)?;
        }
        Ok(file)
    }
}

/// Whether a path leads to this file, by the system's numbers.
pub fn leads_to(path: &Path, file: &Metadata) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
}

/// What is being recorded.
pub struct Recording {
    recorder: Option<TraceRecorder>,
    profiler: Option<Profiler>,
    summary: Option<(PathBuf, File)>,
    trace: Option<(PathBuf, File)>,
    report: Option<(PathBuf, File)>,
    profiles: Vec<(ProfileFormat, (PathBuf, File))>,
}

impl Recording {
    /// Begins to watch the program, if there is something to record.
    pub fn watch(&self, observer: &Observer) -> Option<Watch> {
        let wanted = self.recorder.is_some() || self.profiler.is_some();
        wanted.then(|| observer.watch(self.recorder.as_ref(), self.profiler.as_ref()))
    }

    /// Whether calls of functions are to be counted: traces and reports show them.
    pub fn counts_calls(&self) -> bool {
        self.recorder.is_some()
    }

    /// Writes it all, and gives the errors. What cannot be written does not keep the rest from being written.
    pub fn end(
        self,
        about: &serde_json::Map<String, serde_json::Value>,
        summary: impl FnOnce() -> String,
    ) -> Vec<String> {
        let mut failed = Vec::new();
        let mut note = |what: &str, path: &Path, written: io::Result<()>| {
            failed.extend(written.err().map(|error| cannot_write(what, path, &error)));
        };
        if let Some((path, mut file)) = self.summary {
            note("summary", &path, file.write_all(summary().as_bytes()));
        }
        if let (Some(recorder), Some((path, mut file))) = (&self.recorder, self.trace) {
            note("trace", &path, recorder.write_chrome(&mut file, about));
        }
        if let (Some(recorder), Some((path, mut file))) = (&self.recorder, self.report) {
            let mut trace = Vec::new();
            let page = recorder
                .write_chrome(&mut trace, about)
                .and_then(|()| updraft::report(&trace[..]).map_err(io::Error::other));
            note("report", &path, page.and_then(|page| file.write_all(page.as_bytes())));
        }
        if let Some(profiler) = self.profiler {
            let program = about.get("program").and_then(serde_json::Value::as_str);
            for (format, (path, mut file)) in self.profiles {
                let written = profiler.write(format, program.unwrap_or_default(), &mut file);
                note("profile", &path, written);
            }
        }
        failed
    }
}

fn cannot_write(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot write the {what} {}: {error}", path.display())
}

/// Signals that ask the command to end. They end the program first, so that what was recorded is written; a second one ends the command
/// at once.
#[derive(Clone)]
pub struct Interrupts {
    state: Arc<(OnceLock<Terminator>, AtomicI32)>,
}

impl Interrupts {
    const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

    /// Catches them, also for all threads that the calling one starts from here on.
    pub fn catch() -> Interrupts {
        let interrupts = Interrupts { state: Arc::new((OnceLock::new(), AtomicI32::new(0))) };
        // SAFETY: all zeros is a valid set, which is made empty and filled; blocking is for this thread.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in Interrupts::SIGNALS {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            set
        };
        let told = interrupts.clone();
        let wait = move || {
            loop {
                let mut signal = 0;
                // SAFETY: waits for one of a set of blocked signals.
                if unsafe { libc::sigwait(&raw const set, &raw mut signal) } != 0 {
                    continue;
                }
                let (terminator, came) = &*told.state;
                match terminator.get() {
                    Some(terminator) if came.swap(signal, Ordering::AcqRel) == 0 => {
                        terminator.terminate();
                    }
                    // SAFETY: ends the process, as the signal would have done.
                    _ => unsafe { libc::_exit(super::run::INTERRUPTED + signal) },
                }
            }
        };
        let thread = std::thread::Builder::new().name("updraft-signals".into()).spawn(wait);
        if let Err(error) = thread {
            tracing::warn!(%error, "cannot start the thread that waits for signals");
            // SAFETY: as above.
            unsafe {
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
            };
        }
        interrupts
    }

    /// From here on, the first signal ends this program.
    pub fn end(&self, terminator: Terminator) {
        let _ = self.state.0.set(terminator);
    }

    /// The signal that came, if one did.
    pub fn came(&self) -> Option<i32> {
        Some(self.state.1.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }
}
