//! What a client proved, from russh's types to those that the rules of `operators` know.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use sha1::{Digest as _, Sha1};

use crate::domain::ask::enrolled;
use crate::domain::ask::revoked::KeyDigests;

/// Shortest RSA key that is accepted: shorter ones have less than 128 bits of strength (NIST SP 800-57).
const RSA_LIMIT_BITS: u32 = 3072;

/// The extension of a certificate with which its CA waives the touch.
const NO_TOUCH: &str = "no-touch-required";

/// The digests of a key.
pub fn digests(key: &KeyData) -> KeyDigests {
    let bytes = PublicKey::new(key.clone(), "").to_bytes().unwrap_or_default();
    KeyDigests { sha256: key.fingerprint(HashAlg::Sha256).to_string(), sha1: Sha1::digest(bytes).into() }
}

/// Why a key, or the algorithm of its signatures, is too weak: the lists of algorithms do not restrict signatures.
pub fn weakness(key: &KeyData, signs: &Algorithm) -> Option<String> {
    match signs {
        Algorithm::Dsa => return Some("DSA".into()),
        Algorithm::Rsa { hash: None } => return Some("signs with ssh-rsa, which is SHA-1".into()),
        _ => {}
    }
    let bits = key.rsa().map(|rsa| rsa.key_size()).filter(|bits| *bits < RSA_LIMIT_BITS)?;
    Some(format!("an RSA key of {bits} bits"))
}

/// True for a key that lives in a security key.
pub fn is_security_key(key: &KeyData) -> bool {
    matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
}

/// The same for the key of a certificate, unless its CA waives the touch.
pub fn is_certified_security_key(read: &Certificate) -> bool {
    is_security_key(read.public_key()) && !read.extensions().iter().any(|(name, _)| name == NO_TOUCH)
}

/// The content of a certificate whose signature russh has checked.
pub fn certificate(read: &Certificate) -> enrolled::Certificate {
    let ca = read.signature_key();
    let key = read.public_key();
    // How the login itself is signed is checked when the key is offered.
    let of_key = || weakness(key, &Algorithm::Ed25519);
    let weak =
        weakness(ca, &read.signature().algorithm()).map(|why| format!("its CA: {why}")).or_else(of_key);
    enrolled::Certificate {
        key: digests(key),
        ca: digests(ca),
        is_user: read.cert_type().is_user(),
        weak,
        id: read.key_id().to_string(),
        serial: read.serial(),
        principals: read.valid_principals().to_vec(),
        after: read.valid_after(),
        before: read.valid_before(),
        critical: read.critical_options().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}
