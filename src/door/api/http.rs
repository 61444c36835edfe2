//! HTTP/1.1 over a channel: reads requests within bounds, and answers them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::channel::{Api, ApiStream, Refused, Subsystem, over};
use super::items::Page;
use super::perform::{Answer, follow, perform_with};
use super::plain::{text_of, wanted_page};
use super::query::{query, wrong};
use super::stream::{self, StreamForm};
use super::timing::timed;
use super::{gate, openapi, pages, problem, raw};
use crate::domain::ask::command::LINE_LIMIT_BYTES;
use crate::domain::ask::resource::{Given, Gives, RESOURCES, Resource, Verb};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::output::clipped;
use crate::door::client::Client;
use crate::local::artifacts::{Piece, WAITING_PIECES};
use crate::version::VERSION;

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_LIMIT: Duration = Duration::from_secs(120);

/// How long the body of a request may take.
const BODY_LIMIT: Duration = Duration::from_secs(20);

/// How long the answers under way may take when the connection has to be closed.
const FAREWELL: Duration = Duration::from_secs(4);

const HEADERS_LIMIT: usize = 64;

/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// Most characters of a remark: programs refuse long headers.
const REMARK_CHARS: usize = 256;

/// Most lines of remarks that are headers.
const REMARKS_LIMIT: usize = 16;

/// Serves a channel.
pub(super) async fn serve(
    client: Arc<Client>,
    subsystem: Subsystem,
    stream: impl ApiStream,
    gone: CancellationToken,
) {
    let api = Api { client, is_forwarded: subsystem == Subsystem::Forwarded, gone: gone.clone() };
    let service = TowerToHyperService::new(router(&api));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .max_buf_size(HEAD_BYTES)
        // A program may close its standard input behind its request.
        .half_close(subsystem == Subsystem::Http)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = over(&api.client, &gone) => {
            connection.as_mut().graceful_shutdown();
            match timeout(FAREWELL, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the API ended");
    }
}

fn router(api: &Api) -> Router {
    let mut router = Router::new();
    let mut paths: Vec<&str> = RESOURCES.iter().map(|resource| resource.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let all = RESOURCES.iter().filter(|resource| resource.path == path);
        router =
            router.route(path, all.fold(MethodRouter::new(), |methods, one| methods.merge(route(api, one))));
    }
    router = pages::routes(router, api);
    let (entering, about, checked) = (api.clone(), api.clone(), api.clone());
    router
        .route(
            "/enter/{word}",
            get(move |params: RawPathParams, request: Request| async move {
                gate::enter(&entering, &params, &request)
            }),
        )
        .route("/", get(move |request: Request| async move { front(&about, request).await }))
        .route(
            "/openapi.json",
            get(move |request: Request| async move {
                gate::check(&checked, &request)
                    .map_or_else(|refused| *refused, |()| json(StatusCode::OK, openapi::text()))
            }),
        )
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let detail = format!("{} has no {method}; see: /openapi.json", uri.path());
            problem::http(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
        })
        .fallback(async |uri: Uri| {
            let detail = format!("there is no {}; see: /openapi.json", uri.path());
            problem::http(StatusCode::NOT_FOUND, "Not found", detail)
        })
}

fn route(api: &Api, resource: &'static Resource) -> MethodRouter {
    let filter = match resource.verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
        Verb::Delete => MethodFilter::DELETE,
    };
    let api = api.clone();
    on(filter, move |params: RawPathParams, request: Request| async move {
        if let Err(refused) = gate::check(&api, &request) {
            return *refused;
        }
        let begun = Instant::now();
        match read(resource, &params, request).await {
            Ok(asked) => timed(respond(&api, asked).await, begun),
            Err(refused) => *refused,
        }
    })
}

/// What is at the root: the board for browsers, and for programs where to go on.
async fn front(api: &Api, request: Request) -> Response<Body> {
    if pages::wants_page(request.headers()) {
        return pages::page(api, request).await;
    }
    if let Err(refused) = gate::check(api, &request) {
        return *refused;
    }
    let about = serde_json::json!({
        "rollcall": VERSION, "operator": api.client.operator.name, "resources": "/openapi.json", "events": "/v1/events",
    });
    json(StatusCode::OK, about.to_string())
}

