//! The recent log of the service.

use std::time::Duration;

use crate::local::process::{Failed, ProcessLimits, command, run};

/// Lines of the log that a report holds.
const LINES: &str = "1000";

/// How long the journal of systemd may take to answer.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Most bytes of these lines.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The last lines, or why there are none.
pub(super) fn tail() -> String {
    let mut journal = command("journalctl");
    journal.args(["--unit", "rollcall", "--lines", LINES, "--no-pager", "--output", "short-iso"]);
    match run(journal, &ProcessLimits { time: TIME_LIMIT, output_bytes: LIMIT_BYTES }) {
        Ok(ran) if ran.status.success() => String::from_utf8_lossy(&ran.output).into_owned(),
        Ok(ran) => format!("journalctl failed: {}", String::from_utf8_lossy(&ran.errors)),
        Err(Failed::Start(error)) => format!("journalctl cannot be started: {error}"),
        Err(Failed::Read(error)) => format!("journalctl cannot be read: {error}"),
        Err(Failed::TooLong) => format!("journalctl took longer than {TIME_LIMIT:?}"),
        Err(Failed::TooMuch) => format!("{LINES} lines of the log have more than {LIMIT_BYTES} bytes"),
    }
}
