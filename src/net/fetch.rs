//! Fetches files for artifacts from this machine, over HTTP: within limits, and only over addresses that answer for a file.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION};
use hyper::{Request, Response, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower_service::Service;

use crate::domain::base::name::bare_address;
use crate::domain::value::param::shown_url;
use crate::local::artifacts::Piece;
use crate::port::{FetchBounds, Fetcher};

/// Most redirects: a release page leads to its storage by one or two.
const REDIRECTS: usize = 5;

/// The time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time until a server starts to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for a whole file. The pauses within it are limited by its receiver.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Fetches over connections of its own, one for each file.
pub struct Fetches;

#[async_trait]
impl Fetcher for Fetches {
    async fn fetch(&self, url: &str, bounds: FetchBounds, to: mpsc::Sender<Piece>) -> Result<(), String> {
        let fetching = async {
            let answer = answer(url, bounds).await?;
            pass_on(answer, bounds, to).await
        };
        let late = || format!("it took longer than {} minutes", WHOLE_TIMEOUT.as_secs() / 60);
        timeout(WHOLE_TIMEOUT, fetching).await.map_err(|_| late())?
    }
}

/// The answer with the file, after redirects.
async fn answer(url: &str, bounds: FetchBounds) -> Result<Response<Incoming>, String> {
    let mut uri: Uri = url.parse().map_err(|error| format!("{}: {error}", shown_url(url)))?;
    let mut may_loop_back = true;
    for _ in 0..=REDIRECTS {
        check_uri(&uri, bounds, may_loop_back)?;
        let answer = ask(&uri, Lookup { bounds, may_loop_back }).await?;
        if !answer.status().is_redirection() {
            return match answer.status().is_success() {
                true => Ok(answer),
                false => Err(format!("{} answered {}", host_of(&uri), answer.status())),
            };
        }
        let next = next_uri(&uri, &answer)?;
        // A server elsewhere must not lead rollcall to services of its own machine.
        may_loop_back = is_loopback_name(host_of(&uri));
        uri = next;
    }
    Err(format!("{} leads through more than {REDIRECTS} redirects", shown_url(url)))
}

fn host_of(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}

fn is_loopback_name(host: &str) -> bool {
    let address = bare_address(host).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The target of a redirect. TLS is never left.
fn next_uri(uri: &Uri, answer: &Response<Incoming>) -> Result<Uri, String> {
    let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
    let to = to.ok_or_else(|| format!("{} redirects to no address", host_of(uri)))?;
    let next = if to.starts_with('/') && !to.starts_with("//") {
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        format!("{}://{authority}{to}", uri.scheme_str().unwrap_or("https"))
    } else {
        to.to_string()
    };
    let next: Uri =
        next.parse().map_err(|error| format!("{} redirects to {}: {error}", host_of(uri), shown_url(to)))?;
    if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(format!("{} redirects to {}, which is not https", host_of(uri), shown_url(to)));
    }
    Ok(next)
}

/// An address in the URL itself is not looked up, so it is judged here.
fn check_uri(uri: &Uri, bounds: FetchBounds, may_loop_back: bool) -> Result<(), String> {
    let host = host_of(uri);
    if host.is_empty() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("{}: no address of HTTP", shown_url(&uri.to_string())));
    }
    match bare_address(host).parse::<IpAddr>() {
        Ok(address) => Lookup { bounds, may_loop_back }.check(host, address),
        Err(_) => Ok(()),
    }
}

