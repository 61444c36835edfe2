//! Who is an operator: the lines of `operators`, against what a client proved. Pure: the time is an argument.
//! russh checks signatures; everything else about a certificate is checked here.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::access::{Operator, OperatorRole};
use super::login::Login;
use super::revoked::{KeyDigests, Revoked};
use crate::domain::base::networks::Networks;

/// Longest name of an operator, in bytes: it appears in every line of history.
pub const NAME_LIMIT_BYTES: usize = 128;

/// Most principals of a certificate that are compared: OpenSSH's own limit.
const PRINCIPALS_LIMIT: usize = 256;

/// The content of `operators` and `revoked`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrolled {
    pub lines: Vec<OperatorLine>,
    pub revoked: Revoked,
}

/// One line of `operators`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorLine {
    pub subject: LineKey,
    /// The operator, or the CA.
    pub name: String,
    pub role: OperatorRole,
    pub groups: Option<BTreeSet<String>>,
    /// Where connections may come from.
    pub from: Option<Networks>,
    /// When the line expires.
    pub until: Option<Timestamp>,
}

/// The key of a line: that of an operator, or that of a CA whose certificates name operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineKey {
    /// The SHA-256 fingerprint.
    Key(String),
    Authority(Authority),
}

/// A `cert-authority` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The SHA-256 fingerprint of the CA's key.
    pub ca: String,
    /// A certificate needs one of these.
    pub principals: BTreeSet<String>,
    pub person: Person,
}

/// What in a certificate names the person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Person {
    #[default]
    KeyId,
    Principal,
}

/// What a client has proved, and where it is.
#[derive(Clone, Debug)]
pub struct Presented {
    pub proof: Proof,
    pub from: IpAddr,
    /// The user name of the SSH login. It selects among principals, and means nothing else.
    pub user: String,
    pub login: Login,
}

/// A key, or a certificate of one, whose signature is correct.
#[derive(Clone, Debug)]
pub enum Proof {
    Key(KeyDigests),
    Certificate(Box<Certificate>),
}

/// The content of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub key: KeyDigests,
    pub ca: KeyDigests,
    pub is_user: bool,
    /// Why its CA or its key is too weak.
    pub weak: Option<String>,
    pub id: String,
    pub serial: u64,
    pub principals: Vec<String>,
    /// Seconds since 1970: valid from, and no longer valid at.
    pub after: u64,
    pub before: u64,
    pub critical: BTreeMap<String, String>,
}

/// Why a proof is no login. For the log: the client only reads that the login failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    NotEnrolled,
    KeyRevoked,
    LineExpired(Timestamp),
    WrongSource(String),
    HostCertificate,
    Weak(String),
    UnknownCa(String),
    CaRevoked,
    CertificateRevoked,
    NoPrincipals,
    WrongPrincipals,
    SeveralPersons,
    NotYetValid,
    CertificateExpired,
    UnknownOption(String),
    BadOption(String),
    BadName,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Denial::NotEnrolled => write!(f, "not in `operators`"),
            Denial::KeyRevoked => write!(f, "revoked"),
            Denial::LineExpired(at) => write!(f, "its line in `operators` expired at {at}"),
            Denial::WrongSource(rule) => write!(f, "not allowed from this address, only from {rule}"),
            Denial::HostCertificate => write!(f, "a certificate for a host, not for a user"),
            Denial::Weak(why) => write!(f, "too weak: {why}"),
            Denial::UnknownCa(ca) => write!(f, "signed by {ca}, which is no `cert-authority` in `operators`"),
            Denial::CaRevoked => write!(f, "its CA is revoked"),
            Denial::CertificateRevoked => write!(f, "the certificate is revoked"),
            Denial::NoPrincipals => write!(f, "the certificate has no principals"),
            Denial::WrongPrincipals => {
                write!(f, "no principal of the certificate is in `principals` of its CA")
            }
            Denial::SeveralPersons => write!(f, "the certificate has principals of several persons"),
            Denial::NotYetValid => write!(f, "the certificate is not valid yet"),
            Denial::CertificateExpired => write!(f, "the certificate has expired"),
            Denial::UnknownOption(name) => write!(f, "the critical option `{name}` is not known here"),
            Denial::BadOption(why) => write!(f, "a critical option cannot be read: {why}"),
            Denial::BadName => {
                write!(f, "the key id is no name: empty, too long, or with control characters")
            }
        }
    }
}

