//! Keys that logged in in vain and may be enrolled: each has a code, which an admin types. In memory alone.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::Mac;
use jiff::Timestamp;

use super::seals::keyed;

/// Most keys that wait, in all and of one address: a stranger with many keys must not push out a colleague's.
const LIMIT: usize = 64;
const PER_SOURCE: usize = 4;

/// How long a code holds.
pub const CODE_LIFE: Duration = Duration::from_secs(60 * 60);

/// Crockford's letters: none of them is taken for another one.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const CODE_LETTERS: usize = 8;

/// A key that may be enrolled. Its owner has proved to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub code: String,
    /// Type and base64, as a line of `operators` has them.
    pub key: String,
    pub fingerprint: String,
    pub from: IpAddr,
    pub at: Timestamp,
}

/// The keys that wait.
pub struct Candidates {
    secret: Vec<u8>,
    waiting: Mutex<Vec<Candidate>>,
}

impl Candidates {
    /// Codes are computed with the secret, so that no one can search for a key with a given code.
    pub fn new(secret: &[u8]) -> Candidates {
        let mut mac = keyed(secret);
        mac.update(b"rollcall enrollment");
        Candidates { secret: mac.finalize().into_bytes().to_vec(), waiting: Mutex::default() }
    }

    /// Keeps a key, and returns its code.
    pub fn wait(&self, key: String, fingerprint: String, (from, at): (IpAddr, Timestamp)) -> String {
        let code = self.code_of(&fingerprint);
        let mut waiting = self.present(at);
        waiting.retain(|one| one.code != code);
        let of_source = waiting.iter().filter(|one| one.from == from).count();
        let oldest = waiting.iter().position(|one| of_source < PER_SOURCE || one.from == from);
        if let Some(oldest) = oldest.filter(|_| of_source >= PER_SOURCE || waiting.len() >= LIMIT) {
            waiting.remove(oldest);
        }
        waiting.push(Candidate { code: code.clone(), key, fingerprint, from, at });
        code
    }

    /// The key with this code, however it was typed.
    pub fn find(&self, code: &str, now: Timestamp) -> Option<Candidate> {
        let letters = |code: &str| -> String {
            code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        };
        self.present(now).iter().find(|one| letters(&one.code) == letters(code)).cloned()
    }

    /// Forgets a key that has been enrolled.
    pub fn forget(&self, code: &str) {
        self.lock().retain(|one| one.code != code);
    }

    fn present(&self, now: Timestamp) -> MutexGuard<'_, Vec<Candidate>> {
        let mut waiting = self.lock();
        let age = |one: &Candidate| Duration::try_from(now.duration_since(one.at)).unwrap_or_default();
        waiting.retain(|one| age(one) < CODE_LIFE);
        waiting
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Candidate>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `K7QF-2M9X`: 40 bits, bound to the key.
    fn code_of(&self, fingerprint: &str) -> String {
        let mut mac = keyed(&self.secret);
        mac.update(fingerprint.as_bytes());
        let digest = mac.finalize().into_bytes();
        let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letter = |at: usize| char::from(LETTERS[(bits >> (5 * at)) as usize % LETTERS.len()]);
        let code: String = (0..CODE_LETTERS).map(letter).collect();
        format!("{}-{}", &code[..CODE_LETTERS / 2], &code[CODE_LETTERS / 2..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_code_is_bound_to_its_key_and_holds_for_an_hour() {
        let candidates = Candidates::new(b"secret");
        let code = candidates.wait("ssh-ed25519 A".into(), "SHA256:a".into(), (ip("192.0.2.1"), at(0)));
        assert_eq!(code.len(), 9);
        assert_eq!(
            candidates.wait("ssh-ed25519 A".into(), "SHA256:a".into(), (ip("192.0.2.1"), at(10))),
            code
        );
        let other = candidates.wait("ssh-ed25519 B".into(), "SHA256:b".into(), (ip("192.0.2.1"), at(10)));
        assert_ne!(other, code);
        assert_ne!(Candidates::new(b"other").code_of("SHA256:a"), code, "nobody can compute it");
        let typed = format!(" {} ", code.to_lowercase().replace('-', ""));
        assert_eq!(candidates.find(&typed, at(3_609)).unwrap().key, "ssh-ed25519 A");
        assert_eq!(candidates.find(&code, at(3_610)), None);
        assert_eq!(candidates.find("", at(11)), None);
        candidates.forget(&other);
        assert_eq!(candidates.find(&other, at(11)), None);
    }

    #[test]
    fn a_stranger_with_many_keys_pushes_out_only_their_own() {
        let candidates = Candidates::new(b"secret");
        let mine = candidates.wait("mine".into(), "SHA256:mine".into(), (ip("198.51.100.1"), at(0)));
        for n in 0..1_000 {
            candidates.wait("x".into(), format!("SHA256:{n}"), (ip("192.0.2.1"), at(1)));
        }
        assert_eq!(candidates.lock().len(), 1 + PER_SOURCE);
        assert!(candidates.find(&mine, at(2)).is_some());
        for n in 0..1_000 {
            candidates.wait(
                "x".into(),
                format!("SHA256:{n}"),
                (IpAddr::from([10, 0, (n >> 8) as u8, n as u8]), at(3)),
            );
        }
        assert_eq!(candidates.lock().len(), LIMIT);
    }
}
