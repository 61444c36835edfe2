//! `[fleet.certificates]`: certificates that rollcall signs for its own connections to hosts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::keys::CertificateKeys;
use crate::config::text::reader::Reader;
use crate::domain::base::networks::Networks;

/// The shortest and the longest validity: clocks differ by seconds, and a stolen certificate is of use for this long.
const VALID_FOR: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(60 * 60);

/// Most principals: sshd refuses certificates with more.
const PRINCIPALS_LIMIT: usize = 256;

/// The settings of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The file with the private key of the CA.
    pub ca: PathBuf,
    pub valid_for: Duration,
    /// None for the login of the host.
    pub principals: Vec<String>,
    /// With commas, as OpenSSH has it.
    pub source_address: Option<String>,
}

/// Reads the table; `None` without a CA.
pub fn read(mut table: Reader<'_>, root: &Path) -> Option<CertificateSettings> {
    let ca = table.required(CertificateKeys::CA);
    let (valid_for, principals) = (valid_for(&mut table), principals(&mut table));
    let source_address = source_address(&mut table);
    table.finish();
    let ca = root.join(ca?.into_inner());
    Some(CertificateSettings { ca, valid_for, principals, source_address })
}

fn valid_for(table: &mut Reader<'_>) -> Duration {
    let valid_for = table.or_default(CertificateKeys::VALID_FOR);
    if !VALID_FOR.contains(&valid_for) {
        let span = table.key_span(CertificateKeys::VALID_FOR.name);
        table.doc.wrong(span, "`valid_for` is from one minute to one hour");
    }
    valid_for
}

fn principals(table: &mut Reader<'_>) -> Vec<String> {
    let written = table.get(CertificateKeys::PRINCIPALS).unwrap_or_default();
    if written.len() > PRINCIPALS_LIMIT {
        let span = table.key_span(CertificateKeys::PRINCIPALS.name);
        table.doc.wrong(span, format!("`principals` has more than {PRINCIPALS_LIMIT}, which sshd refuses"));
    }
    for principal in &written {
        let text = principal.get_ref();
        if text.is_empty() || text.contains(|sign: char| sign == ',' || !sign.is_ascii_graphic()) {
            let message = format!("`{text}` is no principal: it has no spaces and no commas");
            table.doc.wrong(principal.span(), message);
        }
    }
    written.into_iter().map(Spanned::into_inner).collect()
}

fn source_address(table: &mut Reader<'_>) -> Option<String> {
    let written = table.get(CertificateKeys::SOURCE_ADDRESS)?;
    if written.is_empty() {
        let span = table.key_span(CertificateKeys::SOURCE_ADDRESS.name);
        table.doc.wrong(span, "`source_address` is empty: no host would accept a connection");
        return None;
    }
    for address in &written {
        let text = address.get_ref();
        // sshd reads no negation here.
        let wrong = match text.starts_with('!') || text.contains(',') {
            true => Some(format!("`{text}` is not one address or network")),
            false => Networks::parse(text).err(),
        };
        wrong.into_iter().for_each(|why| table.doc.wrong(address.span(), why));
    }
    let texts: Vec<String> = written.into_iter().map(Spanned::into_inner).collect();
    Some(texts.join(","))
}
