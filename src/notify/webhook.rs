//! Delivery by HTTP: a POST of JSON.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::domain::base::digest::hex;
use crate::domain::base::output::to_text;
use crate::domain::notify::channel::{Webhook, fill};
use crate::domain::notify::notice::Notice;
use crate::domain::value::secret::HIDDEN;
use crate::port::SendError;
use crate::present::notice;

/// Most bytes of a refusal that are read.
const ANSWER_LIMIT_BYTES: usize = 4 * 1024;

/// Shorter pieces of a URL are not keys.
const KEY_CHARS: usize = 8;

/// Most characters of a refusal that are reported.
const ANSWER_CHARS: usize = 200;

/// Posts a message. `id` is the same for each attempt.
pub(super) async fn send(hook: &Webhook, channel: &str, notice: &Notice, id: &str) -> Result<(), SendError> {
    let body = body(hook, channel, notice).map_err(SendError::Refused)?;
    let uri: Uri = hook.url.expose().parse().map_err(|_| SendError::Refused("the URL is none".into()))?;
    // Not the whole URL: the part behind the host is a key in most cases.
    let host = uri.authority().map(|authority| authority.host().to_string()).unwrap_or_default();
    let request = request(hook, uri, body, id).map_err(SendError::Refused)?;
    let config = tls(hook.ca.as_deref()).map_err(SendError::Down)?;
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.request(request).await;
    let answer =
        answer.map_err(|error| SendError::Down(format!("{host}: {}", hidden(hook, &in_full(&error)))))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said = Limited::new(answer.into_body(), ANSWER_LIMIT_BYTES).collect().await;
    let said = said.map(|said| to_text(&said.to_bytes())).unwrap_or_default();
    let said = hidden(hook, &said);
    let said: String =
        said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(ANSWER_CHARS).collect();
    let why = format!("{host} answered {status} {said}").trim_end().to_string();
    let is_for_all = status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    Err(if is_for_all { SendError::Down(why) } else { SendError::Refused(why) })
}

/// A text without the keys of the channel: many servers repeat an unknown path in their answer.
fn hidden(hook: &Webhook, text: &str) -> String {
    let url = hook.url.expose();
    let behind_host =
        url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let parts = behind_host.split(['/', '?', '&', '=']).filter(|part| part.len() >= KEY_CHARS);
    let secret = hook.secret.iter().map(|secret| secret.expose());
    let keys = [url, behind_host].into_iter().chain(parts).chain(secret);
    keys.filter(|key| key.len() >= KEY_CHARS).fold(text.to_string(), |text, key| text.replace(key, HIDDEN))
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text += &format!(": {inner}");
        source = inner.source();
    }
    text
}

fn body(hook: &Webhook, channel: &str, notice: &Notice) -> Result<Bytes, String> {
    let words = notice::words(notice, channel);
    let value = match &hook.body {
        Some(body) => fill(body, &words).map_err(|why| format!("`body`: {why}"))?,
        None => plain(notice),
    };
    Ok(Bytes::from(value.to_string()))
}

/// The form of Slack and similar services. Output of hosts must not notify people, as `<!channel>` would.
fn plain(notice: &Notice) -> Value {
    let text = format!("*{}*\n{}", notice::subject(notice), notice::text(notice));
    json!({ "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
}

fn request(hook: &Webhook, uri: Uri, body: Bytes, id: &str) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("Content-Type", "application/json")
        .header("User-Agent", "rollcall")
        .header("Idempotency-Key", id);
    if let Some(secret) = &hook.secret {
        request = request.header("X-Rollcall-Signature", signature(secret.expose().as_bytes(), &body)?);
    }
    for (name, value) in &hook.headers {
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

/// `sha256=` and the HMAC of the body in hexadecimal digits, as GitHub writes it.
fn signature(secret: &[u8], body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| error.to_string())?;
    mac.update(body);
    Ok(format!("sha256={}", hex(&mac.finalize().into_bytes())))
}

/// Trusts the authorities of the system, and those of `ca`.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // A system without authorities is acceptable if none are needed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let failed =
            |error: &dyn std::fmt::Display| format!("{}: {error}; try: another `ca`", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
