//! An operator at a command that runs on hosts: its input, as it is sent, and its output, as it arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::domain::base::name::HostName;

/// Most bytes of input: every host reads all of it at its own pace, so it is kept until the last one has.
pub const INPUT_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of input that are sent to a host at once.
const PIECE_BYTES: usize = 32 * 1024;

/// Most bytes of output that wait for the client of a command, of all its hosts together: as many as of input. They outlast
/// a short pause of the client; hosts never wait for it, because the other work on a host uses the same connection.
pub const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The two directions of an operator's command.
#[derive(Clone, Default)]
pub struct Talk {
    pub input: Option<Feed>,
    pub output: Option<Outlet>,
}

/// Output of one host, without secrets.
#[derive(Debug)]
pub struct Piece {
    pub host: HostName,
    pub is_error: bool,
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Passes on the output of one host.
pub struct Tap {
    pub host: HostName,
    pub to: Outlet,
}

/// Output on its way to a client. Sending never waits.
#[derive(Clone)]
pub struct Outlet {
    pieces: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
    missed: Missed,
}

/// The bytes of each host that found no room.
#[derive(Clone, Default)]
pub struct Missed(Arc<Mutex<BTreeMap<HostName, u64>>>);

/// The client's end of an [`Outlet`].
pub struct Inlet {
    pub pieces: mpsc::UnboundedReceiver<Piece>,
    pub missed: Missed,
}

/// A way for output, with room for [`WAITING_BYTES`].
pub fn outlet() -> (Outlet, Inlet) {
    let (sender, pieces) = mpsc::unbounded_channel();
    let missed = Missed::default();
    let room = Arc::new(Semaphore::new(WAITING_BYTES));
    (Outlet { pieces: sender, room, missed: missed.clone() }, Inlet { pieces, missed })
}

impl Outlet {
    /// Passes on output, or counts it if there is no room.
    pub fn send(&self, (host, is_error): (&HostName, bool), bytes: &[u8]) {
        // A gap could join the halves of two lines: a host that missed a part gets no more through.
        if self.missed.has(host) {
            return self.missed.count(host, bytes.len());
        }
        // Small pieces must not hide how much memory they take.
        let needed = u32::try_from(bytes.len() + size_of::<Piece>()).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().try_acquire_many_owned(needed) else {
            return self.missed.count(host, bytes.len());
        };
        let bytes = Bytes::copy_from_slice(bytes);
        // A client that is gone misses nothing.
        let _ = self.pieces.send(Piece { host: host.clone(), is_error, bytes, _room: room });
    }
}

impl Missed {
    /// By host, the bytes that were not passed on.
    pub fn by_host(&self) -> BTreeMap<HostName, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has(&self, host: &HostName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(host)
    }

    fn count(&self, host: &HostName, bytes: usize) {
        let mut missed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *missed.entry(host.clone()).or_default() += bytes as u64;
    }
}

/// How input ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEnd {
    /// The client has sent all of it.
    Whole,
    /// It has more than [`INPUT_LIMIT_BYTES`].
    TooLong,
    /// The client left in the middle of it.
    Cut,
    /// Too many commands have input.
    Crowded,
}

/// Input that several hosts read, each from its beginning.
#[derive(Clone)]
pub struct Feed(Arc<watch::Sender<Fed>>);

#[derive(Default)]
struct Fed {
    bytes: Vec<u8>,
    end: Option<InputEnd>,
    /// Places for input that is kept, and the own one once there is any.
    places: Option<Arc<Semaphore>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Fed {
    fn is_spoilt(&self) -> bool {
        self.end.is_some_and(|end| end != InputEnd::Whole)
    }

    fn has_place(&mut self) -> bool {
        if let Some(places) = self.places.take() {
            self.place = places.try_acquire_owned().ok();
            return self.place.is_some();
        }
        true
    }
}

impl Default for Feed {
    fn default() -> Feed {
        Feed(Arc::new(watch::Sender::new(Fed::default())))
    }
}

impl Feed {
    /// Input that takes one of these places once there is any of it.
    pub fn within(places: Arc<Semaphore>) -> Feed {
        Feed(Arc::new(watch::Sender::new(Fed { places: Some(places), ..Fed::default() })))
    }

    /// Adds bytes; what comes after the end is discarded.
    pub fn push(&self, bytes: &[u8]) {
        self.0.send_modify(|fed| {
            if fed.end.is_some() {
                return;
            }
            if !fed.has_place() {
                fed.end = Some(InputEnd::Crowded);
            } else if fed.bytes.len() + bytes.len() > INPUT_LIMIT_BYTES {
                fed.end = Some(InputEnd::TooLong);
            } else {
                fed.bytes.extend_from_slice(bytes);
            }
        });
    }

    /// Ends the input, if it has not ended. A client that leaves without having sent anything has sent all of it.
    pub fn close(&self, whole: bool) {
        self.0.send_modify(|fed| {
            let end = if whole || fed.bytes.is_empty() { InputEnd::Whole } else { InputEnd::Cut };
            fed.end.get_or_insert(end);
        });
    }

