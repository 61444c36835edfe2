//! HTTP, with or without TLS: one request, redirects, and the revalidation of a cached answer.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connect::{Connector, Failed};
use crate::domain::base::name::bare_address;
use crate::domain::base::output::to_text;
use crate::domain::check::probe::{Http, Trust};
use crate::domain::check::seen::{HttpAnswer, Observation};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::Stream;

/// Most bytes of a body that are read; a larger one is cut there.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// A body without its compression. Some services compress every answer, although the request forbids it.
fn decompressed(encoding: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let limit = BODY_LIMIT_BYTES as u64;
    let read = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => return Ok(body.to_vec()),
        "gzip" | "x-gzip" => MultiGzDecoder::new(body).take(limit).read_to_end(&mut plain),
        "deflate" => ZlibDecoder::new(body).take(limit).read_to_end(&mut plain),
        other => {
            return Err(format!("the answer is compressed with {other:?}, so its text cannot be judged"));
        }
    };
    // A body that was cut at the limit ends early, and so does its compression.
    match read {
        Err(error) if plain.is_empty() => {
            Err(format!("the answer says that it is compressed with {encoding:?}, and it is not: {error}"))
        }
        _ => Ok(plain),
    }
}

pub(super) struct HttpExchange<'a> {
    pub connector: &'a Connector,
    pub host: &'a Endpoint,
    pub http: &'a Http,
}

