//! Refusals as problems (RFC 9457): the same words and hints as on the line.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::domain::base::name::clipped_lines;
use crate::domain::base::refusal::{Cause, Refusal};

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit status of the line.
    pub exit_status: u8,
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Problem {
        let (word, title, status) = words(refusal.cause);
        Problem {
            kind: format!("urn:rollcall:{word}"),
            title,
            status: status.as_u16(),
            detail: clipped_lines(&refusal.why),
            hint: refusal.hint.clone(),
            exit_status: refusal.cause.exit_status(),
        }
    }
}

/// The name, the title and the status of a cause.
pub(super) fn words(cause: Cause) -> (&'static str, &'static str, StatusCode) {
    match cause {
        Cause::Usage => ("usage", "The request is wrong", StatusCode::BAD_REQUEST),
        Cause::NotFound => ("not-found", "There is no such thing", StatusCode::NOT_FOUND),
        Cause::Rule => ("rule", "A rule or the present state does not allow it", StatusCode::CONFLICT),
        Cause::NotAllowed => ("not-allowed", "You may not do it", StatusCode::FORBIDDEN),
        Cause::Busy => ("busy", "In use", StatusCode::CONFLICT),
        Cause::NeedsPerson => ("needs-person", "A person has to decide first", StatusCode::CONFLICT),
        Cause::Failed => ("failed", "It was tried, and failed", StatusCode::BAD_GATEWAY),
        Cause::Unreachable => ("unreachable", "A host or service was not reached", StatusCode::BAD_GATEWAY),
        Cause::Internal => ("internal", "rollcall itself failed", StatusCode::INTERNAL_SERVER_ERROR),
        Cause::Continues => ("continues", "rollcall is stopping", StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// The response.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    respond(&Problem::from(refusal))
}

/// A problem of HTTP itself, which the line does not have.
pub(super) fn http(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Response<Body> {
    respond(&Problem {
        kind: "about:blank".into(),
        title,
        status: status.as_u16(),
        detail: detail.into(),
        hint: None,
        exit_status: Cause::Usage.exit_status(),
    })
}

fn respond(problem: &Problem) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(problem).unwrap_or_default()));
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