impl Proof {
    /// The key, or what identifies the certificate apart from its principal.
    pub fn label(&self) -> String {
        match self {
            Proof::Key(key) => key.sha256.clone(),
            Proof::Certificate(one) => {
                format!(
                    "{} (certificate {:?}, serial {}, of {})",
                    one.key.sha256, one.id, one.serial, one.ca.sha256
                )
            }
        }
    }
}

impl Enrolled {
    /// The operator of a proof, by the present lines.
    pub fn admit(&self, presented: &Presented, now: Timestamp) -> Result<Operator, Denial> {
        let operator = match &presented.proof {
            Proof::Key(key) => self.admit_key(key, presented.from, now),
            Proof::Certificate(certificate) => self.admit_certificate(certificate, presented, now),
        }?;
        Ok(Operator { login: Some(presented.login), ..operator })
    }

    /// True if certificates can log in.
    pub fn has_authorities(&self) -> bool {
        self.lines.iter().any(|line| matches!(line.subject, LineKey::Authority(_)))
    }

    fn admit_key(&self, key: &KeyDigests, from: IpAddr, now: Timestamp) -> Result<Operator, Denial> {
        if self.revoked.has_key(key) {
            return Err(Denial::KeyRevoked);
        }
        let is_it =
            |line: &&OperatorLine| matches!(&line.subject, LineKey::Key(known) if *known == key.sha256);
        let line = self.lines.iter().find(is_it).ok_or(Denial::NotEnrolled)?;
        line.holds(from, now)?;
        Ok(Operator {
            name: line.name.clone(),
            key: key.sha256.clone(),
            role: line.role.clone(),
            groups: line.groups.clone(),
            only: None,
            until: line.until,
            login: None,
            extra: Vec::new(),
        })
    }

    fn admit_certificate(
        &self,
        certificate: &Certificate,
        Presented { from, user, .. }: &Presented,
        now: Timestamp,
    ) -> Result<Operator, Denial> {
        certificate.check(now)?;
        let options = CriticalOptions::of(certificate)?;
        let own: Vec<(&OperatorLine, &Authority)> =
            self.lines.iter().filter_map(|line| line.authority(certificate)).collect();
        if own.is_empty() {
            return Err(Denial::UnknownCa(certificate.ca.sha256.clone()));
        }
        self.check_revoked(certificate)?;
        let (line, authority, principal) = choose(&own, certificate, user)?;
        line.holds(*from, now)?;
        options.hold(*from)?;
        let name = match authority.person {
            Person::KeyId => certificate.id.clone(),
            Person::Principal => principal.to_string(),
        };
        let Certificate { ca, id, serial, .. } = certificate;
        let ends = [line.until, certificate.until()];
        Ok(Operator {
            name,
            key: format!("certificate {id:?}, serial {serial}, principal {principal}, of {}", ca.sha256),
            role: line.role.clone(),
            groups: line.groups.clone(),
            only: options.only,
            until: ends.into_iter().flatten().min(),
            login: None,
            extra: Vec::new(),
        })
    }

    fn check_revoked(&self, certificate: &Certificate) -> Result<(), Denial> {
        let Certificate { key, ca, serial, id, .. } = certificate;
        if self.revoked.has_key(ca) {
            return Err(Denial::CaRevoked);
        }
        match self.revoked.has_key(key) || self.revoked.has_certificate(ca, *serial, id) {
            true => Err(Denial::CertificateRevoked),
            false => Ok(()),
        }
    }
}

