//! The messages of a channel: one JSON object a line, within bounds.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{ErrorCode, ErrorData, JsonRpcMessage, NumberOrString, RequestId};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::door::api::lines::{LINE_BYTES, ReadLine, read_line};

/// Longest `id`: each answer repeats it.
const ID_BYTES: usize = 256;

/// How long a client may leave an answer unread.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// How long answers may take after the end of the input: a request that was cancelled has none.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// The messages of one channel, as the protocol takes and gives them.
pub(super) struct Wire {
    pub answers: mpsc::Sender<String>,
    pub messages: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    /// The calls that are not answered.
    pub open: Arc<watch::Sender<HashSet<RequestId>>>,
}

impl Transport<RoleServer> for Wire {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let (answers, open) = (self.answers.clone(), self.open.clone());
        async move {
            let line = serde_json::to_string(&message)? + "\n";
            let sent = answers.send(line).await.map_err(|_| io::ErrorKind::BrokenPipe.into());
            let answered = match &message {
                JsonRpcMessage::Response(response) => Some(&response.id),
                JsonRpcMessage::Error(error) => error.id.as_ref(),
                _ => None,
            };
            open.send_if_modified(|open| answered.is_some_and(|id| open.remove(id)));
            sent
        }
    }

    /// Takes nothing more as long as the client leaves its answers unread. At the end of the input, what is under way is
    /// answered first.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        drop(self.answers.reserve().await);
        if let Some(message) = self.messages.recv().await {
            if let JsonRpcMessage::Request(request) = &message {
                self.open.send_modify(|open| _ = open.insert(request.id.clone()));
            }
            return Some(message);
        }
        let mut open = self.open.subscribe();
        let _ = timeout(LAST_ANSWERS, open.wait_for(HashSet::is_empty)).await;
        None
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        Ok(())
    }
}

/// Reads messages until the end of the input. What is none is answered here.
pub(super) async fn read(
    mut reader: impl AsyncBufRead + Unpin,
    received: &mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    answers: &mpsc::Sender<String>,
) {
    loop {
        let message = match read_line(&mut reader).await {
            Ok(ReadLine::Whole(line)) if line.trim_ascii().is_empty() => continue,
            Ok(ReadLine::Whole(line)) => message_of(&line),
            Ok(ReadLine::TooLong) => Err((
                Value::Null,
                ErrorCode::INVALID_REQUEST,
                format!("a line has at most {LINE_BYTES} bytes"),
            )),
            Ok(ReadLine::End) | Err(_) => return,
        };
        let is_over = match message {
            Ok(message) => received.send(message).await.is_err(),
            Err((id, code, why)) => {
                let error = json!({ "jsonrpc": "2.0", "id": id, "error": ErrorData::new(code, why, None) });
                answers.send(format!("{error}\n")).await.is_err()
            }
        };
        if is_over {
            return;
        }
    }
}

/// The `id`, the code and the reason of an answer to what is no message.
type NoMessage = (Value, ErrorCode, String);

fn message_of(line: &[u8]) -> Result<RxJsonRpcMessage<RoleServer>, NoMessage> {
    let Ok(message) = serde_json::from_slice(line) else { return Err(no_message(line)) };
    if let JsonRpcMessage::Request(request) = &message
        && let NumberOrString::String(id) = &request.id
        && id.len() > ID_BYTES
    {
        let why = format!("an `id` has at most {ID_BYTES} bytes");
        return Err((Value::Null, ErrorCode::INVALID_REQUEST, why));
    }
    Ok(message)
}

fn no_message(line: &[u8]) -> NoMessage {
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        return (Value::Null, ErrorCode::PARSE_ERROR, "a line is one JSON object".into());
    };
    let id = match &value["id"] {
        Value::Number(number) => number.clone().into(),
        Value::String(id) if id.len() <= ID_BYTES => id.clone().into(),
        _ => Value::Null,
    };
    (id, ErrorCode::INVALID_REQUEST, "this is no message of the Model Context Protocol".into())
}

/// Writes answers until there are none any more, or the client does not read them.
pub(super) async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<String>,
    stalled: CancellationToken,
) {
    while let Some(line) = waiting.recv().await {
        let written = timeout(STALL_LIMIT, async {
            to.write_all(line.as_bytes()).await?;
            to.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            stalled.cancel();
            return;
        }
    }
}
