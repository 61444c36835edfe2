//! TLS: the handshake is completed with any certificate, so that all of it can be reported, with the verdict
//! of a browser beside it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::domain::check::probe::Trust;
use crate::domain::check::seen::Handshake;
use crate::port::{Clock, Stream};

const DAY_SECONDS: f64 = 24.0 * 3600.0;

/// The trusted roots of the daemon's machine, read when they are first needed.
type Roots = Arc<OnceLock<Result<Arc<WebPkiServerVerifier>, String>>>;

/// Performs TLS handshakes.
pub(super) struct Shaker {
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    roots: Roots,
}

impl Shaker {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Shaker {
        Shaker { clock, provider: Arc::new(ring::default_provider()), roots: Roots::default() }
    }

    /// The stream, and the certificates that the server presented. The error says why there is no stream.
    pub(super) async fn shake(
        &self,
        stream: Box<dyn Stream>,
        name: &str,
        trust: Trust,
    ) -> Result<(TlsStream<Box<dyn Stream>>, Handshake), String> {
        let server = ServerName::try_from(name.to_string())
            .map_err(|error| format!("{name:?} is no name for TLS: {error}"))?;
        let witness = Arc::new(Witness {
            provider: self.provider.clone(),
            roots: self.roots.clone(),
            seen: Mutex::default(),
            trust,
        });
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        let shaking = TlsConnector::from(Arc::new(config)).connect(server, stream);
        let stream = shaking.await.map_err(|error| format!("no TLS: {error}"))?;
        let seen = std::mem::take(&mut *witness.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let now = self.clock.now().as_second();
        Ok((stream, tell(&seen, now)))
    }
}

#[derive(Default)]
struct ObservedTls {
    chain: Vec<CertificateDer<'static>>,
    distrusted: Option<String>,
    cannot_tell: Option<String>,
}

/// Accepts every certificate, and keeps it with its faults.
struct Witness {
    provider: Arc<CryptoProvider>,
    roots: Roots,
    seen: Mutex<ObservedTls>,
    /// With [`Trust::Any`] the signatures of the handshake are not verified either: old keys have signatures that this
    /// library does not know.
    trust: Trust,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl Witness {
    fn judge(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        self.roots.get_or_init(|| roots(&self.provider)).clone()
    }
}

fn roots(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no root certificates (Debian's package ca-certificates)".into());
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (distrusted, cannot_tell) = match self.judge() {
            Ok(judge) => {
                let judged =
                    judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                (judged.err().map(|error| error.to_string()), None)
            }
            Err(why) => (None, Some(why)),
        };
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            ObservedTls { chain, distrusted, cannot_tell };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust == Trust::Any {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.trust == Trust::Any {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The report on a chain at a time.
fn tell(seen: &ObservedTls, now: i64) -> Handshake {
    let parsed: Vec<X509Certificate<'_>> = seen
        .chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed))
        .collect();
    let ends = parsed.iter().map(|certificate| certificate.validity().not_after.timestamp());
    let mut handshake = Handshake {
        distrusted: seen.distrusted.clone(),
        cannot_tell: seen.cannot_tell.clone(),
        chain: seen.chain.len(),
        // The chain is valid until its first certificate expires.
        days_left: ends.min().map_or(0.0, |end| (end - now) as f64 / DAY_SECONDS),
        ..Handshake::default()
    };
    let Some(leaf) = parsed.first() else {
        handshake.distrusted.get_or_insert_with(|| "the certificate cannot be read".into());
        return handshake;
    };
    handshake.subject = leaf.subject().to_string();
    handshake.issuer = leaf.issuer().to_string();
    let names = leaf.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
    handshake.names = names.into_iter().flatten().filter_map(name).collect();
    handshake
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_string()),
        GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
        GeneralName::IPAddress(bytes) => {
            <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
        }
        _ => None,
    }
}
