//! The pulse of a client: found out by a question that every client answers, with a no. The keepalives of the
//! connection are slower, so that a watcher survives a short loss of the network; a hold must not.

use std::time::Duration;

use russh::Error;
use russh::server::Handle;
use tokio::time::{sleep, timeout};

/// The pause between two questions, and how long a client may take to answer one. After two without an answer it counts
/// as gone: 14 seconds at most after its last sign of life.
const PAUSE: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(4);
const MISSED: usize = 2;

/// Resolves when the client does not answer any more.
pub async fn silence(handle: Handle) {
    let mut missed = 0;
    while missed < MISSED {
        sleep(PAUSE).await;
        // No client lets a server open a session, and each has to say so (RFC 4254, section 6.1).
        match timeout(ANSWER, handle.channel_open_session()).await {
            Ok(Err(Error::ChannelOpenFailure(_))) => missed = 0,
            // Strange, but an answer.
            Ok(Ok(channel)) => {
                let _ = channel.close().await;
                missed = 0;
            }
            Ok(Err(_)) => return,
            Err(_) => missed += 1,
        }
    }
}