/// A request that was read.
struct AskedResource {
    resource: &'static Resource,
    given: Given,
    headers: HeaderMap,
    page: Page,
    /// What the command reads as a file.
    file: Option<mpsc::Receiver<Piece>>,
}

async fn read(
    resource: &'static Resource,
    params: &RawPathParams,
    request: Request,
) -> Result<AskedResource, Refused> {
    let (head, body) = request.into_parts();
    let mut given = Given::new();
    for (name, value) in params {
        given.insert(name.into(), value.into());
    }
    for (name, value) in query(&head.uri)? {
        put(&mut given, &name, value)?;
    }
    let (mut file, mut body) = (None, Some(body));
    if resource.takes_file() && is_media(&head.headers, FILE_MEDIA) {
        file = body.take().map(pieces_of);
    }
    if let Some(body) = body.filter(|_| resource.acts()) {
        for (name, value) in read_body(&head.headers, body).await? {
            if given.insert(name.clone(), value).is_some() {
                return Err(wrong(format!("`{name}` is given twice")));
            }
        }
    }
    let page = wanted_page(resource, &mut given).map_err(|refusal| Box::new(problem::refused(&refusal)))?;
    resume(resource, &mut given, &head.headers);
    Ok(AskedResource { resource, given, headers: head.headers, page, file })
}

/// Adds a field of a query: `params.version` is the value `version` of `params`.
fn put(given: &mut Given, name: &str, value: String) -> Result<(), Refused> {
    let is_new = match name.split_once('.') {
        None => given.insert(name.into(), value.into()).is_none(),
        Some((values, name)) => match given.entry(values).or_insert_with(|| Given::new().into()) {
            Value::Object(values) => values.insert(name.into(), value.into()).is_none(),
            _ => false,
        },
    };
    if is_new { Ok(()) } else { Err(wrong(format!("`{name}` is given twice"))) }
}

/// The media type of a body that is the file of a task.
const FILE_MEDIA: &str = "application/octet-stream";

/// A body as the file of a command, which is read while it arrives. One that is cut off has no end.
fn pieces_of(body: Body) -> mpsc::Receiver<Piece> {
    let (to, pieces) = mpsc::channel(WAITING_PIECES);
    tokio::spawn(async move {
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            let Ok(bytes) = piece else { return };
            if to.send(Piece::Bytes(bytes)).await.is_err() {
                return;
            }
        }
        let _ = to.send(Piece::End).await;
    });
    pieces
}

fn is_media(headers: &HeaderMap, media: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(media))
}

/// The object in a body; an empty body has no fields.
async fn read_body(headers: &HeaderMap, body: Body) -> Result<Given, Refused> {
    let read = timeout(BODY_LIMIT, Limited::new(body, LINE_LIMIT_BYTES).collect());
    let bytes: Bytes = match read.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("a body has at most {LINE_LIMIT_BYTES} bytes");
            return Err(Box::new(problem::http(StatusCode::PAYLOAD_TOO_LARGE, "Body too large", detail)));
        }
        Ok(Err(error)) => return Err(wrong(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let detail = format!("the body was not complete after {} seconds", BODY_LIMIT.as_secs());
            return Err(Box::new(problem::http(StatusCode::REQUEST_TIMEOUT, "Body too slow", detail)));
        }
    };
    if bytes.is_empty() {
        return Ok(Given::new());
    }
    if !is_media(headers, "application/json") {
        let detail = "a body is a JSON object, with `Content-Type: application/json`";
        return Err(Box::new(problem::http(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported media type",
            detail,
        )));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(given)) => Ok(given),
        Ok(_) => Err(wrong("the body is no JSON object")),
        // Without the text: it may be secret.
        Err(error) => {
            Err(wrong(format!("the body is no JSON: line {}, column {}", error.line(), error.column())))
        }
    }
}

const EVENTS: &str = "/v1/events";

