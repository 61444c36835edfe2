//! Digests under a key of the daemon, of texts that may have secrets: without the key no value can be tried out on them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::domain::base::digest::hex;

/// The key.
pub struct Seals(Vec<u8>);

impl Seals {
    /// Derived from a secret that lasts over restarts.
    pub fn new(secret: &[u8]) -> Seals {
        Seals(mac(secret, b"rollcall requests"))
    }

    /// The digest of a text.
    pub fn of(&self, text: &str) -> String {
        hex(&mac(&self.0, text.as_bytes()))
    }
}

fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = keyed(secret);
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// An HMAC with the digest of a secret as its key.
pub fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    let digest = Sha256::digest(secret);
    key[..digest.len()].copy_from_slice(&digest);
    Hmac::new(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_text_and_of_the_key() {
        let (one, other) = (Seals::new(b"a"), Seals::new(b"b"));
        assert_eq!(one.of("deploy prod pin=1"), Seals::new(b"a").of("deploy prod pin=1"));
        assert_ne!(one.of("deploy prod pin=1"), one.of("deploy prod pin=2"));
        assert_ne!(one.of("x"), other.of("x"));
    }
}
