//! The pulse of a client: found out by a question that every client answers, with a no. The keepalives of the
//! connection are slower, so that a watcher survives a short loss of the network; a hold must not.

use std::time::Duration;

use russh::Error;
use russh::server::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The pause between two questions, and how long a client may take to answer one: without an answer it counts as gone 14
/// seconds at most after its last sign of life.
const PAUSE: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(11);

/// Resolves when the client does not answer any more.
pub async fn silence(handle: Handle) {
    let (silent, enough) = (CancellationToken::new(), CancellationToken::new());
    let _enough = enough.clone().drop_guard();
    // A task of its own: russh ends the connection when an answer arrives whose question was abandoned.
    tokio::spawn(listen(handle, silent.clone(), enough));
    silent.cancelled().await;
}

/// Asks until there is no answer, or the session has ended.
async fn listen(handle: Handle, silent: CancellationToken, enough: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = enough.cancelled() => return,
        }
        if !answers(&handle, &silent).await {
            silent.cancel();
            return;
        }
    }
}

/// Asks once, and waits for the answer however long that takes; false if the connection has ended.
async fn answers(handle: &Handle, silent: &CancellationToken) -> bool {
    // No client lets a server open a session, and each has to say so (RFC 4254, section 6.1).
    let question = handle.channel_open_session();
    tokio::pin!(question);
    let answer = tokio::select! {
        answer = &mut question => answer,
        () = sleep(ANSWER) => {
            silent.cancel();
            question.await
        }
    };
    match answer {
        Err(Error::ChannelOpenFailure(_)) => true,
        // Strange, but an answer.
        Ok(channel) => channel.close().await.is_ok(),
        Err(_) => false,
    }
}
