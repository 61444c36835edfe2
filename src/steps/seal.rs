//! Secrets that rollcall shares only with the runner of one operation on its host: the name of its
//! record, the word that confirms it, and the key that seals how it ended. All are derived from a key that never
//! leaves the daemon's machine, so that rollcall uses the same ones after a restart.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::domain::base::digest::{hex, sha256_hex};

/// Digits of a record's name and of the word that confirms; a step would have to guess 64 bits.
const WORD_DIGITS: usize = 16;

/// The size of SHA-256; shorter keys of an HMAC are padded with zeros.
const DIGEST_BYTES: usize = 32;

/// The key that seals are derived from.
#[derive(Clone)]
pub struct SealKey(Hmac<Sha256>);

impl SealKey {
    /// `secret` is kept on the daemon's machine and is the same after a restart.
    pub fn new(secret: &[u8]) -> SealKey {
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        key[..DIGEST_BYTES].copy_from_slice(&Sha256::digest(secret));
        SealKey(Hmac::new(&key))
    }

    /// The seal of the record that [`super::wrapper::record_of`] names.
    pub fn of(&self, record: &str) -> Seal {
        let derive = |purpose: &str| {
            let mut mac = self.0.clone();
            mac.update(format!("rollcall {purpose} {record}").as_bytes());
            hex(&mac.finalize().into_bytes())
        };
        let [name, word, key] = ["name", "word", "key"].map(derive);
        Seal { name: name[..WORD_DIGITS].into(), word: word[..WORD_DIGITS].into(), key }
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    name: String,
    word: String,
    key: String,
}

impl Seal {
    /// The secret part of a record's name, unknown to the host before the record exists.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first line of the wrapper's stdin, which is enough to follow and to kill.
    pub fn line_to_follow(&self) -> String {
        format!("{}\n", self.name)
    }

    /// The line to confirm.
    pub fn line_to_confirm(&self) -> String {
        format!("{} {}\n", self.name, self.word)
    }

    /// The line to start.
    pub fn line_to_start(&self) -> String {
        format!("{} {} {}\n", self.name, self.word, self.key)
    }

    /// The proof that the runner appends to the words `said`; as `seal` in `wrapper.sh`.
    pub fn proof(&self, said: &str) -> String {
        sha256_hex(format!("{key} {said} {key}\n", key = self.key).as_bytes())
    }

    /// The words before the proof, if the proof matches them.
    pub fn open<'a>(&self, sealed: &'a str) -> Option<&'a str> {
        let (said, proof) = sealed.rsplit_once(' ')?;
        (self.proof(said) == proof).then_some(said)
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_fits_its_own_record_and_words_only() {
        let key = SealKey::new(b"secret");
        let (seal, other) = (key.of("1-a-0-1.m"), key.of("1-a-1-1.m"));
        let sealed = format!("exit 0 {}", seal.proof("exit 0"));
        assert_eq!(seal.open(&sealed), Some("exit 0"));
        assert_eq!(other.open(&sealed), None);
        assert_eq!(SealKey::new(b"other").of("1-a-0-1.m").open(&sealed), None);
        for forged in ["exit 0", "", " ", "exit 0 ", &sealed.replace("exit 0", "exit 1"), &sealed[..40]] {
            assert_eq!(seal.open(forged), None, "{forged}");
        }
    }

    #[test]
    fn a_restarted_rollcall_asks_under_the_same_names_and_no_two_are_the_same() {
        let again = || SealKey::new(b"secret").of("1-a-0-1.m");
        assert_eq!(again().line_to_start(), again().line_to_start());
        let line = again().line_to_start();
        let words: std::collections::BTreeSet<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 3);
        assert!(words.is_disjoint(
            &SealKey::new(b"secret").of("1-a-1-1.m").line_to_start().split_whitespace().collect()
        ));
        assert!(!format!("{:?} {:?}", SealKey::new(b"secret"), again()).contains(&again().name));
    }
}
