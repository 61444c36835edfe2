//! Certificates for logins: a CA signs one for each connection, with a new key and valid for minutes, so that hosts
//! have no key that lasts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, ssh_key};
use russh::{SendError, Signer};

use crate::domain::inventory::inventory::Endpoint;

/// A certificate is valid from so many seconds before it is signed: clocks of hosts may be behind.
const BEFORE_SECS: i64 = 60;

/// Most characters of a key id: sshd writes it to its log.
const KEY_ID_CHARS: usize = 120;

/// What a connection is for. It decides what the certificate permits, and is part of its key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Commands of runs, checks and operators, which share a connection.
    Commands,
    /// The same, and connections through the host: to hosts behind it, and of probes and balancers.
    Forwards,
    /// Proof that the host accepts a new login.
    Login,
    Doctor,
}

impl Errand {
    fn word(self) -> &'static str {
        match self {
            Errand::Commands => "commands",
            Errand::Forwards => "forwards",
            Errand::Login => "login",
            Errand::Doctor => "doctor",
        }
    }

    /// True if connections are opened through the host.
    pub fn forwards(self) -> bool {
        self == Errand::Forwards
    }
}

/// Reads a private key. One that others can read is refused, as `ssh` does; so is one with a passphrase.
pub(super) fn read_key(what: &str, path: &Path, instead: &str) -> Result<PrivateKey, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let about = std::fs::metadata(path).map_err(|error| format!("{what} {shown}: {error}"))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(format!("{what} {shown}: others can read it; try: chmod 600 {shown}"));
    }
    russh::keys::load_secret_key(path, None).map_err(|error| match error {
        russh::keys::Error::KeyIsEncrypted => format!("{what} {shown}: it has a passphrase; try: {instead}"),
        error => format!("{what} {shown}: {error}"),
    })
}

/// What certificates contain.
#[derive(Clone, Debug)]
pub struct CertificateRules {
    pub valid_for: Duration,
    /// None for the login of the host.
    pub principals: Vec<String>,
    pub source_address: Option<String>,
}

/// The CA.
pub struct Authority {
    key: PrivateKey,
    rules: CertificateRules,
}

/// The validity of a certificate, in seconds since 1970.
#[derive(Clone, Copy)]
struct Validity {
    after: u64,
    before: u64,
}

impl Validity {
    /// For questions alone: their keys sign nothing.
    const ALWAYS: Validity = Validity { after: 0, before: u64::MAX };
}

impl Authority {
    /// Reads the key of the CA: Ed25519, which others cannot read.
    pub fn read(path: &Path, rules: CertificateRules) -> Result<Authority, String> {
        let shown = path.display();
        let key = read_key("ca", path, "ssh-keygen -p, which removes it")?;
        match key.algorithm() {
            Algorithm::Ed25519 => Ok(Authority { key, rules }),
            other => Err(format!("ca {shown}: it is {other}; try: a new one of `ssh-keygen -t ed25519`")),
        }
    }

    /// Logs in with a new certificate.
    pub(super) async fn log_in(
        &self,
        (host, handle): (&Endpoint, &mut Handle<impl Handler>),
        errand: Errand,
        now: Timestamp,
    ) -> Result<AuthResult, String> {
        let issued = self.issue(host, errand, now);
        let (key, certificate) = issued.map_err(|error| format!("certificate: {error}"))?;
        tracing::debug!(key_id = certificate.key_id(), serial = certificate.serial(), "certificate signed");
        let answer = handle.authenticate_openssh_cert(host.login.clone(), key, certificate).await;
        answer.map_err(|error| error.to_string())
    }

