//! Host keys that an operator knows: lines of `known_hosts`, of `ssh-keyscan`, of `ssh-keygen -l`, or public keys. What hosts
//! present is compared with them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::inventory::Endpoint;
use crate::domain::base::digest::sha256;

/// The list, for the hosts that it is compared with.
pub struct KeyList {
    lines: Vec<KeyLine>,
    /// How many hosts are compared.
    hosts: usize,
}

/// One key.
struct KeyLine {
    fingerprint: String,
    /// The indexes of its hosts; `None` if it names none, which counts only where a single host is compared.
    hosts: Option<Vec<usize>>,
    revoked: bool,
}

/// What the list says of a key that a host presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    Same,
    /// It has others for the host.
    Others(Vec<String>),
    /// It has none for the host.
    Nothing,
}

impl KeyList {
    /// Reads a list; the error names the line.
    pub fn read(text: &str, hosts: &[Endpoint]) -> Result<KeyList, String> {
        let numbered = (1..).zip(text.lines().map(str::trim));
        let kept = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let lines: Result<Vec<KeyLine>, String> =
            kept.map(|(number, line)| read_line(line, hosts, number)).collect();
        match lines {
            Ok(lines) if lines.is_empty() => Err("the input has no key".into()),
            lines => Ok(KeyList { lines: lines?, hosts: hosts.len() }),
        }
    }

    /// What it says of the host with this index.
    pub fn says(&self, host: usize, fingerprint: &str) -> Listed {
        let own = |line: &&KeyLine| line.hosts.as_ref().is_some_and(|hosts| hosts.contains(&host));
        let own: Vec<&KeyLine> = self.lines.iter().filter(own).collect();
        if own.iter().any(|line| line.revoked && line.fingerprint == fingerprint) {
            return Listed::Others(vec!["it is marked @revoked there".into()]);
        }
        let own: Vec<&KeyLine> = own.into_iter().filter(|line| !line.revoked).collect();
        // With several hosts, a line without a name can be the key of a host that is not compared.
        let nameless = || self.lines.iter().filter(|line| line.hosts.is_none() && self.hosts == 1);
        match own.iter().any(|line| line.fingerprint == fingerprint) {
            true => Listed::Same,
            false if !own.is_empty() => {
                Listed::Others(own.iter().map(|line| line.fingerprint.clone()).collect())
            }
            false if nameless().any(|line| line.fingerprint == fingerprint) => Listed::Same,
            false => Listed::Nothing,
        }
    }
}

fn read_line(line: &str, hosts: &[Endpoint], number: usize) -> Result<KeyLine, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (marker, words) = match words[..] {
        [marker, ref rest @ ..] if marker.starts_with('@') => (Some(marker), rest.to_vec()),
        _ => (None, words),
    };
    let revoked = marker == Some("@revoked");
    if let [names, kind, key, ..] = words[..]
        && is_kind(kind)
    {
        let hosts = if marker == Some("@cert-authority") { Vec::new() } else { those_of(names, hosts) };
        return Ok(KeyLine { fingerprint: of_key(key, number)?, hosts: Some(hosts), revoked });
    }
    if let [kind, key, ref comment @ ..] = words[..]
        && is_kind(kind)
    {
        return Ok(KeyLine { fingerprint: of_key(key, number)?, hosts: named_in(comment, hosts), revoked });
    }
    match words.iter().find(|word| word.starts_with("SHA256:")) {
        Some(fingerprint) => {
            Ok(KeyLine { fingerprint: (*fingerprint).into(), hosts: named_in(&words, hosts), revoked })
        }
        None => Err(format!(
            // Not quoted: it may be a part of a private key.
            "line {number} of the input is no key; try: lines of known_hosts, ssh-keyscan or ssh-keygen -l"
        )),
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

fn of_key(key: &str, number: usize) -> Result<String, String> {
    let bytes = STANDARD
        .decode(key)
        .map_err(|_| format!("line {number} of the input is no key: its base64 is broken"))?;
    Ok(format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256(&bytes))))
}

/// The names under which a list may have a host.
fn names_of(host: &Endpoint) -> Vec<String> {
    let name = host.name.as_str();
    let mut names = vec![name.into(), host.name.short().into(), format!("[{name}]:{}", host.port)];
    for address in host.addresses().map(str::to_ascii_lowercase) {
        names.push(format!("[{address}]:{}", host.port));
        // A bare address is that of port 22.
        names.extend((host.port == 22).then_some(address));
    }
    names
}

