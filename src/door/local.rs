//! The local door: the same commands without a daemon, for scripts: `rollcall --local deploy prod`.

use std::io::{IsTerminal, Read, Write};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::keys::KeyPress;
use super::sessions::DoorCommand;
use super::{Gone, Terminal};
use crate::domain::base::output::printable;
use crate::local::artifacts::{Piece, WAITING_PIECES};
use crate::port::talk::Feed;

/// Standard output and standard error of this process.
pub struct Stdio;

fn write(mut stream: impl Write, text: &str) -> Result<(), Gone> {
    stream.write_all(printable(text).as_bytes()).and_then(|()| stream.flush()).map_err(|_| Gone)
}

fn read_input(feed: &Feed) {
    let mut piece = [0; 32 * 1024];
    loop {
        match std::io::stdin().read(&mut piece) {
            Ok(0) => return feed.close(true),
            Ok(read) => feed.push(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return feed.close(false),
        }
    }
}

fn read_file(to: &mpsc::Sender<Piece>) {
    let mut piece = [0; 32 * 1024];
    loop {
        let sent = match std::io::stdin().read(&mut piece) {
            Ok(0) => {
                let _ = to.blocking_send(Piece::End);
                return;
            }
            Ok(read) => to.blocking_send(Piece::Bytes(Bytes::copy_from_slice(&piece[..read]))),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            // Without an end it counts as cut off.
            Err(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Terminal for Stdio {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        write(std::io::stdout(), text)
    }

    async fn printed(&mut self, text: &str, is_error: bool) -> Result<(), Gone> {
        if is_error { self.err(text).await } else { self.out(text).await }
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        write(std::io::stderr(), text)
    }

    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let mut out = std::io::stdout();
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(|_| Gone)
    }

    fn is_interactive(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    fn listed(&self) -> Option<&DoorCommand> {
        None
    }

    fn gone(&self) -> CancellationToken {
        // A closed pipe shows when something is written; the run continues in any case.
        CancellationToken::new()
    }

    /// A thread of its own reads it: a read that blocks must not hold up the end of the process.
    fn input(&mut self) -> Option<Feed> {
        let feed = Feed::default();
        let to = feed.clone();
        match std::io::stdin().is_terminal() {
            true => feed.close(true),
            false => _ = std::thread::spawn(move || read_input(&to)),
        }
        Some(feed)
    }

    /// Also by a thread of its own.
    fn file(&mut self) -> Option<mpsc::Receiver<Piece>> {
        if std::io::stdin().is_terminal() {
            return None;
        }
        let (to, pieces) = mpsc::channel(WAITING_PIECES);
        std::thread::spawn(move || read_file(&to));
        Some(pieces)
    }

    fn silence(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    /// The process gets Ctrl-C as a signal.
    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>> {
        None
    }
}
