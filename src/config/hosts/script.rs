//! Runs a program of the configuration directory for what it prints: as the daemon's user, with next to no
//! environment, and never longer or more than is allowed.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Most that a program may print, in bytes: more is no inventory.
const OUTPUT_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// What is kept of its complaints, in bytes.
const ERRORS_LIMIT_BYTES: u64 = 16 * 1024;

/// What it is given of the daemon's environment: where programs are, and where clients of clouds keep
/// their credentials.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ"];

/// Others than the owner may write it.
const WRITABLE: u32 = 0o022;

/// Says why a program must not be run: whoever can write it would act as the daemon.
pub fn check_safe(file: &Path) -> Result<(), String> {
    let about = fs::metadata(file).map_err(|error| error.to_string())?;
    match about.permissions().mode() & WRITABLE {
        0 => Ok(()),
        _ => Err("others than its owner may write it, and it runs as rollcall itself".into()),
    }
}

/// What a program printed and how it ended.
struct Said {
    output: io::Result<Vec<u8>>,
    errors: Vec<u8>,
    status: io::Result<ExitStatus>,
}

/// The output of `path --list`, a program below `root`.
pub fn list(root: &Path, path: &str, limit: Duration) -> Result<String, String> {
    // The program is named from the root: it runs there, wherever rollcall was started.
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    check_safe(&root.join(path))?;
    let mut command = Command::new(root.join(path));
    command.arg("--list").current_dir(&root).env_clear().process_group(0);
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (sender, said) = mpsc::channel();
    let follow = move || {
        // Nobody waits for a program any more that took too long.
        let _ = sender.send(follow(child));
    };
    thread::Builder::new().spawn(follow).map_err(|error| error.to_string())?;
    let Ok(said) = said.recv_timeout(limit) else {
        if let Ok(group) = group {
            // With all that it has started; what is gone already needs no end.
            let _ = killpg(group, Signal::SIGKILL);
        }
        return Err(format!("it took longer than {limit:?} (inventory_timeout) and was ended"));
    };
    read(said)
}

/// Reads both streams to their end: a program whose complaints nobody reads would stand still.
fn follow(mut child: Child) -> Said {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaining = thread::Builder::new().spawn(move || {
        let mut errors = Vec::new();
        let Some(mut stderr) = stderr else { return errors };
        // What cannot be read any more is no complaint.
        let _ = (&mut stderr).take(ERRORS_LIMIT_BYTES).read_to_end(&mut errors);
        let _ = io::copy(&mut stderr, &mut io::sink());
        errors
    });
    let mut output = Vec::new();
    let read = match stdout {
        Some(stdout) => stdout.take(OUTPUT_LIMIT_BYTES + 1).read_to_end(&mut output).map(|_| output),
        None => Ok(output),
    };
    let status = child.wait();
    let errors = complaining.ok().and_then(|thread| thread.join().ok()).unwrap_or_default();
    Said { output: read, errors, status }
}

fn read(said: Said) -> Result<String, String> {
    let status = said.status.map_err(|error| error.to_string())?;
    let output = said.output.map_err(|error| error.to_string())?;
    if output.len() as u64 > OUTPUT_LIMIT_BYTES {
        return Err(format!("it prints more than {OUTPUT_LIMIT_BYTES} bytes"));
    }
    if !status.success() {
        let errors = String::from_utf8_lossy(&said.errors).into_owned();
        let last = errors.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let told = if last.is_empty() { String::new() } else { format!(": {last}") };
        return Err(match status.code() {
            Some(code) => format!("exit status {code}{told}"),
            None => format!("{status}{told}"),
        });
    }
    String::from_utf8(output).map_err(|_| "what it prints is not UTF-8".into())
}
