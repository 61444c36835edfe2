//! How drivers query a balancer's host: one script, and a bounded answer.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::domain::base::output::clipped;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::task::task::Sudo;
use crate::port::{Exec, ExecReport, Input, Program, Remote};

/// Answers are kept whole up to twice this size: a file with ten thousand servers.
pub const ANSWER_BYTES: usize = 512 * 1024;

/// Most characters of a balancer's own words in an error.
const SAID_CHARS: usize = 500;

/// A balancer's answer, as an error quotes it.
pub fn said(text: &str) -> String {
    clipped(text.trim(), SAID_CHARS)
}

/// The last line of a short answer. An error when the script printed more than is kept.
pub fn last_line(report: &ExecReport) -> Result<&str, String> {
    match report.stdout.left_out {
        0 => Ok(report.stdout.last_line()),
        more => Err(format!(
            "it printed {more} bytes more than the {} that rollcall reads; try: a command that prints one line",
            2 * ANSWER_BYTES
        )),
    }
}

/// Pieces of output that may wait for their receiver.
const WAITING_PIECES: usize = 8;

/// The same as [`exec`] without input, and the output byte for byte. The script itself bounds it.
pub async fn exec_bytes(
    remote: &dyn Remote,
    host: &Endpoint,
    script: &str,
    sudo: bool,
    timeout: Duration,
) -> (ExecReport, Vec<u8>) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING_PIECES);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(piece) = receiver.recv().await {
            bytes.extend_from_slice(&piece);
            // More than a file and what a login prints: the host does not keep to the script.
            if bytes.len() > 4 * ANSWER_BYTES {
                break;
            }
        }
        drop(receiver);
        bytes
    };
    let request = request(script, sudo, Input::None, timeout);
    tokio::join!(remote.exec(host, Exec { sink: Some(sender), ..request }), collect)
}

/// Runs one of a driver's scripts on a host, as root if requested.
pub async fn exec(
    remote: &dyn Remote,
    host: &Endpoint,
    script: &str,
    sudo: bool,
    input: Input,
    timeout: Duration,
) -> ExecReport {
    remote.exec(host, request(script, sudo, input, timeout)).await
}

fn request(script: &str, sudo: bool, input: Input, timeout: Duration) -> Exec {
    let sudo = if sudo { Sudo::Root } else { Sudo::No };
    Exec { sudo, input, ..Exec::new(Program::Script(script.into()), timeout, ANSWER_BYTES) }
}
