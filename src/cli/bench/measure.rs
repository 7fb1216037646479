//! One measured run of a process.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a run took.
#[derive(Debug, Clone)]
pub struct Run {
    pub status: ExitStatus,
    pub wall: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Most bytes in memory at once.
    pub peak_memory: u64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command) -> io::Result<Run> {
    let start = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut read_stdout = child.stdout.take().expect("it is piped");
    let mut read_stderr = child.stderr.take().expect("it is piped");
    let stderr = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        read_stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stdout = Vec::new();
    read_stdout.read_to_end(&mut stdout)?;
    let (status, usage) = wait(child.id())?;
    let wall = start.elapsed();
    let stderr = stderr.join().map_err(|_| io::Error::other("a reader failed"))??;
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(Run {
        status,
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        // Linux counts in KiB; see getrusage(2).
        peak_memory: usage.ru_maxrss as u64 * 1024,
        stdout,
        stderr,
    })
}

/// Waits for a child, and takes what it used; the standard library gives only the status.
fn wait(pid: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    loop {
        let mut status = 0;
        // SAFETY: all zeros is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to the two locals alone. The child is ours, and nobody else waits for it.
        let waited = unsafe { libc::wait4(pid as i32, &raw mut status, 0, &raw mut usage) };
        if waited == pid as i32 {
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
