//! `revoked`: keys and certificates that no longer log in. Lines, or a KRL of `ssh-keygen -k`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{HashAlg, PublicKey};

use super::krl;
use crate::config::text::diagnostic::Doc;
use crate::domain::ask::revoked::{Revoked, RevokedCertificates};

/// How a binary list begins when it is written as text.
const BINARY: &str = "U1NIS1JMCg";

/// The content of the file as text: configuration files are texts, and this one may be binary.
pub fn as_text(bytes: Vec<u8>) -> Result<String, std::string::FromUtf8Error> {
    match bytes.starts_with(krl::MAGIC) {
        true => Ok(STANDARD.encode(bytes)),
        false => String::from_utf8(bytes),
    }
}

/// Reads the file. One line that cannot be read refuses all of it: what it meant to revoke would log in.
pub fn read(doc: Doc<'_>) -> Revoked {
    if doc.text.starts_with(BINARY) {
        return read_binary(doc);
    }
    let mut revoked = Revoked::default();
    let mut all_cas = RevokedCertificates::default();
    let mut start = 0;
    for raw in doc.text.split_inclusive('\n') {
        let line = raw.trim();
        let at = start + (raw.len() - raw.trim_start().len());
        start += raw.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(why) = read_line(line, &mut revoked, &mut all_cas) {
            let hint = "write a public key, SHA256:..., `serial: 7`, `serial: 7-9` or `id: KEY-ID`; or a KRL of `ssh-keygen -k`";
            doc.report(at..at + line.len(), why, hint.to_string());
        }
    }
    revoked.certificates.push(all_cas);
    revoked
}

fn read_binary(doc: Doc<'_>) -> Revoked {
    let packed: String = doc.text.split_whitespace().collect();
    let read = STANDARD.decode(packed).map_err(|_| "it is no base64").and_then(|bytes| krl::read(&bytes));
    read.unwrap_or_else(|why| {
        doc.report(
            None,
            format!("the list (KRL) cannot be used: {why}"),
            "write it again: ssh-keygen -k".to_string(),
        );
        Revoked::default()
    })
}

fn read_line(line: &str, revoked: &mut Revoked, all_cas: &mut RevokedCertificates) -> Result<(), String> {
    let (word, value) = line.split_once(':').map_or((line, ""), |(word, value)| (word, value.trim()));
    match word {
        "serial" => all_cas.serials.push(serials(value)?),
        "id" if !value.is_empty() => _ = all_cas.ids.insert(value.to_string()),
        "key" | "sha256" | "hash" => _ = revoked.sha256.insert(key(value)?),
        _ => _ = revoked.sha256.insert(key(line)?),
    }
    Ok(())
}

/// The fingerprint of a public key, or a fingerprint.
fn key(text: &str) -> Result<String, String> {
    if text.starts_with("SHA256:") {
        let read = text.split_whitespace().next().unwrap_or_default().parse::<Fingerprint>();
        return read
            .map(|fingerprint| fingerprint.to_string())
            .map_err(|_| "no fingerprint of SHA-256".into());
    }
    let key = PublicKey::from_openssh(text).map_err(|_| "nothing that can be revoked")?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

fn serials(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| *number > 0);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is no serial number and no range of them")),
    }
}
