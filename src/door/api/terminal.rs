//! The terminal of an answer that a program reads: it keeps the answer, or passes it on as it is made.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::RunId;
use crate::domain::base::output::printable;
use crate::domain::base::refusal::{LEFT, Refusal};
use crate::domain::base::request::RequestKey;
use crate::door::client::Client;
use crate::door::keys::KeyPress;
use crate::door::sessions::DoorCommand;
use crate::door::{BytesPart, Gone, Terminal};
use crate::local::artifacts::Piece;
use crate::port::talk::Feed;
use crate::present::board::page::Page;

/// How long a client may leave a stream unread.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Largest answer that is kept, in bytes: it is in memory until the client has read it.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes of hints and warnings.
const REMARKS_BYTES: usize = 64 * 1024;

/// Where an answer goes.
pub(super) enum Sink {
    Kept(Vec<u8>),
    Passed(mpsc::Sender<Bytes>),
}

/// See the module.
pub(super) struct ApiTerminal {
    pub sink: Sink,
    /// Hints and warnings.
    pub remarks: String,
    pub refusal: Option<Refusal>,
    /// The run that the command has started.
    pub run: Option<RunId>,
    /// How the list goes on.
    pub more: Option<(&'static str, u64)>,
    /// The digest of a plan that an agent is shown.
    pub digest: Option<String>,
    /// The part that the bytes of the answer are.
    pub part: Arc<OnceLock<BytesPart>>,
    /// The page of a board, for a browser.
    pub page: Option<Page>,
    /// Pages are kept as they are, and not as JSON.
    takes_pages: bool,
    /// The client does not follow what it starts.
    detaches: bool,
    request: Option<RequestKey>,
    client: Arc<Client>,
    gone: CancellationToken,
    /// The same, or the client has left on purpose.
    left: CancellationToken,
    listed: Option<DoorCommand>,
    file: Option<mpsc::Receiver<Piece>>,
}

impl ApiTerminal {
    pub fn new(client: Arc<Client>, sink: Sink, gone: CancellationToken) -> ApiTerminal {
        let left = gone.child_token();
        let (remarks, refusal, run, more, digest) = (String::new(), None, None, None, None);
        ApiTerminal {
            sink,
            remarks,
            refusal,
            run,
            more,
            digest,
            part: Arc::default(),
            page: None,
            takes_pages: false,
            detaches: false,
            request: None,
            client,
            gone,
            left,
            listed: None,
            file: None,
        }
    }

    /// The same with a file for the command.
    pub fn reading(self, file: Option<mpsc::Receiver<Piece>>) -> ApiTerminal {
        ApiTerminal { file, ..self }
    }

    /// The same for a page, which is kept as it is.
    pub fn for_page(self) -> ApiTerminal {
        ApiTerminal { takes_pages: true, ..self }
    }

    /// The same for a request that ends with the start of its run.
    pub fn starting(self, request: Option<RequestKey>) -> ApiTerminal {
        ApiTerminal { detaches: true, request, ..self }
    }

    fn has_left(&self) -> bool {
        self.detaches && self.run.is_some()
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if self.has_left() || self.gone.is_cancelled() {
            return Err(Gone);
        }
        match &mut self.sink {
            Sink::Kept(kept) if kept.len() + bytes.len() <= KEPT_BYTES => {
                kept.extend_from_slice(&bytes);
                Ok(())
            }
            Sink::Kept(_) => {
                let limit = KEPT_BYTES / (1024 * 1024);
                let why = format!("the answer has more than {limit} MiB");
                self.refusal =
                    Some(Refusal::rule(why).hint("ask for less, or by the line: ssh rollcall ..."));
                Err(Gone)
            }
            Sink::Passed(to) => tokio::select! {
                sent = timeout(STALL_LIMIT, to.send(bytes)) => match sent {
                    Ok(sent) => sent.map_err(|_| Gone),
                    Err(_) => {
                        tracing::info!("a client of the API did not read for {STALL_LIMIT:?} and is cut off");
                        self.gone.cancel();
                        Err(Gone)
                    }
                },
                () = self.gone.cancelled() => Err(Gone),
            },
        }
    }
}

#[async_trait]
impl Terminal for ApiTerminal {
    async fn out(&mut self, text: &str) -> Result<(), Gone> {
        match text.is_empty() {
            true => Ok(()),
            false => self.put(Bytes::from(printable(text))).await,
        }
    }

    async fn printed(&mut self, text: &str, is_error: bool) -> Result<(), Gone> {
        if is_error { self.err(text).await } else { self.out(text).await }
    }

    async fn err(&mut self, text: &str) -> Result<(), Gone> {
        if self.has_left() {
            return Err(Gone);
        }
        if self.remarks.len() + text.len() <= REMARKS_BYTES {
            self.remarks += &printable(text);
        }
        Ok(())
    }

    async fn bytes(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.put(bytes).await
    }

    fn is_interactive(&self) -> bool {
        false
    }

    fn gone(&self) -> CancellationToken {
        self.left.clone()
    }

    /// Requests have no standard input.
    fn input(&mut self) -> Option<Feed> {
        None
    }

    fn file(&mut self) -> Option<mpsc::Receiver<Piece>> {
        self.file.take()
    }

    fn brings_file(&self) -> bool {
        self.file.is_some()
    }

    fn silence(&self) -> BoxFuture<'static, ()> {
        (self.client.pulse)()
    }

    fn list(&mut self, command: DoorCommand) {
        self.listed = Some(command);
    }

    /// A client that has left on purpose is no follower of a run.
    fn listed(&self) -> Option<&DoorCommand> {
        self.listed.as_ref().filter(|_| !self.has_left())
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.refusal = Some(refusal.clone());
    }

    fn part(&mut self, part: BytesPart) {
        // An answer has one.
        let _ = self.part.set(part);
    }

    fn page(&mut self, page: Page) -> Option<Page> {
        if !self.takes_pages {
            return Some(page);
        }
        self.page = Some(page);
        None
    }

    fn more(&mut self, option: &'static str, number: u64) {
        self.more = Some((option, number));
    }

    fn planned(&mut self, digest: &str) {
        self.digest = Some(digest.into());
    }

    fn request(&self) -> Option<RequestKey> {
        self.request.clone()
    }

    fn started(&mut self, run: RunId) {
        self.run = Some(run);
        if self.detaches {
            self.left.cancel();
        }
    }

    /// The start of a run was all that was asked for.
    fn left_status(&self) -> u8 {
        if self.has_left() { 0 } else { LEFT }
    }

    fn keys(&mut self) -> Option<mpsc::Receiver<KeyPress>> {
        None
    }
}
