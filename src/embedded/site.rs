//! The application of one web host: a small HTTP service that reports which release it serves.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http;

/// Serves the application of the host `name` that lives in `dir`, until `shutdown`:
///
/// - `/` answers `hello from NAME, version VERSION`, `/health` the version alone, as
///   `current/VERSION` has it;
/// - `/health` answers 503 `broken` while `current/BROKEN` is there;
/// - both answer 503 while the application is `down` (a file of that name) or has no release.
pub async fn serve(name: String, dir: PathBuf, listener: TcpListener, shutdown: CancellationToken) {
    let site = Arc::new((name, dir));
    let service = service_fn(move |request: Request<Incoming>| {
        let site = site.clone();
        async move {
            let (status, body) = answer(&site.0, &site.1, request.method(), request.uri().path()).await;
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    http::serve(listener, service, shutdown).await;
}

async fn answer(name: &str, dir: &Path, method: &Method, path: &str) -> (StatusCode, String) {
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    if path != "/" && path != "/health" {
        return (StatusCode::NOT_FOUND, "not found\n".into());
    }
    let version = match version(dir).await {
        Ok(version) => version,
        Err(why) => return (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    match path {
        "/" => (StatusCode::OK, format!("hello from {name}, version {version}\n")),
        _ if is_there(&dir.join("current/BROKEN")).await => {
            (StatusCode::SERVICE_UNAVAILABLE, "broken".into())
        }
        _ => (StatusCode::OK, format!("{version}\n")),
    }
}

/// The version that is served, or why none is.
async fn version(dir: &Path) -> Result<String, String> {
    if is_there(&dir.join("down")).await {
        return Err("restarting\n".into());
    }
    match tokio::fs::read_to_string(dir.join("current/VERSION")).await {
        Ok(text) => Ok(text.trim().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("no release\n".into()),
        Err(error) => Err(format!("{error}\n")),
    }
}

async fn is_there(path: &Path) -> bool {
    tokio::fs::try_exists(path).await.unwrap_or(false)
}