    /// The CA by its fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    fn validity(&self, now: Timestamp) -> Validity {
        let seconds = |seconds: i64| u64::try_from(seconds).unwrap_or_default();
        let now = now.as_second();
        Validity {
            after: seconds(now - BEFORE_SECS),
            before: seconds(now).saturating_add(self.rules.valid_for.as_secs()),
        }
    }

    /// A certificate and its key, for one login.
    fn issue(
        &self,
        host: &Endpoint,
        errand: Errand,
        now: Timestamp,
    ) -> ssh_key::Result<(Arc<PrivateKey>, Certificate)> {
        let (key, mut builder) = self.unsigned(host, self.validity(now))?;
        builder.key_id(key_id(host, errand))?;
        builder.serial(u64::try_from(now.as_microsecond()).unwrap_or_default())?;
        if let Some(addresses) = &self.rules.source_address {
            builder.critical_option("source-address", addresses)?;
        }
        if errand.forwards() {
            builder.extension("permit-port-forwarding", "")?;
        }
        Ok((Arc::new(key), builder.sign(&self.key)?))
    }

    /// A key, and a certificate with the principals.
    fn unsigned(&self, host: &Endpoint, valid: Validity) -> ssh_key::Result<(PrivateKey, Builder)> {
        let rng = &mut safe_rng();
        let key = PrivateKey::random(rng, Algorithm::Ed25519)?;
        let public = key.public_key().key_data().clone();
        let mut builder = Builder::new_with_random_nonce(rng, public, valid.after, valid.before)?;
        builder.cert_type(CertType::User)?;
        for principal in self.principals(host) {
            builder.valid_principal(principal)?;
        }
        Ok((key, builder))
    }

    fn principals<'a>(&'a self, host: &'a Endpoint) -> Vec<&'a str> {
        match self.rules.principals.is_empty() {
            true => vec![&host.login],
            false => self.rules.principals.iter().map(String::as_str).collect(),
        }
    }

    /// Why a host refused the certificate. sshd gives no reason, so the host is asked which other one it would accept.
    pub(super) async fn explain(
        &self,
        (host, handle): (&Endpoint, &mut Handle<impl Handler>),
        now: Timestamp,
    ) -> String {
        let source = self.rules.source_address.as_deref();
        if self.would_accept(host, handle, source).await {
            return self.clock_differs(now);
        }
        match source {
            Some(addresses) if self.would_accept(host, handle, None).await => format!(
                "the host accepts it from another address alone: {addresses} (`source_address`) contains no address \
                 from which this connection arrives; try: the address that `echo $SSH_CLIENT` prints on the host"
            ),
            _ => self.not_trusted(host),
        }
    }

    /// True if the host would accept a certificate that is valid at any time. Its key is dropped before the host
    /// answers, and it permits one command that does nothing: as a login it is of no use.
    async fn would_accept(
        &self,
        host: &Endpoint,
        handle: &mut Handle<impl Handler>,
        source: Option<&str>,
    ) -> bool {
        let Ok(certificate) = self.question(host, source) else { return false };
        let login = host.login.clone();
        let asked = handle.authenticate_certificate_with(login, certificate, None, &mut NoSignature).await;
        matches!(asked, Err(NotSigned::Asked))
    }

    fn question(&self, host: &Endpoint, source: Option<&str>) -> ssh_key::Result<Certificate> {
        let (_, mut builder) = self.unsigned(host, Validity::ALWAYS)?;
        builder.key_id(format!("rollcall question {}", host.name))?;
        builder.critical_option("force-command", "false")?;
        if let Some(addresses) = source {
            builder.critical_option("source-address", addresses)?;
        }
        builder.sign(&self.key)
    }

    fn clock_differs(&self, now: Timestamp) -> String {
        let valid = self.validity(now);
        let time = |seconds: u64| {
            let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
            time.unwrap_or(now).to_string()
        };
        format!(
            "for the host it is expired or not yet valid, so the clocks differ: it is valid from {} until {}; try: \
             `date -u` and `timedatectl` on the host and on the machine of rollcall",
            time(valid.after),
            time(valid.before)
        )
    }

    fn not_trusted(&self, host: &Endpoint) -> String {
        let principals = self.principals(host);
        let principals = principals.join(", ");
        format!(
            "the host accepts none of the CA {} for login `{}` (principals: {principals}); try: `TrustedUserCAKeys FILE` in \
             its sshd_config, where FILE has the public key of the CA, and the principals in `AuthorizedPrincipalsFile` if it has one; \
             its log says why",
            self.fingerprint(),
            host.login
        )
    }
}

/// Signs nothing: a host that asks for a signature would accept the certificate.
struct NoSignature;

/// Why nothing was signed.
enum NotSigned {
    Asked,
    Gone,
}

impl From<SendError> for NotSigned {
    fn from(_: SendError) -> NotSigned {
        NotSigned::Gone
    }
}

impl Signer for NoSignature {
    type Error = NotSigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        Err(NotSigned::Asked)
    }
}

fn key_id(host: &Endpoint, errand: Errand) -> String {
    format!("rollcall {} {}", errand.word(), host.name).chars().take(KEY_ID_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(principals: &[&str], source: Option<&str>) -> Authority {
        let rules = CertificateRules {
            valid_for: Duration::from_secs(300),
            principals: principals.iter().map(ToString::to_string).collect(),
            source_address: source.map(String::from),
        };
        Authority { key: PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap(), rules }
    }

    fn host(name: &str) -> Endpoint {
        Endpoint {
            name: name.into(),
            here: false,
            address: "192.0.2.1".into(),
            further: Vec::new(),
            key: None,
            port: 22,
            login: "deploy".into(),
            via: None,
        }
    }

    #[test]
    fn a_certificate_permits_what_its_connection_is_for_and_nothing_else() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let authority = authority(&[], None);
        let certificate = |errand| authority.issue(&host("web01"), errand, now).unwrap().1;
        for errand in [Errand::Commands, Errand::Login, Errand::Doctor] {
            assert!(certificate(errand).extensions().is_empty(), "{errand:?}");
        }
        let forwards = certificate(Errand::Forwards);
        assert_eq!(forwards.extensions().keys().collect::<Vec<_>>(), ["permit-port-forwarding"]);
        let one = certificate(Errand::Commands);
        assert_eq!((one.valid_after(), one.valid_before()), (999_940, 1_000_300));
        assert_eq!(
            (one.key_id(), one.valid_principals()),
            ("rollcall commands web01", &["deploy".into()][..])
        );
        assert!(one.critical_options().is_empty() && one.cert_type() == CertType::User);
        assert_ne!(one.public_key(), certificate(Errand::Commands).public_key());
    }

    #[test]
    fn principals_addresses_and_a_long_name_are_within_bounds() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let authority = authority(&["a", "b"], Some("192.0.2.7,198.51.100.0/24"));
        let (_, certificate) = authority.issue(&host(&"w".repeat(300)), Errand::Login, now).unwrap();
        assert_eq!(certificate.valid_principals(), ["a", "b"]);
        let options: Vec<(&str, &str)> =
            certificate.critical_options().iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(options, [("source-address", "192.0.2.7,198.51.100.0/24")]);
        assert_eq!(certificate.key_id().len(), KEY_ID_CHARS);
    }
}
