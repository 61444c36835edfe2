//! What a client sends on one channel, held for a reader that may be slow, and let go when it does not
//! read at all: a channel whose reader stands still would hold up the whole connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes held for a reader that is slower than the client: four windows, so that a command that gets
/// its turn late on a busy machine still reads all of a small upload.
const HELD_BYTES: u32 = 8 * 1024 * 1024;

/// How long a full pipe waits for its reader. All of the connection waits for it, so it is short.
const PATIENCE: Duration = Duration::from_secs(1);

/// The end that is written to.
pub(super) struct Inlet {
    room: Arc<Semaphore>,
    to: Option<UnboundedSender<Piece>>,
}

/// The end that is read. Fails with [`io::ErrorKind::BrokenPipe`] at the place where bytes were let
/// go, so that a part is never taken for the whole.
pub(super) struct Outlet {
    from: UnboundedReceiver<Piece>,
    held: Option<(Bytes, OwnedSemaphorePermit)>,
}

enum Piece {
    /// With the room that it takes.
    Bytes(Bytes, OwnedSemaphorePermit),
    /// What came here was let go.
    Lost,
}

/// A pipe of [`HELD_BYTES`].
pub(super) fn pipe() -> (Inlet, Outlet) {
    // Bounded all the same: each piece carries its permit for as many bytes.
    let (to, from) = unbounded_channel();
    let room = Arc::new(Semaphore::new(HELD_BYTES as usize));
    (Inlet { room, to: Some(to) }, Outlet { from, held: None })
}

impl Inlet {
    /// Takes bytes. Returns when there was room, or when they were let go: the reader is gone, or
    /// there was no room for [`PATIENCE`]; then it takes nothing more.
    pub(super) async fn push(&mut self, bytes: Bytes) {
        let Some(to) = &self.to else { return };
        if bytes.is_empty() {
            return;
        }
        let size = u32::try_from(bytes.len()).unwrap_or(HELD_BYTES).min(HELD_BYTES);
        let room = tokio::select! {
            biased;
            () = to.closed() => None,
            room = timeout(PATIENCE, self.room.clone().acquire_many_owned(size)) => room.ok().and_then(Result::ok),
        };
        let piece = room.map_or(Piece::Lost, |room| Piece::Bytes(bytes, room));
        let lost = matches!(piece, Piece::Lost);
        if to.send(piece).is_err() || lost {
            self.to = None;
        }
    }

    /// Lets go of something, as if there had been no room for it.
    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        if let Some(to) = self.to.take() {
            // A reader that is gone misses nothing.
            let _ = to.send(Piece::Lost);
        }
    }

    /// The client sends nothing more.
    pub(super) fn finish(&mut self) {
        self.to = None;
    }
}

impl AsyncRead for Outlet {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (mut bytes, room) = match self.held.take() {
            Some(held) => held,
            None => match ready!(self.from.poll_recv(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Piece::Lost) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Some(Piece::Bytes(bytes, room)) => (bytes, room),
            },
        };
        let taken = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..taken]);
        bytes.advance(taken);
        if !bytes.is_empty() {
            self.held = Some((bytes, room));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const PIECE: usize = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_everything() {
        let (mut inlet, mut outlet) = pipe();
        let writing = tokio::spawn(async move {
            for number in 0..40_u8 {
                inlet.push(vec![number; PIECE].into()).await;
            }
        });
        let mut piece = vec![0; PIECE];
        for number in 0..40_u8 {
            tokio::time::sleep(PATIENCE / 2).await;
            outlet.read_exact(&mut piece).await.unwrap();
            assert!(piece.iter().all(|byte| *byte == number));
        }
        assert_eq!(outlet.read(&mut piece).await.unwrap(), 0);
        writing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_comes_too_late_is_told() {
        let (mut inlet, mut outlet) = pipe();
        for _ in 0..40 {
            inlet.push(vec![0; PIECE].into()).await;
        }
        let mut all = Vec::new();
        let error = outlet.read_to_end(&mut all).await.unwrap_err();
        assert_eq!((error.kind(), all.len()), (io::ErrorKind::BrokenPipe, HELD_BYTES as usize));
    }
}
