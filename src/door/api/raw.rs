//! The bytes of an output over HTTP: all of them, or the range that was asked for.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use futures::StreamExt;
use futures::stream::{iter, unfold};
use tokio_util::sync::CancellationToken;

use super::channel::Api;
use super::perform::{RawAnswer, follow_raw};
use super::problem;
use crate::domain::ask::output::ByteRange;
use crate::domain::ask::resource::{Given, Resource};
use crate::domain::base::refusal::Refusal;
use crate::door::BytesPart;

const MEDIA: &str = "text/plain; charset=utf-8";

/// Responds with bytes as they are read.
pub(super) async fn respond(
    api: &Api,
    (resource, mut given): (&'static Resource, Given),
    headers: &HeaderMap,
    gone: CancellationToken,
) -> Response<Body> {
    // A file of a host has no part: it is read anew for each request.
    let has_parts = resource.fields().iter().any(|field| field.name == "bytes");
    let range = range_of(headers).filter(|_| has_parts);
    if let Some(range) = &range {
        given.entry("bytes").or_insert_with(|| range.clone().into());
    }
    let RawAnswer { mut pieces, part, end } = match follow_raw(&api.client, (resource, &given), gone.clone())
    {
        Ok(answer) => answer,
        Err(refusal) => return problem::refused(&refusal),
    };
    let first = pieces.recv().await;
    let Some(part) = part.get().cloned() else {
        let refusal = end.await.unwrap_or_else(|error| Some(Refusal::internal(error.to_string())));
        return problem::refused(&refusal.unwrap_or_else(|| Refusal::internal("the answer had no bytes")));
    };
    let guard = gone.drop_guard();
    let rest = unfold((pieces, guard), async |(mut pieces, guard)| {
        let piece = pieces.recv().await?;
        Some((piece, (pieces, guard)))
    });
    let body = iter(first).chain(rest).map(Ok::<_, std::convert::Infallible>);
    let mut response = response(&part, range.is_some(), headers, Body::from_stream(body));
    if !has_parts {
        let into = response.headers_mut();
        into.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        into.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        into.remove(header::ACCEPT_RANGES);
    }
    response
}

/// The one range that is asked for. Several ones, and one for a version that may be another, are answered with the whole.
fn range_of(headers: &HeaderMap) -> Option<String> {
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    let range = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim();
    ByteRange::read(range)?;
    Some(if range.starts_with('-') { format!("last{range}") } else { range.to_string() })
}

fn response(part: &BytesPart, is_range: bool, headers: &HeaderMap, body: Body) -> Response<Body> {
    // Output only grows, so the name and the length name its content.
    let tag = format!("\"{}-{}\"", part.name, part.length);
    let (status, body, length) = match part.range {
        _ if is_same_tag(headers, &tag) => (StatusCode::NOT_MODIFIED, Body::empty(), None),
        None => (StatusCode::RANGE_NOT_SATISFIABLE, Body::empty(), Some(0)),
        Some((from, to)) if is_range => (StatusCode::PARTIAL_CONTENT, body, Some(to - from)),
        Some((from, to)) => (StatusCode::OK, body, Some(to - from)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let into = response.headers_mut();
    let mut put = |name, text: &str| into.extend(HeaderValue::from_str(text).ok().map(|value| (name, value)));
    put(header::CONTENT_TYPE, MEDIA);
    put(header::CACHE_CONTROL, "private, no-cache");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::ACCEPT_RANGES, "bytes");
    put(header::ETAG, &tag);
    put(header::CONTENT_DISPOSITION, &format!("inline; filename=\"{}.log\"", part.name));
    if let Some(length) = length {
        put(header::CONTENT_LENGTH, &length.to_string());
    }
    match (status, part.range) {
        (StatusCode::PARTIAL_CONTENT, Some((from, to))) => {
            put(header::CONTENT_RANGE, &format!("bytes {from}-{}/{}", to.saturating_sub(1), part.length));
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
            put(header::CONTENT_RANGE, &format!("bytes */{}", part.length));
        }
        _ => {}
    }
    response
}

/// True if the client has the content with this tag.
pub(super) fn is_same_tag(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    known.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn one_range_is_taken_and_others_are_the_whole() {
        let table = [
            ("bytes=0-5", Some("0-5")),
            ("bytes=5-", Some("5-")),
            ("bytes=-5", Some("last-5")),
            ("bytes=0-1,3-4", None),
            ("bytes=x", None),
            ("lines=1-2", None),
        ];
        for (text, wanted) in table {
            assert_eq!(range_of(&asked(header::RANGE, text)).as_deref(), wanted, "{text}");
        }
        let mut conditional = asked(header::RANGE, "bytes=0-5");
        conditional.insert(header::IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(range_of(&conditional), None);
    }

    #[test]
    fn a_response_says_which_part_it_is() {
        let of = |range, is_range, headers: &HeaderMap| {
            let part = BytesPart { name: "41-web01-5-1".into(), length: 10, range };
            let response = response(&part, is_range, headers, Body::empty());
            let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_string());
            (response.status().as_u16(), text(header::CONTENT_RANGE), text(header::CONTENT_LENGTH))
        };
        let (none, some) = (HeaderMap::new(), |text: &str| Some(text.to_string()));
        assert_eq!(of(Some((0, 10)), false, &none), (200, None, some("10")));
        assert_eq!(of(Some((2, 5)), true, &none), (206, some("bytes 2-4/10"), some("3")));
        assert_eq!(of(None, true, &none), (416, some("bytes */10"), some("0")));
        assert_eq!(
            of(Some((0, 10)), false, &asked(header::IF_NONE_MATCH, "\"41-web01-5-1-10\"")),
            (304, None, None)
        );
    }
}
