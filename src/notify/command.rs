//! Delivery by a command on the daemon's machine, with the message on its standard input.

use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::domain::base::output::to_text;
use crate::domain::notify::notice::Notice;
use crate::local::process::{self, ProcessGroup};
use crate::port::SendError;
use crate::present::notice;

/// Most bytes of a command's errors that are kept.
const SAID_LIMIT_BYTES: u64 = 4 * 1024;

/// Runs a command: subject and text are its standard input, and every field is in its environment.
pub(super) async fn tell(script: &str, channel: &str, notice: &Notice) -> Result<(), SendError> {
    let words = notice::words(notice, channel);
    let environment = words.into_iter().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default().replace('\0', "");
        (format!("ROLLCALL_{}", name.to_uppercase()), value)
    });
    let input = format!("{}\n{}", notice::subject(notice), notice::text(notice));
    run(script, environment.collect(), input.as_bytes()).await
}

/// Ends the processes that the command started when its delivery is over.
struct EndOnDrop(ProcessGroup);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// Runs a command with an input. Exit status 75 means that any message may be retried, as in sysexits.h.
pub(super) async fn run(
    script: &str,
    environment: Vec<(String, String)>,
    input: &[u8],
) -> Result<(), SendError> {
    let down = |error: std::io::Error| SendError::Down(format!("sh: {error}"));
    let mut sh = Command::from(process::command("sh"));
    sh.args(["-c", script]).envs(environment);
    sh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = sh.spawn().map_err(down)?;
    let _ended = EndOnDrop(ProcessGroup::of(child.id()));
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feeding = async {
        if let Some(mut stdin) = stdin {
            // A command may ignore its input.
            let _ = stdin.write_all(input).await;
        }
    };
    let listening = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            // Errors that cannot be read are not reported; the exit status counts.
            let _ = stderr.take(SAID_LIMIT_BYTES).read_to_end(&mut said).await;
        }
        to_text(&said)
    };
    let ((), said, status) = tokio::join!(feeding, listening, child.wait());
    let status = status.map_err(down)?;
    if status.success() {
        return Ok(());
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let why = format!("the command ended with {status}: {last}");
    Err(if status.code() == Some(75) { SendError::Down(why) } else { SendError::Refused(why) })
}
