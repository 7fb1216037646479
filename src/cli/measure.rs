//! One measured run of a process.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a run took.
#[derive(Debug, Clone)]
pub struct Run {
    pub status: ExitStatus,
    /// Whether it was killed when its time was over.
    pub timed_out: bool,
    pub wall: Duration,
    /// From the last bytes on standard output to the end of the process.
    pub after_output: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
    /// Most bytes in memory at once, or what this process has, if that is more: the kernel counts the process before it becomes the
    /// command. [`peak_memory`] is exact.
    pub peak_memory: u64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs a command to its end, or kills it after `limit`.
///
/// # Errors
/// If it cannot be started.
pub fn run(mut command: Command, limit: Option<Duration>) -> io::Result<Run> {
    let start = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let mut read_stdout = child.stdout.take().expect("it is piped");
    let mut read_stderr = child.stderr.take().expect("it is piped");
    let stderr = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        read_stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let (ended, wait_for_end) = mpsc::channel::<()>();
    let watch = limit.map(|limit| {
        std::thread::spawn(move || {
            let late = wait_for_end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                // SAFETY: a plain call. The process is reaped only after this thread has ended, so the id means it.
                unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            }
            late
        })
    });
    let (mut stdout, mut last_output) = (Vec::new(), start);
    let mut chunk = vec![0; 64 << 10];
    loop {
        match read_stdout.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                stdout.extend_from_slice(&chunk[..n]);
                last_output = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    await_end(pid)?;
    let end = Instant::now();
    drop(ended);
    let failed = |_| io::Error::other("a thread of the measurement failed");
    let timed_out = watch.map_or(Ok(false), |watch| watch.join().map_err(failed))?;
    let (status, usage) = reap(pid as i32)?;
    let stderr = stderr.join().map_err(failed)??;
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(Run {
        status,
        timed_out,
        wall: end - start,
        after_output: end - last_output,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        // Linux counts in KiB; see getrusage(2).
        peak_memory: usage.ru_maxrss as u64 * 1024,
        stdout,
        stderr,
    })
}

/// The most bytes that a command has in memory at once, to its end. Its output is thrown away.
///
/// A process that becomes a command has been as large as who made it, and the kernel remembers that. So a shell makes it, which is
/// small, and ends; this process inherits the orphan, and with it what it used.
///
/// # Errors
/// If it cannot be started or fails.
pub fn peak_memory(command: &Command) -> io::Result<u64> {
    // SAFETY: a plain call.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The orphan waits for a line before it becomes the command, so that it outlives the shell, which would reap it.
    let script =
        "exec 3<&0; { read go <&3; exec \"$@\" 3<&- </dev/null; } >/dev/null 2>&1 & echo $!";
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut go = shell.stdin.take().expect("it is piped");
    let mut text = String::new();
    shell.stdout.take().expect("it is piped").read_to_string(&mut text)?;
    shell.wait()?;
    let pid: i32 =
        text.trim().parse().map_err(|_| io::Error::other("the shell started nothing"))?;
    go.write_all(b"\n")?;
    let (status, usage) = reap(pid)?;
    if !status.success() {
        return Err(io::Error::other(format!("{status}")));
    }
    Ok(usage.ru_maxrss as u64 * 1024)
}

/// Waits until a child has ended, and leaves it to be reaped.
fn await_end(pid: u32) -> io::Result<()> {
    loop {
        // SAFETY: all zeros is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: writes to the local alone.
        if unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits for a child, and takes what it used; the standard library gives only the status.
fn reap(pid: i32) -> io::Result<(ExitStatus, libc::rusage)> {
    loop {
        let mut status = 0;
        // SAFETY: all zeros is a valid `rusage`.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: writes to the two locals alone. The child is ours, and nobody else waits for it.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_run_is_told_whole() {
        let run = run(shell("echo out; echo err >&2; exit 3"), None).expect("it runs");
        assert_eq!((run.status.code(), run.timed_out), (Some(3), false));
        assert_eq!((&run.stdout[..], &run.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
        assert!(run.after_output <= run.wall);
    }

    #[test]
    fn a_run_ends_with_its_time() {
        let run = run(shell("exec sleep 600"), Some(Duration::from_millis(20))).expect("it runs");
        assert!(run.timed_out && !run.status.success());
    }

    #[test]
    fn peak_memory_is_that_of_the_command() {
        // Greater than what a small program needs, and in this process when the command is made.
        let ballast = vec![1_u8; 64 << 20];
        let small = peak_memory(&shell("exec true")).expect("it runs");
        assert!(0 < small && small < 32 << 20, "{small} bytes");
        assert!(ballast.iter().all(|byte| *byte == 1));
        assert!(peak_memory(&shell("exit 1")).is_err());
        assert!(peak_memory(&Command::new("/nonexistent")).is_err());
    }
}