/// The hosts of a field of known_hosts: names with commas, or the hash of one.
fn those_of(field: &str, hosts: &[Endpoint]) -> Vec<usize> {
    let is_named = |host: &Endpoint| {
        let names = names_of(host);
        match field.strip_prefix("|1|").and_then(|rest| rest.split_once('|')) {
            Some((salt, hash)) => names.iter().any(|name| hashes_to(name, salt, hash)),
            None => field.split(',').any(|one| names.iter().any(|name| one.eq_ignore_ascii_case(name))),
        }
    };
    hosts.iter().enumerate().filter(|(_, host)| is_named(host)).map(|(at, _)| at).collect()
}

fn hashes_to(name: &str, salt: &str, hash: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// The hosts that words of a comment name, as in `root@web01`; `None` if they name none.
fn named_in(words: &[&str], hosts: &[Endpoint]) -> Option<Vec<usize>> {
    let bare = |word: &&str| {
        word.rsplit('@').next().unwrap_or_default().trim_matches([',', ':', '(', ')']).to_string()
    };
    let words: Vec<String> = words.iter().map(bare).collect();
    let is_named = |host: &Endpoint| {
        let mut names = names_of(host);
        names.extend(host.addresses().map(str::to_ascii_lowercase));
        names.iter().any(|name| words.iter().any(|word| word.eq_ignore_ascii_case(name)))
    };
    let named: Vec<usize> =
        hosts.iter().enumerate().filter(|(_, host)| is_named(host)).map(|(at, _)| at).collect();
    (!named.is_empty()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn hosts() -> Vec<Endpoint> {
        let host = |name: &str, address: &str, port| Endpoint {
            name: name.into(),
            here: false,
            address: address.into(),
            further: Vec::new(),
            key: None,
            port,
            login: "d".into(),
            via: None,
        };
        vec![host("web01.example.com", "10.0.0.1", 22), host("web02", "10.0.0.2", 2222)]
    }

    fn said(text: &str, fingerprint: &str) -> [Listed; 2] {
        let list = KeyList::read(text, &hosts()).unwrap();
        [list.says(0, fingerprint), list.says(1, fingerprint)]
    }

    #[test]
    fn keys_are_compared_with_those_of_their_host() {
        let own = of_key(KEY, 1).unwrap();
        let other = || Listed::Others(vec![own.clone()]);
        let line = |names: &str| format!("# a comment\n\n{names} ssh-ed25519 {KEY} x\n");
        use Listed::{Nothing, Same};
        let table = [
            (line("10.0.0.1"), [Same, Nothing]),
            (line("web01,[10.0.0.2]:2222"), [Same, Same]),
            (line("WEB02"), [Nothing, Same]),
            // Another port is another server.
            (line("10.0.0.2"), [Nothing, Nothing]),
            (line("elsewhere"), [Nothing, Nothing]),
            (line("@cert-authority web01"), [Nothing, Nothing]),
            (format!("ssh-ed25519 {KEY} root@web01\n"), [Same, Nothing]),
            (format!("ssh-ed25519 {KEY} root@builder\n"), [Nothing, Nothing]),
            (format!("256 {own} root@web02 (ED25519)\n"), [Nothing, Same]),
            (format!("web01 {own}\n"), [Same, Nothing]),
            (format!("{own}\n"), [Nothing, Nothing]),
        ];
        for (text, wanted) in table {
            assert_eq!(said(&text, &own), wanted, "{text}");
        }
        assert_eq!(said(&line("web01"), "SHA256:x"), [other(), Nothing]);
        // A key of its own counts before keys without a host.
        assert_eq!(said(&(line("web01") + "SHA256:x\n"), "SHA256:x"), [other(), Nothing]);
        let one = KeyList::read(&format!("{own} root@builder\n"), &hosts()[..1]).unwrap();
        assert_eq!(one.says(0, &own), Same, "for a single host it is clear whose key it is");
        assert!(
            matches!(&said(&(line("web01") + &line("@revoked web01")), &own)[0], Listed::Others(why) if why[0].contains("@revoked"))
        );
        // `ssh-keygen -H` made this of `[10.0.0.2]:2222`.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        mac.update(b"[10.0.0.2]:2222");
        let hashed =
            format!("|1|{}|{}", STANDARD.encode("salt"), STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(said(&line(&hashed), &own), [Nothing, Same]);
    }

    #[test]
    fn what_is_no_key_is_named_by_its_line() {
        let table = [
            ("", "the input has no key"),
            ("# nothing\n", "the input has no key"),
            (
                "SHA256:x\nhello\n",
                "line 2 of the input is no key; try: lines of known_hosts, ssh-keyscan or ssh-keygen -l",
            ),
            ("web01 ssh-ed25519 %%%\n", "line 1 of the input is no key: its base64 is broken"),
        ];
        for (text, wanted) in table {
            assert_eq!(KeyList::read(text, &hosts()).err().as_deref(), Some(wanted));
        }
    }
}