    /// All of the input; `None` if it ended before it was whole.
    pub async fn whole(&self) -> Option<Vec<u8>> {
        let mut reader = self.reader();
        let reading = async {
            let mut bytes = Vec::new();
            while let Some(piece) = reader.next().await {
                bytes.extend_from_slice(&piece);
            }
            bytes
        };
        tokio::select! {
            bytes = reading => Some(bytes),
            _ = self.spoilt() => None,
        }
    }

    /// Waits until the input has ended before it was whole; forever if that never happens.
    pub async fn spoilt(&self) -> InputEnd {
        let mut fed = self.0.subscribe();
        let spoilt = fed.wait_for(Fed::is_spoilt).await;
        match spoilt.ok().and_then(|fed| fed.end) {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }

    /// True if it has ended before it was whole.
    pub fn is_spoilt(&self) -> bool {
        self.0.borrow().is_spoilt()
    }

    /// True if any input was sent, also if it was too much to be kept.
    pub fn is_used(&self) -> bool {
        let fed = self.0.borrow();
        !fed.bytes.is_empty() || fed.is_spoilt()
    }

    /// A reader of all of it.
    pub fn reader(&self) -> FeedReader {
        FeedReader { fed: self.0.subscribe(), at: 0, _feed: self.clone() }
    }
}

/// Reads input from its beginning.
pub struct FeedReader {
    fed: watch::Receiver<Fed>,
    at: usize,
    _feed: Feed,
}

impl FeedReader {
    /// The next bytes; `None` at the end of input that is whole. Input that was cut off has no end: a host must not take
    /// it for whole.
    pub async fn next(&mut self) -> Option<Bytes> {
        let at = self.at;
        let is_next = |fed: &Fed| fed.bytes.len() > at || fed.end == Some(InputEnd::Whole);
        let piece = match self.fed.wait_for(|fed| is_next(fed)).await {
            Ok(fed) => {
                let to = fed.bytes.len().min(at + PIECE_BYTES);
                Bytes::copy_from_slice(&fed.bytes[at..to])
            }
            Err(_) => return None,
        };
        self.at += piece.len();
        (!piece.is_empty()).then_some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: FeedReader) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await {
            all.extend_from_slice(&piece);
        }
        all
    }

    #[tokio::test]
    async fn output_that_finds_no_room_is_counted() {
        let (outlet, mut inlet) = outlet();
        let (web1, web2) = ("web1".into(), "web2".into());
        let half = vec![b'x'; WAITING_BYTES / 2];
        (0..3).for_each(|_| outlet.send((&web1, false), &half));
        outlet.send((&web2, true), b"small");
        assert_eq!(inlet.missed.by_host(), [(web1.clone(), 2 * half.len() as u64)].into());
        for (host, bytes) in [(&web1, half.len()), (&web2, 5)] {
            let piece = inlet.pieces.recv().await.unwrap();
            assert_eq!((&piece.host, piece.bytes.len()), (host, bytes));
        }
        outlet.send((&web1, false), b"after the gap");
        outlet.send((&web2, false), &half);
        assert_eq!(inlet.pieces.recv().await.unwrap().host, web2, "read pieces free their room");
        assert_eq!(inlet.missed.by_host(), [(web1, 2 * half.len() as u64 + 13)].into());
        assert!(inlet.pieces.try_recv().is_err());
    }

    #[tokio::test]
    async fn each_host_reads_all_of_the_input() {
        let feed = Feed::default();
        let early = tokio::spawn(all(feed.reader()));
        let text: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        text.chunks(7_000).for_each(|part| feed.push(part));
        feed.close(true);
        feed.push(b"too late");
        assert_eq!(early.await.unwrap(), text);
        assert_eq!(all(feed.reader()).await, text, "a late one, too");
    }

    #[tokio::test]
    async fn input_beyond_the_places_is_refused() {
        let places = Arc::new(Semaphore::new(1));
        let (first, second) = (Feed::within(places.clone()), Feed::within(places.clone()));
        // None takes no place.
        Feed::within(places.clone()).close(true);
        [b"a", b"b"].iter().for_each(|bytes| first.push(*bytes));
        second.push(b"x");
        assert!(!first.is_spoilt());
        assert_eq!(second.spoilt().await, InputEnd::Crowded);
        drop(first);
        let third = Feed::within(places);
        third.push(b"x");
        assert!(!third.is_spoilt());
    }

    #[tokio::test(start_paused = true)]
    async fn input_that_is_cut_off_has_no_end() {
        let table: [(&[u8], bool, Option<InputEnd>); 4] = [
            (b"x", true, None),
            (b"", false, None),
            (b"x", false, Some(InputEnd::Cut)),
            (&[0; INPUT_LIMIT_BYTES + 1], true, Some(InputEnd::TooLong)),
        ];
        for (bytes, whole, wanted) in table {
            let feed = Feed::default();
            feed.push(bytes);
            feed.close(whole);
            let within = std::time::Duration::from_secs(1);
            assert_eq!(tokio::time::timeout(within, feed.spoilt()).await.ok(), wanted);
            let read = tokio::time::timeout(within, all(feed.reader())).await;
            assert_eq!(read.is_ok(), wanted.is_none());
        }
    }
}
