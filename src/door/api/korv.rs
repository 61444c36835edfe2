//! What clients of korv speak: each message is one JSON object, packed by gzip, in one packet of the channel. There are no
//! frames, so an answer that needs more than one packet cannot be sent.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::{ApiStream, over};
use super::plain::{Asked, find, refused, reply};
use crate::domain::ask::resource::{Given, Gives};
use crate::domain::base::refusal::Refusal;
use crate::door::client::Client;
use crate::version::VERSION;

/// Largest request, packed and unpacked, in bytes.
const REQUEST_BYTES: usize = 256 * 1024;

/// Largest packed answer, in bytes: the packets of korv's client.
const PACKET_BYTES: usize = 32 * 1024;

/// In how many packets a request may come: each is unpacked from its beginning.
const ATTEMPTS: usize = 32;

/// How long a client may leave an answer unread.
const STALL_LIMIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct KorvRequest {
    id: Value,
    verb: String,
    resource: String,
    #[serde(default)]
    body: Option<Given>,
}

/// Serves a channel.
pub(super) async fn serve(client: Arc<Client>, mut stream: impl ApiStream, gone: CancellationToken) {
    let (mut waiting, mut piece, mut attempts) = (Vec::new(), vec![0; PACKET_BYTES], 0);
    loop {
        let read = tokio::select! {
            read = stream.read(&mut piece) => read,
            () = over(&client, &gone) => return,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(read) => waiting.extend_from_slice(&piece[..read]),
        }
        loop {
            let request = match unpack(&waiting) {
                Ok(Some((request, used))) => {
                    waiting.drain(..used);
                    attempts = 0;
                    request
                }
                Ok(None) if waiting.len() < REQUEST_BYTES && attempts < ATTEMPTS => {
                    attempts += 1;
                    break;
                }
                // Without frames, nothing behind it can be found.
                Ok(None) | Err(_) => {
                    let _ =
                        send(&mut stream, &Value::Null, refused(&Refusal::usage("no request of korv"))).await;
                    return;
                }
            };
            if !answer(&client, &mut stream, &request, gone.child_token()).await {
                return;
            }
        }
    }
}

/// The first packed message of some bytes, and how many of them it is; `None` if it is not complete.
fn unpack(bytes: &[u8]) -> std::io::Result<Option<(Vec<u8>, usize)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut decoder = GzDecoder::new(bytes);
    let mut text = Vec::new();
    let limit = u64::try_from(REQUEST_BYTES).unwrap_or(u64::MAX);
    match (&mut decoder).take(limit).read_to_end(&mut text) {
        Ok(_) if text.len() == REQUEST_BYTES => Err(ErrorKind::FileTooLarge.into()),
        Ok(_) => Ok(Some((text, bytes.len() - decoder.into_inner().len()))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers a request; false if the client is gone.
async fn answer(
    client: &Arc<Client>,
    stream: &mut (impl ApiStream + ?Sized),
    request: &[u8],
    gone: CancellationToken,
) -> bool {
    let Ok(request) = serde_json::from_slice::<KorvRequest>(request) else {
        let why = Refusal::usage("a request has `id`, `verb` and `resource`, and its `body` is an object");
        return send(stream, &Value::Null, refused(&why)).await;
    };
    if request.verb == "GET" && request.resource == "/hello" {
        let hello = json!({ "server": "rollcall", "version": VERSION, "identity": client.operator.name });
        return send(stream, &request.id, (200, hello)).await;
    }
    let fields = request.body.unwrap_or_default();
    let code = match find(Asked { verb: &request.verb, resource: &request.resource, fields }) {
        Ok((resource, _)) if matches!(resource.gives, Gives::Stream | Gives::Archive | Gives::Raw) => {
            refused(&Refusal::usage("korv has no streams").hint("try: the subsystem rollcall-api"))
        }
        Ok(found) => reply(client, found, None, gone).await,
        Err(Some(refusal)) => refused(&refusal),
        Err(None) => refused(&Refusal::usage("a verb is GET, STORE, UPDATE or DELETE")),
    };
    send(stream, &request.id, code).await
}

async fn send(stream: &mut (impl ApiStream + ?Sized), request: &Value, (code, body): (u16, Value)) -> bool {
    let packed = match pack(request, code, &body) {
        Ok(packed) if packed.len() <= PACKET_BYTES => Ok(packed),
        Ok(packed) => {
            let why = format!(
                "the answer has {} bytes, and korv sends {PACKET_BYTES} at most; ask for less: {{\"limit\": 100}}",
                packed.len()
            );
            pack(request, 413, &json!({ "detail": why }))
        }
        Err(error) => Err(error),
    };
    let Ok(packed) = packed else { return false };
    let sending = async {
        stream.write_all(&packed).await?;
        stream.flush().await
    };
    matches!(timeout(STALL_LIMIT, sending).await, Ok(Ok(())))
}

fn pack(request: &Value, code: u16, body: &Value) -> std::io::Result<Vec<u8>> {
    let answer = json!({ "id": request, "request_id": request, "code": code, "body": body });
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(answer.to_string().as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_one_behind_the_other_and_in_pieces() {
        let (one, two) =
            (pack(&json!(1.5), 200, &json!({})).unwrap(), pack(&json!(2), 200, &json!({})).unwrap());
        let both = [one.clone(), two].concat();
        let (text, used) = unpack(&both).unwrap().unwrap();
        assert_eq!(used, one.len());
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["request_id"], 1.5);
        assert_eq!(unpack(&one[..one.len() - 3]).unwrap(), None);
        assert_eq!(unpack(&[]).unwrap(), None);
        assert!(unpack(b"GET / HTTP/1.1").is_err());
    }

    #[test]
    fn an_id_comes_back_as_it_was() {
        for step in 0..2_000 {
            // A time as Python writes it: the shortest text that is the same number.
            let id = format!("{:?}", 1_795_867_200.0 + f64::from(step) * 0.123_456_789);
            let request = format!("{{\"id\":{id},\"verb\":\"GET\",\"resource\":\"/hello\"}}");
            let request: KorvRequest = serde_json::from_str(&request).unwrap();
            let (text, _) = unpack(&pack(&request.id, 200, &json!({})).unwrap()).unwrap().unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains(&format!("\"request_id\":{id}")), "{id}: {text}");
        }
    }

    #[test]
    fn what_grows_without_end_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 64 * REQUEST_BYTES]).unwrap();
        assert!(unpack(&encoder.finish().unwrap()).is_err());
    }
}
