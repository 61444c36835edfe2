//! Programs on the daemon's machine: their environment, their process group, and how they end.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

/// The variables of the daemon's environment that a program gets: where programs are, and where cloud clients keep
/// their credentials. The others may hold secrets for the daemon alone.
pub const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"];

/// Most bytes kept of a program's errors.
const ERRORS_LIMIT_BYTES: u64 = 16 * 1024;

/// A program with [`ENVIRONMENT`], its own process group and no input.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().process_group(0).stdin(Stdio::null());
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// The process group of a program: the program, and everything that it has started.
#[derive(Clone, Copy, Debug)]
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group of the process `id`, created by [`command`]; `None` for one that has ended.
    pub fn of(id: Option<u32>) -> ProcessGroup {
        ProcessGroup(id.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// Sends a signal to the whole group; a group that is gone needs none.
    pub fn signal(self, signal: Signal) {
        let _ = self.0.map(|group| killpg(group, signal));
    }
}

/// How long a program may take, and how much it may print.
pub struct ProcessLimits {
    pub time: Duration,
    pub output_bytes: u64,
}

/// The output of a program, and how it ended.
pub struct Ran {
    /// The output may be a secret.
    pub output: Zeroizing<Vec<u8>>,
    /// Of a program that failed; empty otherwise.
    pub errors: Vec<u8>,
    pub status: ExitStatus,
}

/// Why a program has no valid output. It was ended, with everything that it had started.
#[derive(Debug)]
pub enum Failed {
    Start(io::Error),
    Read(io::Error),
    TooLong,
    TooMuch,
}

/// Runs a program to its end, and blocks until then.
pub fn run(mut command: Command, limits: &ProcessLimits) -> Result<Ran, Failed> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(Failed::Start)?;
    let group = ProcessGroup::of(Some(child.id()));
    let limit = limits.output_bytes;
    let (sender, ended) = mpsc::channel();
    let follow = move || {
        // After the time limit no thread waits for the program.
        let _ = sender.send(follow(child, limit, group));
    };
    thread::Builder::new().spawn(follow).map_err(Failed::Start)?;
    ended.recv_timeout(limits.time).unwrap_or_else(|_| {
        group.signal(Signal::SIGKILL);
        Err(Failed::TooLong)
    })
}

/// Reads both streams to their end: a program whose errors are not read would hang.
fn follow(mut child: Child, limit: u64, group: ProcessGroup) -> Result<Ran, Failed> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::Builder::new().spawn(move || {
        let mut errors = Vec::new();
        let Some(mut stderr) = stderr else { return errors };
        // The exit status counts; errors that cannot be read are not reported.
        let _ = (&mut stderr).take(ERRORS_LIMIT_BYTES).read_to_end(&mut errors);
        let _ = io::copy(&mut stderr, &mut io::sink());
        errors
    });
    let mut output = Zeroizing::new(Vec::new());
    let read = stdout.map_or(Ok(0), |stdout| stdout.take(limit + 1).read_to_end(&mut output));
    let too_much = output.len() as u64 > limit;
    if too_much || read.is_err() {
        // A program that still prints would wait for a reader forever.
        group.signal(Signal::SIGKILL);
    }
    let status = child.wait().map_err(Failed::Read)?;
    read.map_err(Failed::Read)?;
    if too_much {
        return Err(Failed::TooMuch);
    }
    // Errors explain a failure only. A program that succeeded may leave a child that keeps them open, as ssh does
    // with ControlPersist.
    let errors = errors.ok().filter(|_| !status.success()).and_then(|thread| thread.join().ok());
    Ok(Ran { output, errors: errors.unwrap_or_default(), status })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, time: Duration) -> Result<Ran, Failed> {
        let mut sh = command("sh");
        sh.args(["-c", script]);
        run(sh, &ProcessLimits { time, output_bytes: 1000 })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_gets_six_names_of_the_environment_and_no_input() {
        let ran = sh("env | cut -d= -f1; cat; echo trouble >&2; exit 3", LONG).unwrap();
        let printed = String::from_utf8(ran.output.to_vec()).unwrap();
        let names = printed.lines().filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
        let names: Vec<&str> = names.collect();
        assert!(names.contains(&"PATH") && names.iter().all(|name| ENVIRONMENT.contains(name)), "{names:?}");
        assert_eq!((ran.status.code(), ran.errors.as_slice()), (Some(3), b"trouble\n".as_slice()));
    }

    #[test]
    fn what_prints_too_much_or_takes_too_long_is_ended_with_its_children() {
        assert!(matches!(sh("yes", LONG), Err(Failed::TooMuch)));
        let dir = tempfile::tempdir().unwrap();
        let beats = dir.path().join("beats");
        let script = format!("(while :; do echo x >>{}; sleep 0.02; done) & wait", beats.display());
        assert!(matches!(sh(&script, Duration::from_millis(300)), Err(Failed::TooLong)));
        // KILL was sent to the whole group: the file no longer changes.
        let size = || std::fs::metadata(&beats).map_or(0, |about| about.len());
        let settled = (0..500).any(|_| {
            let before = size();
            std::thread::park_timeout(Duration::from_millis(100));
            before == size()
        });
        assert!(settled, "the child still writes");
    }

    #[test]
    fn a_child_that_keeps_the_errors_open_does_not_delay_a_program_that_succeeded() {
        // It holds standard error for longer than the program may take.
        let ran = sh("sleep 120 >/dev/null & echo $!", LONG).unwrap();
        let child: i32 = String::from_utf8(ran.output.to_vec()).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let missing = run(command("/nowhere/program"), &ProcessLimits { time: LONG, output_bytes: 1 });
        assert!(matches!(missing, Err(Failed::Start(_))));
    }
}