impl OperatorLine {
    fn holds(&self, from: IpAddr, now: Timestamp) -> Result<(), Denial> {
        if let Some(until) = self.until.filter(|until| *until <= now) {
            return Err(Denial::LineExpired(until));
        }
        match self.from.as_ref().filter(|networks| !networks.contain(from)) {
            Some(networks) => Err(Denial::WrongSource(format!("{networks} (from)"))),
            None => Ok(()),
        }
    }

    fn authority(&self, certificate: &Certificate) -> Option<(&OperatorLine, &Authority)> {
        match &self.subject {
            LineKey::Authority(authority) if authority.ca == certificate.ca.sha256 => Some((self, authority)),
            LineKey::Authority(_) | LineKey::Key(_) => None,
        }
    }
}

/// The line and the principal that count: that of the user name, or the first of the certificate.
fn choose<'a>(
    own: &[(&'a OperatorLine, &'a Authority)],
    certificate: &'a Certificate,
    user: &str,
) -> Result<(&'a OperatorLine, &'a Authority, &'a str), Denial> {
    let line_of = |principal: &'a String| {
        let found = own.iter().find(|(_, authority)| authority.principals.contains(principal))?;
        Some((found.0, found.1, principal.as_str()))
    };
    let matching: Vec<_> = certificate.principals.iter().filter_map(line_of).collect();
    let picked = matching.iter().find(|(_, _, principal)| *principal == user).or_else(|| matching.first());
    let picked = *picked.ok_or(Denial::WrongPrincipals)?;
    let persons = matching.iter().filter(|(_, authority, _)| authority.person == Person::Principal).count();
    match picked.1.person == Person::Principal && persons > 1 {
        // One person could act as two, and approve their own run.
        true => Err(Denial::SeveralPersons),
        false => Ok(picked),
    }
}

impl Certificate {
    /// What does not depend on `operators`.
    fn check(&self, now: Timestamp) -> Result<(), Denial> {
        if !self.is_user {
            return Err(Denial::HostCertificate);
        }
        if let Some(why) = &self.weak {
            return Err(Denial::Weak(why.clone()));
        }
        if self.principals.is_empty() {
            return Err(Denial::NoPrincipals);
        }
        if self.principals.len() > PRINCIPALS_LIMIT {
            return Err(Denial::WrongPrincipals);
        }
        if self.id.trim().is_empty() || self.id.len() > NAME_LIMIT_BYTES || self.id.contains(char::is_control)
        {
            return Err(Denial::BadName);
        }
        let now = u64::try_from(now.as_second()).unwrap_or_default();
        if now < self.after {
            return Err(Denial::NotYetValid);
        }
        match now < self.before {
            true => Ok(()),
            false => Err(Denial::CertificateExpired),
        }
    }

    /// When it ends; `None` for a certificate that is valid for ever.
    fn until(&self) -> Option<Timestamp> {
        i64::try_from(self.before).ok().and_then(|second| Timestamp::from_second(second).ok())
    }
}

/// The critical options of a certificate. An unknown one refuses it: it may narrow what the certificate is for.
struct CriticalOptions {
    only: Option<String>,
    source: Option<Networks>,
}

impl CriticalOptions {
    fn of(certificate: &Certificate) -> Result<CriticalOptions, Denial> {
        let mut options = CriticalOptions { only: None, source: None };
        for (name, value) in &certificate.critical {
            match name.as_str() {
                "force-command" => options.only = Some(value.clone()),
                "source-address" => options.source = Some(Networks::parse(value).map_err(Denial::BadOption)?),
                _ => return Err(Denial::UnknownOption(name.clone())),
            }
        }
        Ok(options)
    }

    fn hold(&self, from: IpAddr) -> Result<(), Denial> {
        match self.source.as_ref().filter(|networks| !networks.contain(from)) {
            Some(networks) => Err(Denial::WrongSource(format!("{networks} (source-address)"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "enrolled_tests.rs"]
mod tests;
