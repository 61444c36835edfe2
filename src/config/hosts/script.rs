//! Runs a program of the configuration directory for its output: as the daemon's user, with almost no
//! environment, and with limits of time and output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::local::process::{self, Failed, ProcessLimits, Ran};

/// Most output of a program, in bytes: more is no inventory.
const OUTPUT_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// The permission bits that let others than the owner write it.
const WRITABLE: u32 = 0o022;

/// Why a program must not be run: another user who can write it would act as the daemon.
pub fn check_safe(file: &Path) -> Result<(), String> {
    let about = fs::metadata(file).map_err(|error| error.to_string())?;
    match about.permissions().mode() & WRITABLE {
        0 => Ok(()),
        _ => Err("others than its owner may write it, and it runs as rollcall itself".into()),
    }
}

/// The output of `path --list`, a program below `root`.
pub fn list(root: &Path, path: &str, limit: Duration) -> Result<String, String> {
    // The program is named relative to the root and runs there, independent of the daemon's own directory.
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    check_safe(&root.join(path))?;
    let mut program = process::command(root.join(path));
    program.arg("--list").current_dir(&root);
    let ran = process::run(program, &ProcessLimits { time: limit, output_bytes: OUTPUT_LIMIT_BYTES });
    read(ran.map_err(|failed| match failed {
        Failed::Start(error) => format!("cannot be run: {error}"),
        Failed::Read(error) => error.to_string(),
        Failed::TooLong => format!("it took longer than {limit:?} (inventory_timeout) and was ended"),
        Failed::TooMuch => format!("it prints more than {OUTPUT_LIMIT_BYTES} bytes"),
    })?)
}

fn read(ran: Ran) -> Result<String, String> {
    if !ran.status.success() {
        let errors = String::from_utf8_lossy(&ran.errors).into_owned();
        let last = errors.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let said = if last.is_empty() { String::new() } else { format!(": {last}") };
        return Err(match ran.status.code() {
            Some(code) => format!("exit status {code}{said}"),
            None => format!("{}{said}", ran.status),
        });
    }
    String::from_utf8(ran.output.to_vec()).map_err(|_| "what it prints is not UTF-8".into())
}