/// The names that programs know from other servers: `after`, and the header by which browsers go on.
fn resume(resource: &Resource, given: &mut Given, headers: &HeaderMap) {
    if resource.path != EVENTS {
        return;
    }
    if let Some(after) = given.remove("after") {
        given.insert("since".into(), after);
    }
    if let Some(last) = stream::last_event_id(headers) {
        given.insert("since".into(), last.into());
    }
    if StreamForm::of(headers) == StreamForm::Events {
        given.entry("follow").or_insert(true.into());
    }
}

async fn respond(api: &Api, asked: AskedResource) -> Response<Body> {
    let AskedResource { resource, given, headers, page, file } = asked;
    let gone = api.gone.child_token();
    match resource.gives {
        Gives::Raw => raw::respond(api, (resource, given), &headers, gone).await,
        Gives::Stream | Gives::Archive => {
            let form =
                if resource.gives == Gives::Archive { StreamForm::Archive } else { StreamForm::of(&headers) };
            match follow(&api.client, (resource, &given), gone.clone()) {
                Ok((pieces, end)) => {
                    stream::respond((pieces, end), (form, stream::last_event_id(&headers)), gone).await
                }
                Err(refusal) => problem::refused(&refusal),
            }
        }
        _ => {
            let _gone_at_the_end = gone.clone().drop_guard();
            let key = match key_of(&headers) {
                Ok(key) => key,
                Err(refused) => return *refused,
            };
            let answer = perform_with(&api.client, (resource, &given), (key, file), gone).await;
            let answered =
                answer.and_then(|answer| text_of(resource, &answer, &page).map(|body| (answer, body)));
            match answered {
                Ok((answer, body)) => finished(resource, (answer, body), &headers),
                Err(refusal) => problem::refused(&refusal),
            }
        }
    }
}

/// What makes a request one that was sent before, after its answer was lost.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    match (key.to_str(), keys.next()) {
        (Ok(key), None) => Ok(Some(key)),
        _ => Err(wrong("`Idempotency-Key` is one text of letters, digits and signs")),
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the line reports by its exit status.
const EXIT_STATUS: HeaderName = HeaderName::from_static("rollcall-exit-status");

/// Lines for people: hints and warnings.
const REMARK: HeaderName = HeaderName::from_static("rollcall-remark");

fn finished(resource: &Resource, (answer, body): (Answer, String), headers: &HeaderMap) -> Response<Body> {
    let media = match resource.gives {
        Gives::Text(media) => media,
        _ => "application/json",
    };
    let tag = format!("\"{}\"", &sha256_hex(body.as_bytes())[..32]);
    let is_known = resource.verb == Verb::Get && raw::is_same_tag(headers, &tag);
    let status = match answer.run {
        _ if is_known => StatusCode::NOT_MODIFIED,
        Some(_) if resource.gives == Gives::Run => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let mut response = with_type(status, if is_known { String::new() } else { body }, media);
    let into = response.headers_mut();
    if resource.verb == Verb::Get {
        into.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    }
    if let Some(run) = answer.run.filter(|_| resource.gives == Gives::Run) {
        let place = HeaderValue::from_str(&format!("/v1/runs/{run}"));
        into.extend(place.ok().map(|place| (header::LOCATION, place)));
    }
    // The command of a run that has just started has no end yet.
    if status != StatusCode::CREATED {
        into.insert(EXIT_STATUS, HeaderValue::from(u16::from(answer.status)));
    }
    for line in answer.remarks.lines().take(REMARKS_LIMIT) {
        let line = clipped(line.strip_prefix("rollcall: ").unwrap_or(line), REMARK_CHARS);
        let line = line.as_str();
        if let Ok(value) = HeaderValue::from_str(line).or_else(|_| HeaderValue::from_bytes(line.as_bytes())) {
            into.append(REMARK, value);
        }
    }
    response
}

/// A response in JSON.
pub(super) fn json(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    with_type(status, text, "application/json")
}

fn with_type(status: StatusCode, body: impl Into<Body>, media: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use futures::stream::{iter, pending};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_refused_in_time() {
        let slow = iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{"))]).chain(pending());
        let begun = tokio::time::Instant::now();
        let refused = read_body(&HeaderMap::new(), Body::from_stream(slow)).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(begun.elapsed(), BODY_LIMIT);
    }
}
