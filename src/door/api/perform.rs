//! One request, from its fields to its answer.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::terminal::{ApiTerminal, Sink};
use crate::domain::ask::agent::AgentAsk;
use crate::domain::ask::command::{Request, parse_line};
use crate::domain::ask::resource::{Given, Gives, Resource};
use crate::domain::base::name::RunId;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::base::request::RequestKey;
use crate::door::client::Client;
use crate::door::{BROKEN, BytesPart, unbroken};
use crate::local::artifacts::Piece;
use crate::present::board::page::Page;

/// A whole answer.
pub(super) struct Answer {
    /// The exit status of the line.
    pub status: u8,
    pub body: Vec<u8>,
    pub remarks: String,
    pub run: Option<RunId>,
    /// How the list goes on: the field and the number for the next request.
    pub more: Option<(&'static str, u64)>,
    /// The digest of a plan that an agent is shown.
    pub digest: Option<String>,
}

/// Pieces of an answer that wait for the client.
const WAITING_PIECES: usize = 16;

/// What comes with a request beside its fields.
#[derive(Default)]
struct Extras {
    request: Option<RequestKey>,
    agent: Option<AgentAsk>,
    file: Option<mpsc::Receiver<Piece>>,
}

/// Performs a request; the answer is kept. One that starts a run ends with the start.
pub(super) async fn perform(
    client: &Arc<Client>,
    request: (&Resource, &Given),
    key: Option<&str>,
    gone: CancellationToken,
) -> Result<Answer, Refusal> {
    perform_with(client, request, (key, None), gone).await
}

/// The same with a file, which the command reads as the line reads its standard input.
pub(super) async fn perform_with(
    client: &Arc<Client>,
    (resource, given): (&Resource, &Given),
    (key, file): (Option<&str>, Option<mpsc::Receiver<Piece>>),
    gone: CancellationToken,
) -> Result<Answer, Refusal> {
    if key.is_some() && file.is_some() {
        let why = "a key of a request does not say which file it comes with";
        return Err(Refusal::usage(why)
            .hint("try: POST /v1/plans with the file, then the key with params.NAME=sha256:HEX"));
    }
    let line = resource.line(given)?;
    let request = key.map(|key| request_key(client, resource, (key, &line))).transpose()?;
    kept(client, (*resource, line), Extras { request, file, ..Extras::default() }, gone).await
}

/// Performs a request of an agent.
pub(super) async fn perform_for_agent(
    client: &Arc<Client>,
    (resource, given): (&Resource, &Given),
    agent: AgentAsk,
    gone: CancellationToken,
) -> Result<Answer, Refusal> {
    let extras = Extras { agent: Some(agent), ..Extras::default() };
    kept(client, (*resource, resource.line(given)?), extras, gone).await
}

/// Performs a request for a page of a board.
pub(super) async fn perform_page(
    client: &Arc<Client>,
    (resource, given): (&Resource, &Given),
    gone: CancellationToken,
) -> Result<Page, Refusal> {
    let line = resource.line(given)?;
    let terminal = ApiTerminal::new(client.clone(), Sink::Kept(Vec::new()), gone).for_page();
    let terminal = ended(client, (*resource, line, None), terminal).await?.1;
    terminal.page.ok_or_else(|| Refusal::internal("the answer has no page"))
}

async fn kept(
    client: &Arc<Client>,
    (resource, line): (Resource, String),
    Extras { request, agent, file }: Extras,
    gone: CancellationToken,
) -> Result<Answer, Refusal> {
    let terminal = ApiTerminal::new(client.clone(), Sink::Kept(Vec::new()), gone).reading(file);
    let terminal = if resource.gives == Gives::Run { terminal.starting(request) } else { terminal };
    let (status, terminal) = ended(client, (resource, line, agent), terminal).await?;
    let Sink::Kept(body) = terminal.sink else { return Err(Refusal::internal("the answer was not kept")) };
    Ok(Answer {
        status,
        body,
        remarks: terminal.remarks,
        run: terminal.run,
        more: terminal.more,
        digest: terminal.digest,
    })
}

/// Waits for the end of an answer; its terminal has no refusal.
async fn ended(
    client: &Arc<Client>,
    request: (Resource, String, Option<AgentAsk>),
    terminal: ApiTerminal,
) -> Result<(u8, ApiTerminal), Refusal> {
    let (status, mut terminal) = begin(client.clone(), request, terminal)
        .await
        .map_err(|error| Refusal::internal(error.to_string()))?;
    match terminal.refusal.take() {
        Some(refusal) => Err(refusal),
        None => Ok((status, terminal)),
    }
}

/// Performs a request whose answer is passed on while it is made. The task ends with a refusal, if there is one.
pub(super) fn follow(
    client: &Arc<Client>,
    (resource, given): (&'static Resource, &Given),
    gone: CancellationToken,
) -> Result<(mpsc::Receiver<Bytes>, JoinHandle<Option<Refusal>>), Refusal> {
    let line = resource.line(given)?;
    let (to, pieces) = mpsc::channel(WAITING_PIECES);
    let terminal = ApiTerminal::new(client.clone(), Sink::Passed(to), gone);
    Ok((pieces, ending(begin(client.clone(), (*resource, line, None), terminal))))
}

/// The bytes of an output while they are read, and which part of it they are.
pub(super) struct RawAnswer {
    pub pieces: mpsc::Receiver<Bytes>,
    /// Known before the first piece, and before the end.
    pub part: Arc<OnceLock<BytesPart>>,
    pub end: JoinHandle<Option<Refusal>>,
}

/// Performs a request for bytes.
pub(super) fn follow_raw(
    client: &Arc<Client>,
    (resource, given): (&'static Resource, &Given),
    gone: CancellationToken,
) -> Result<RawAnswer, Refusal> {
    let line = resource.line(given)?;
    let (to, pieces) = mpsc::channel(WAITING_PIECES);
    let terminal = ApiTerminal::new(client.clone(), Sink::Passed(to), gone);
    let part = terminal.part.clone();
    let end = ending(begin(client.clone(), (*resource, line, None), terminal));
    Ok(RawAnswer { pieces, part, end })
}

fn ending(task: JoinHandle<(u8, ApiTerminal)>) -> JoinHandle<Option<Refusal>> {
    tokio::spawn(async move {
        match task.await {
            Ok((_, terminal)) => terminal.refusal,
            Err(error) => Some(Refusal::internal(error.to_string())),
        }
    })
}

/// Most characters of a key that a program chooses for a request.
const KEY_CHARS: usize = 128;

/// The digest is keyed, since the line may have secrets that are short.
fn request_key(
    client: &Client,
    resource: &Resource,
    (key, line): (&str, &str),
) -> Result<RequestKey, Refusal> {
    if resource.gives != Gives::Run {
        return Err(Refusal::usage("a key of a request is for those that start a run"));
    }
    let is_plain = (1..=KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match is_plain {
        true => Ok(RequestKey { key: key.into(), digest: client.desk.seals.of(line) }),
        false => {
            Err(Refusal::usage(format!("a key of a request has 1 to {KEY_CHARS} letters, digits and signs")))
        }
    }
}

/// A task of its own: the connection may end in the middle of it, and what it records must be whole.
fn begin(
    client: Arc<Client>,
    (resource, line, agent): (Resource, String, Option<AgentAsk>),
    mut terminal: ApiTerminal,
) -> JoinHandle<(u8, ApiTerminal)> {
    tokio::spawn(async move {
        let parsed = parse_line(line.as_bytes()).map(|request| Request { agent, ..request });
        let is_other = parsed.as_ref().is_ok_and(|request| {
            let path = request.command.path();
            // What is no task is reported by the command that explains it.
            let explains = resource.is_for("TASK") && path == "help";
            !(resource.is_for(path) || explains)
        });
        if is_other {
            let why = "`task` is the name of a command, which has a resource of its own";
            terminal.refusal = Some(Refusal::usage(why).hint("see: /openapi.json"));
            return (Cause::Usage.exit_status(), terminal);
        }
        let status = match unbroken(client.ask((line.as_bytes(), parsed), &mut terminal)).await {
            Ok(status) => status,
            Err(_) => {
                terminal.refusal =
                    Some(Refusal::internal(BROKEN.trim_start_matches("rollcall: ").trim_end()));
                Cause::Internal.exit_status()
            }
        };
        (status, terminal)
    })
}