impl HttpExchange<'_> {
    pub(super) async fn answer(&self) -> Result<Observation, Failed> {
        let begun = Instant::now();
        let mut path = self.http.path.clone();
        let mut answer = self.ask(self.http, &path, &[]).await?;
        let mut http = self.http.clone();
        for _ in 0..self.http.follow {
            let to = answer.header("location").filter(|_| (300..400).contains(&answer.status));
            let Some(to) = to else { break };
            // As browsers do (RFC 9110, 15.4): a body is not sent again after these redirects.
            if answer.status == 303 || (matches!(answer.status, 301 | 302) && http.method == "POST") {
                (http.method, http.send) = ("GET".into(), None);
            }
            path = self.same_service(&to, &path).map_err(Failed::Service)?;
            answer = self.ask(&http, &path, &[]).await?;
        }
        answer.took = begun.elapsed();
        if self.http.cache.as_ref().is_some_and(|cache| cache.revalidates.is_some()) {
            answer.revalidated = self.revalidate(&path, &answer).await?;
        }
        Ok(Observation::Answered(Box::new(answer)))
    }

    /// Repeats the request with the validator of the answer.
    async fn revalidate(&self, path: &str, answer: &HttpAnswer) -> Result<Option<u16>, Failed> {
        let validator = [("etag", "if-none-match"), ("last-modified", "if-modified-since")]
            .into_iter()
            .find_map(|(name, question)| Some((question, answer.header(name)?)));
        let Some((question, value)) = validator else { return Ok(None) };
        Ok(Some(self.ask(self.http, path, &[(question, value)]).await?.status))
    }

    /// The path of a redirect on this same service. Other targets are not followed: another machine would
    /// answer in its place.
    fn same_service(&self, location: &str, path: &str) -> Result<String, String> {
        let elsewhere =
            || format!("it leads to {location}, which is not followed: only paths on the same service are");
        if let Some((scheme, rest)) = location.split_once("://") {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let ours = [self.name(), self.http.host.clone().unwrap_or_default()];
            let same_scheme = (scheme == "https") == self.http.tls.is_some();
            let bare = |name: &str| {
                let usual = if scheme == "https" { ":443" } else { ":80" };
                name.to_ascii_lowercase().trim_end_matches(usual).to_string()
            };
            let here = same_scheme && ours.iter().any(|name| bare(name) == bare(authority));
            let path = if path.is_empty() { "/" } else { path };
            return here.then(|| path.to_string()).ok_or_else(elsewhere);
        }
        if location.starts_with("//") {
            return Err(elsewhere());
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(if location.starts_with('/') { location.into() } else { format!("{folder}/{location}") })
    }

    fn name(&self) -> String {
        let http = self.http;
        let address = bare_address(&http.address);
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
        http.host.clone().unwrap_or_else(|| format!("{address}:{}", http.port))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Failed> {
        let http = self.http;
        let stream = self.connector.open(self.host, &http.address, &http.port).await?;
        let Some(trust) = http.tls else { return Ok(stream) };
        let name = http.host.as_deref().unwrap_or(&http.address);
        let named = name.rsplit_once(':').filter(|(name, port)| {
            port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
        });
        let name = bare_address(named.map_or(name, |(name, _)| name));
        let (stream, shook) =
            self.connector.shaker.shake(stream, name, trust).await.map_err(Failed::Service)?;
        if let Some(why) = shook.cannot_tell.filter(|_| trust == Trust::Full) {
            return Err(Failed::Said(Observation::Blind { why }));
        }
        match shook.distrusted {
            Some(why) if trust == Trust::Full => {
                Err(Failed::Service(format!("the certificate is not trusted: {why}")))
            }
            _ => Ok(Box::new(stream)),
        }
    }

    /// One request. The error says how the service failed to answer.
    async fn ask(&self, http: &Http, path: &str, more: &[(&str, String)]) -> Result<HttpAnswer, Failed> {
        let failed = |error: &dyn std::fmt::Display| Failed::Service(format!("no HTTP answer: {error}"));
        let stream = self.connect().await?;
        // Old services fold headers, or write a blank before the colon: their answers can be read all the same.
        let mut client = http1::Builder::new();
        client
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true);
        let (mut sender, connection) =
            client.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let driving = tokio::spawn(connection);
        let mut request = Request::builder().method(http.method.as_str()).uri(path);
        let own = [
            ("host", self.name()),
            ("user-agent", "rollcall".into()),
            ("connection", "close".into()),
            ("accept-encoding", "identity".into()),
        ];
        let given = |name: &str| self.http.headers.keys().any(|known| known.eq_ignore_ascii_case(name));
        for (name, value) in own.into_iter().filter(|(name, _)| !given(name)) {
            request = request.header(name, value);
        }
        for (name, value) in &self.http.headers {
            request = request.header(name, value);
        }
        for (name, value) in more {
            request = request.header(*name, value);
        }
        let body = Bytes::from(http.send.clone().unwrap_or_default());
        // The service was not asked, so nothing is known about it.
        let unasked = |why: String| Failed::Said(Observation::Blind { why });
        let request = request
            .body(Full::new(body))
            .map_err(|error| unasked(format!("{path:?} cannot be requested: {error}")))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), to_text(value.as_bytes()))).collect();
        let mut body = Vec::new();
        let mut incoming = Limited::new(answer.into_body(), BODY_LIMIT_BYTES);
        let mut cut = false;
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => frame.into_data().iter().for_each(|data| body.extend_from_slice(data)),
                Err(error) if error.is::<LengthLimitError>() => {
                    cut = true;
                    break;
                }
                Err(error) => return Err(Failed::Service(format!("the answer ended early: {error}"))),
            }
        }
        driving.abort();
        let answer = HttpAnswer { status, headers, cut, ..HttpAnswer::default() };
        let encoding = answer.header("content-encoding").unwrap_or_default();
        match decompressed(&encoding, &body) {
            Ok(body) => Ok(HttpAnswer { body: to_text(&body), ..answer }),
            Err(why) if http.reads_body() => Err(unasked(why)),
            Err(_) => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_packed_answer_is_read_and_an_unknown_encoding_is_told() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"version 1.2").unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(decompressed("gzip", &gzip), Ok(b"version 1.2".to_vec()));
        assert_eq!(decompressed(" X-GZIP", &gzip), Ok(b"version 1.2".to_vec()));
        assert_eq!(decompressed("", b"plain"), Ok(b"plain".to_vec()));
        assert_eq!(
            decompressed("br", b"x"),
            Err("the answer is compressed with \"br\", so its text cannot be judged".into())
        );
        let lies = decompressed("gzip", b"plain").unwrap_err();
        assert!(lies.contains("it is compressed with \"gzip\", and it is not"), "{lies}");
    }
}
