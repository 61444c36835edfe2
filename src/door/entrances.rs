//! What stands between a forwarded port and the other users of the operator's machine: `ssh -L` listens for all of them.
//! A link that works once gives a browser a cookie, and a token lets a program in. In memory alone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::ask::access::Operator;
use crate::domain::base::digest::{hex, sha256_hex};

/// How long a link may wait until it is opened.
pub const LINK_LIFE: Duration = Duration::from_secs(60);

/// Digits of the name in a link, `3f9c2a17.localhost`.
pub const LINK_NAME_DIGITS: usize = 8;

/// How long a token holds.
pub const TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Most links and tokens of one operator, and of all of them: the oldest go.
const PER_OPERATOR: usize = 16;
const IN_ALL: usize = 4_096;

/// A word that cannot be guessed.
pub fn secret_word() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// All links and tokens.
#[derive(Default)]
pub struct Entrances {
    links: Mutex<VecDeque<Entrance>>,
    tokens: Mutex<VecDeque<Entrance>>,
}

/// One link or token: its digest alone is kept.
struct Entrance {
    digest: String,
    name: String,
    key: String,
    until: Timestamp,
}

impl Entrance {
    fn is_of(&self, operator: &Operator) -> bool {
        (&self.name, &self.key) == (&operator.name, &operator.key)
    }
}

impl Entrances {
    /// A word for a link of this operator.
    pub fn link(&self, operator: &Operator, now: Timestamp) -> Result<String, getrandom::Error> {
        add(&self.links, operator, now + LINK_LIFE)
    }

    /// A token of this operator.
    pub fn token(&self, operator: &Operator, now: Timestamp) -> Result<String, getrandom::Error> {
        add(&self.tokens, operator, now + TOKEN_LIFE)
    }

    /// True once for the word of a link, on a connection of its own operator.
    pub fn opens(&self, word: &str, operator: &Operator, now: Timestamp) -> bool {
        let mut links = lock(&self.links);
        let Some(at) = place(&links, word, operator, now) else { return false };
        links.remove(at);
        true
    }

    /// True for a token, on a connection of its own operator.
    pub fn knows(&self, token: &str, operator: &Operator, now: Timestamp) -> bool {
        place(&lock(&self.tokens), token, operator, now).is_some()
    }
}

fn lock(all: &Mutex<VecDeque<Entrance>>) -> MutexGuard<'_, VecDeque<Entrance>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(
    all: &Mutex<VecDeque<Entrance>>,
    operator: &Operator,
    until: Timestamp,
) -> Result<String, getrandom::Error> {
    let word = secret_word()?;
    let mut all = lock(all);
    while all.iter().filter(|one| one.is_of(operator)).count() >= PER_OPERATOR {
        let oldest = all.iter().position(|one| one.is_of(operator));
        oldest.map(|at| all.remove(at));
    }
    if all.len() >= IN_ALL {
        all.pop_front();
    }
    let digest = sha256_hex(word.as_bytes());
    all.push_back(Entrance { digest, name: operator.name.clone(), key: operator.key.clone(), until });
    Ok(word)
}

fn place(all: &VecDeque<Entrance>, word: &str, operator: &Operator, now: Timestamp) -> Option<usize> {
    let digest = sha256_hex(word.as_bytes());
    all.iter().position(|one| one.digest == digest && one.is_of(operator) && now < one.until)
}

/// The cookie of one SSH connection. Browsers share cookies between the ports of a host, so its name has a part that
/// cannot be guessed, too.
pub struct Cookie {
    name: String,
    value: String,
    digest: String,
}

impl Cookie {
    /// One that no other connection has.
    pub fn new() -> Result<Cookie, getrandom::Error> {
        let (name, value) = (secret_word()?, secret_word()?);
        Ok(Cookie { name: format!("rollcall-{name}"), digest: sha256_hex(value.as_bytes()), value })
    }

    /// The header that sets it.
    pub fn header(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.name, self.value)
    }

    /// True if a `Cookie` header has it.
    pub fn is_in(&self, header: &str) -> bool {
        // Digests, so that the time of the comparison says nothing about the value.
        let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.name && sha256_hex(value.as_bytes()) == self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::role::Role;

    fn operator(name: &str, key: &str) -> Operator {
        Operator::new(name, key, Role::Admin)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_link_works_once_for_its_own_operator_and_in_time() {
        let (entrances, ann) = (Entrances::default(), operator("ann", "k1"));
        let link = entrances.link(&ann, at(0)).unwrap();
        assert_eq!(link.len(), 32);
        assert!(!entrances.opens(&link, &operator("ben", "k2"), at(1)), "another person's");
        assert!(!entrances.opens(&link, &operator("ann", "k3"), at(1)), "another key");
        assert!(!entrances.opens("x", &ann, at(1)));
        assert!(!entrances.knows(&link, &ann, at(1)), "a link is no token");
        assert!(entrances.opens(&link, &ann, at(59)));
        assert!(!entrances.opens(&link, &ann, at(59)), "once");
        let late = entrances.link(&ann, at(0)).unwrap();
        assert!(!entrances.opens(&late, &ann, at(60)));
    }

    #[test]
    fn a_token_holds_for_hours_and_the_oldest_of_many_goes() {
        let (entrances, ann, ben) = (Entrances::default(), operator("ann", "k1"), operator("ben", "k2"));
        let first = entrances.token(&ann, at(0)).unwrap();
        let of_ben = entrances.token(&ben, at(0)).unwrap();
        assert!(entrances.knows(&first, &ann, at(12 * 3600 - 1)));
        assert!(!entrances.knows(&first, &ann, at(12 * 3600)));
        assert!(!entrances.knows(&first, &ben, at(1)));
        let all: Vec<String> = (0..PER_OPERATOR).map(|_| entrances.token(&ann, at(1)).unwrap()).collect();
        assert!(!entrances.knows(&first, &ann, at(2)));
        assert!(all.iter().all(|token| entrances.knows(token, &ann, at(2))));
        assert!(entrances.knows(&of_ben, &ben, at(2)), "nobody else's goes");
    }

    #[test]
    fn a_cookie_is_found_among_others_and_no_other_is_it() {
        let (cookie, other) = (Cookie::new().unwrap(), Cookie::new().unwrap());
        let header = cookie.header();
        let pair = header.split(';').next().unwrap();
        assert!(cookie.is_in(pair) && cookie.is_in(&format!("a=b; {pair}; c")));
        assert!(!other.is_in(pair) && !cookie.is_in("") && !cookie.is_in(&pair.replace('=', "=x")));
        assert!(header.ends_with("; Path=/; HttpOnly; SameSite=Strict"));
    }
}
