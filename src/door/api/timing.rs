//! How long an answer took, as its header says.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use tokio::time::Instant;

/// Says how long rollcall took until the response began, so that a client can tell its time from that of the network.
pub(super) fn timed(mut response: Response<Body>, begun: Instant) -> Response<Body> {
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    let value = HeaderValue::from_str(&format!("rollcall;dur={millis:.3}"));
    response.headers_mut().extend(value.ok().map(|value| (SERVER_TIMING, value)));
    response
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