async fn ask(uri: &Uri, lookup: Lookup) -> Result<Response<Incoming>, String> {
    let host = host_of(uri).to_string();
    let mut tcp = HttpConnector::new_with_resolver(lookup);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::builder().uri(uri.clone()).header("User-Agent", "rollcall");
    let request =
        login_of(uri).into_iter().fold(request, |request, login| request.header(AUTHORIZATION, login));
    // A compressed answer would be another file.
    let request = request.header("Accept-Encoding", "identity").body(Empty::new());
    let asking = client.request(request.map_err(|error| error.to_string())?);
    match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(answer) => answer.map_err(|error| format!("{host}: {}", in_full(&error))),
        Err(_) => Err(format!("{host} did not answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

/// The login in the address. A redirect names another address, which has its own or none.
fn login_of(uri: &Uri) -> Option<HeaderValue> {
    let (login, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(percent_decoded(login)?);
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The bytes of a part of an address.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
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

fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Without authorities files can still be fetched without TLS: their digest decides.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Passes the file on. The receiver counts the bytes; a file that says that it is too large is not even started.
async fn pass_on(
    answer: Response<Incoming>,
    bounds: FetchBounds,
    to: mpsc::Sender<Piece>,
) -> Result<(), String> {
    let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if let Some(length) = length.and_then(|length| length.parse::<u64>().ok())
        && length > bounds.max_size
    {
        return Err(format!("it has {length} bytes, and `max_size` is {}", bounds.max_size));
    }
    let mut body = answer.into_body();
    loop {
        let next = tokio::select! {
            next = body.frame() => next,
            // A server that sends nothing must not be waited for longer than the receiver does.
            () = to.closed() => return Ok(()),
        };
        let Some(frame) = next else { break };
        let frame = frame.map_err(|error| format!("it broke off: {}", in_full(&error)))?;
        if let Ok(bytes) = frame.into_data()
            && to.send(Piece::Bytes(bytes)).await.is_err()
        {
            // The receiver has its own error.
            return Ok(());
        }
    }
    let _ = to.send(Piece::End).await;
    Ok(())
}

/// Looks names up, and refuses addresses where no file can be.
#[derive(Clone, Copy)]
struct Lookup {
    bounds: FetchBounds,
    may_loop_back: bool,
}

impl Lookup {
    fn check(self, host: &str, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            // Clouds have their metadata at fd00:ec2::254, too.
            IpAddr::V6(address) => {
                address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0x0ec2]
            }
        };
        if is_link_local && !self.bounds.link_local {
            return Err(format!(
                "{host} is the link-local address {address}, where clouds have their metadata; see `link_local` of \
                 [artifacts] in rollcall.toml"
            ));
        }
        if address.is_unspecified() || address.is_multicast() {
            return Err(format!("{host} is {address}, which is no machine"));
        }
        if address.is_loopback() && !self.may_loop_back {
            return Err(format!("a redirect leads to {host}, which is this machine itself"));
        }
        Ok(())
    }
}

impl Service<Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                lookup.check(name.as_str(), address.ip()).map_err(std::io::Error::other)?;
            }
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_from_machines_and_never_from_metadata() {
        let closed = FetchBounds { max_size: 10, link_local: false };
        let open = FetchBounds { link_local: true, ..closed };
        let table = [
            ("http://127.0.0.1/app", true, None),
            ("http://[::1]/app", true, None),
            ("https://10.0.0.1/app", true, None),
            ("https://builds.example.com/app", false, None),
            ("http://127.0.0.1/app", false, Some("which is this machine itself")),
            ("http://[::ffff:127.0.0.1]/app", false, Some("which is this machine itself")),
            ("http://169.254.169.254/latest", true, Some("where clouds have their metadata")),
            ("http://[::ffff:169.254.169.254]/latest", true, Some("where clouds have their metadata")),
            ("http://[fe80::1]/app", true, Some("where clouds have their metadata")),
            ("http://[fd00:ec2::254]/app", true, Some("where clouds have their metadata")),
            ("http://0.0.0.0/app", true, Some("which is no machine")),
            ("ftp://10.0.0.1/app", true, Some("no address of HTTP")),
        ];
        for (url, may_loop_back, wanted) in table {
            let judged = check_uri(&url.parse().unwrap(), closed, may_loop_back);
            match (judged, wanted) {
                (Ok(()), None) => {}
                (Err(why), Some(part)) => assert!(why.contains(part), "{url}: {why}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        assert!(check_uri(&"http://169.254.169.254/x".parse().unwrap(), open, true).is_ok());
    }
}
