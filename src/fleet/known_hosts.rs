//! The host-key store: OpenSSH's `known_hosts` format, strict. `russh`'s own check is not used: it
//! treats a key of another type as a new host and ignores `@revoked` (reference, russh 0.65).

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use sha1::Sha1;

use crate::port::KeyState;

/// Largest file that is read, in bytes: some 100,000 hosts.
const FILE_LIMIT_BYTES: u64 = 32 * 1024 * 1024;

/// The recorded keys, read again when the file changes.
pub struct KnownHosts {
    path: PathBuf,
    cache: Mutex<Option<(Stamp, Arc<Recorded>)>>,
    /// One writer at a time.
    write: tokio::sync::Mutex<()>,
}

/// The entries of the file in its order, and where to look for those of a host.
#[derive(Default)]
struct Recorded {
    entries: Vec<Entry>,
    /// By a name that an entry has as it is.
    by_name: HashMap<String, Vec<usize>>,
    /// Entries with patterns or hashed names: each of them is compared.
    others: Vec<usize>,
}

/// Distinguishes two states of the file.
type Stamp = (Option<std::time::SystemTime>, u64);

impl KnownHosts {
    /// The store in `path`; a missing file has no keys.
    pub fn new(path: PathBuf) -> KnownHosts {
        KnownHosts { path, cache: Mutex::default(), write: tokio::sync::Mutex::default() }
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state of `key` for the host that is dialled as `address:port`. An error when the file
    /// cannot be read or parsed: then no key is known, and none is trusted.
    pub fn state(&self, address: &str, port: u16, key: &PublicKey) -> Result<KeyState, String> {
        let recorded = self.recorded()?;
        let entries = recorded.of_host(&host_pattern(address, port));
        let of_host = || entries.iter().copied();
        let same = |entry: &&Entry| entry.public_key().key_data() == key.key_data();
        if of_host().any(|entry| entry.marker() == Some(&Marker::Revoked) && same(&entry)) {
            return Ok(KeyState::Revoked);
        }
        let mut plain = of_host().filter(|entry| entry.marker().is_none()).peekable();
        Ok(match (plain.peek().is_some(), plain.any(|entry| same(&entry))) {
            (false, _) => KeyState::Unknown,
            (true, true) => KeyState::Known,
            (true, false) => KeyState::Changed,
        })
    }

    /// Why a host certificate does not prove the identity of the dialled host.
    pub fn check_certificate(
        &self,
        address: &str,
        port: u16,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<(), String> {
        let recorded = self.recorded()?;
        let entries = recorded.of_host(&host_pattern(address, port));
        let authorities = entries
            .iter()
            .filter(|entry| entry.marker() == Some(&Marker::CertAuthority))
            .map(|entry| entry.public_key().fingerprint(HashAlg::Sha256));
        let authorities: Vec<_> = authorities.collect();
        if !certificate.cert_type().is_host() {
            return Err("it presents a user's certificate".into());
        }
        let revoked = entries.iter().any(|entry| {
            let key = entry.public_key().key_data();
            entry.marker() == Some(&Marker::Revoked)
                && (key == certificate.public_key() || key == certificate.signature_key())
        });
        if revoked {
            return Err("REVOKED: its certificate, or who signed it, is marked @revoked".into());
        }
        let seconds = u64::try_from(now.as_second()).map_err(|error| error.to_string())?;
        certificate.validate_at(seconds, &authorities).map_err(|_| {
            "its certificate is expired, not valid yet, or not signed by a recorded @cert-authority"
                .to_string()
        })?;
        if !certificate.valid_principals().iter().any(|principal| principal.eq_ignore_ascii_case(address)) {
            return Err(format!(
                "its certificate is for {:?}, not for {address}",
                certificate.valid_principals()
            ));
        }
        if certificate.critical_options().iter().next().is_some() {
            return Err("its certificate has critical options, which host certificates do not have".into());
        }
        Ok(())
    }

    /// The recorded key types of a host, which are negotiated first: otherwise a second key of another
    /// type would look unknown. Also returns whether an authority is recorded.
    pub fn preferences(&self, address: &str, port: u16) -> Result<(Vec<Algorithm>, bool), String> {
        let recorded = self.recorded()?;
        let entries = recorded.of_host(&host_pattern(address, port));
        let of_host = || entries.iter().copied();
        let types =
            of_host().filter(|entry| entry.marker().is_none()).map(|entry| entry.public_key().algorithm());
        let authority = of_host().any(|entry| entry.marker() == Some(&Marker::CertAuthority));
        Ok((types.collect(), authority))
    }

    /// Records a key: the whole file is written beside the old one and replaces it.
    pub async fn record(&self, address: &str, port: u16, key: &PublicKey) -> Result<(), String> {
        let _one_at_a_time = self.write.lock().await;
        match self.state(address, port, key)? {
            KeyState::Known => return Ok(()),
            KeyState::Unknown => {}
            KeyState::Changed | KeyState::Revoked => {
                return Err(format!(
                    "{} records another key for {address}; try: find out why it changed, then remove the old line",
                    self.path.display()
                ));
            }
        }
        let name = host_pattern(address, port);
        let key = PublicKey::from(key.key_data().clone()).to_openssh().map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let mut text = self.text().map_err(failed)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{name} {key}\n"));
        self.replace(&text).map_err(failed)
    }

    /// Removes the recorded keys of a host, and returns their number. Authorities, revoked keys and lines for whole
    /// patterns of hosts are not those of one host, and stay.
    pub async fn forget(&self, address: &str, port: u16) -> Result<usize, String> {
        let _one_at_a_time = self.write.lock().await;
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        // An unreadable file is left alone.
        self.recorded()?;
        let text = self.text().map_err(failed)?;
        let name = host_pattern(address, port);
        let (mut kept, mut forgotten) = (String::new(), 0);
        for line in text.lines() {
            match without(line, &name) {
                None => kept += &format!("{line}\n"),
                Some(rest) => {
                    forgotten += 1;
                    kept += &rest;
                }
            }
        }
        if forgotten > 0 {
            self.replace(&kept).map_err(failed)?;
        }
        match self.recorded()?.of_host(&name).iter().find(|entry| entry.marker().is_none()) {
            Some(_) => Err(format!(
                "a line for several hosts in {} has a key for {name}, too; edit it",
                self.path.display()
            )),
            None => Ok(forgotten),
        }
    }

    fn text(&self) -> std::io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            text => text,
        }
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }

    fn recorded(&self) -> Result<Arc<Recorded>, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.path.display());
        let stamp = match fs::metadata(&self.path) {
            Ok(about) if about.len() > FILE_LIMIT_BYTES => {
                return Err(failed(&format!("larger than {FILE_LIMIT_BYTES} bytes")));
            }
            Ok(about) => (about.modified().ok(), about.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.path.is_symlink() => {
                return Ok(Arc::default());
            }
            Err(error) => return Err(failed(&error)),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, recorded)) = cache.as_ref()
            && *known == stamp
        {
            return Ok(recorded.clone());
        }
        let text = fs::read_to_string(&self.path).map_err(|error| failed(&error))?;
        let entries = parse(&text).map_err(|(line, why)| format!("{}:{line}: {why}", self.path.display()))?;
        let recorded = Arc::new(Recorded::new(entries));
        *cache = Some((stamp, recorded.clone()));
        Ok(recorded)
    }
}

impl Recorded {
    fn new(entries: Vec<Entry>) -> Recorded {
        let mut recorded = Recorded::default();
        for (at, entry) in entries.iter().enumerate() {
            match entry.host_patterns() {
                HostPatterns::Patterns(names) if names.iter().all(|name| !name.contains(['*', '?', '!'])) => {
                    for name in names {
                        recorded.by_name.entry(plain_name(name)).or_default().push(at);
                    }
                }
                _ => recorded.others.push(at),
            }
        }
        Recorded { entries, ..recorded }
    }

    /// The entries of a host, in the order of the file.
    fn of_host(&self, name: &str) -> Vec<&Entry> {
        let named = self.by_name.get(name).into_iter().flatten().copied();
        let fits =
            |at: &usize| self.entries.get(*at).is_some_and(|entry| matches(entry.host_patterns(), name));
        let found: BTreeSet<usize> = named.chain(self.others.iter().copied().filter(fits)).collect();
        found.into_iter().filter_map(|at| self.entries.get(at)).collect()
    }
}

/// What is left of a line when the host is taken out of it; `None` if it does not name the host itself.
fn without(line: &str, name: &str) -> Option<String> {
    let (field, rest) = line.trim_start().split_once(char::is_whitespace)?;
    if field.starts_with(['@', '#']) {
        return None;
    }
    if field.starts_with('|') {
        let entry: Entry = line.split_whitespace().collect::<Vec<_>>().join(" ").parse().ok()?;
        return matches(entry.host_patterns(), name).then(String::new);
    }
    let is_host = |one: &&str| {
        let one = one.to_ascii_lowercase();
        one == name || one.strip_prefix('[').and_then(|rest| rest.strip_suffix("]:22")) == Some(name)
    };
    let (own, others): (Vec<&str>, Vec<&str>) = field.split(',').partition(is_host);
    match (own.is_empty(), others.is_empty()) {
        (true, _) => None,
        (false, true) => Some(String::new()),
        (false, false) => Some(format!("{} {}\n", others.join(","), rest.trim_start())),
    }
}

/// Every entry, or the first invalid line.
fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line.parse().map_err(|error| (number + 1, format!("no known_hosts line: {error}")))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// A host as OpenSSH writes it: in brackets with its port unless that is 22.
pub fn host_pattern(address: &str, port: u16) -> String {
    let address = address.to_ascii_lowercase();
    if port == 22 { address } else { format!("[{address}]:{port}") }
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => matches_any(patterns, name),
        HostPatterns::HashedName { salt, hash } => {
            let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
            mac.update(name.as_bytes());
            mac.verify_slice(hash).is_ok()
        }
    }
}

/// A name or pattern as names are compared: `[web1]:22` is another form of `web1`.
fn plain_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix("]:22"));
    bare.map_or_else(|| name.clone(), str::to_string)
}

/// One matching `!pattern` excludes the name, even if others match.
fn matches_any(patterns: &[String], name: &str) -> bool {
    let fits = |pattern: &str| wildcard(plain_name(pattern).as_bytes(), name.as_bytes());
    let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
    !excluded && patterns.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| fits(pattern))
}

/// `*` and `?`, with one position to return to: linear memory, no recursion.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star_p, star_n)) = star else { return false };
                p = star_p + 1;
                n = star_n + 1;
                star = Some((star_p, n));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;

    use super::*;

    fn key(algorithm: Algorithm) -> PublicKey {
        let mut rng = russh::keys::key::safe_rng();
        PrivateKey::random(&mut rng, algorithm).unwrap().public_key().clone()
    }

    fn line(key: &PublicKey) -> String {
        PublicKey::from(key.key_data().clone()).to_openssh().unwrap()
    }

    fn store(text: &str) -> (tempfile::TempDir, KnownHosts) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, text).unwrap();
        (dir, KnownHosts::new(path))
    }

    /// The rows of the reference that a plain lookup gets wrong, and the ones it gets right.
    #[test]
    fn keys_are_judged_strictly() {
        let p256 = Algorithm::Ecdsa { curve: russh::keys::EcdsaCurve::NistP256 };
        let (ours, other, rotated) = (key(Algorithm::Ed25519), key(p256), key(Algorithm::Ed25519));
        let (o, x, r) = (line(&ours), line(&other), line(&rotated));
        let hashed = {
            let mut mac = Hmac::<Sha1>::new_from_slice(b"01234567890123456789").unwrap();
            mac.update(b"web1");
            HostPatterns::HashedName {
                salt: b"01234567890123456789".to_vec(),
                hash: mac.finalize().into_bytes().into(),
            }
        };
        use KeyState::*;
        let table = [
            (format!("web1 {o}\n"), "web1", 22, Known),
            (format!("web1 {x}\n"), "web1", 22, Changed),
            (format!("web1 {r}\nweb1 {o}\n"), "web1", 22, Known),
            (format!("web1 {o}\n@revoked web1 {o}\n"), "web1", 22, Revoked),
            (format!("*.example.com {o}\n"), "a.example.com", 22, Known),
            (format!("*.example.com,!b.example.com {o}\n"), "b.example.com", 22, Unknown),
            (format!("WEB1\t{o}\n"), "Web1", 22, Known),
            (format!("[web1]:22 {o}\n"), "web1", 22, Known),
            (format!("[web1]:2222 {o}\n"), "web1", 2222, Known),
            (format!("web1 {o}\n"), "web1", 2222, Unknown),
            (format!("# web1 {o}\n\n"), "web1", 22, Unknown),
            (format!("@cert-authority web1 {o}\n"), "web1", 22, Unknown),
            (format!("{} {o}\n", hashed.to_string()), "web1", 22, Known),
            (format!("web1,web2 {o}\n"), "web2", 22, Known),
        ];
        for (text, address, port, wanted) in table {
            let (_dir, store) = store(&text);
            assert_eq!(store.state(address, port, &ours), Ok(wanted), "{text}");
        }
    }

    /// The file is not searched for each connection, and yet every line of it counts.
    #[test]
    fn the_entries_of_a_host_are_those_of_all_lines_that_name_it() {
        let key = line(&key(Algorithm::Ed25519));
        let names = ["a", "A,b", "[a]:22", "[a]:2222", "*", "*,!a", "a?", "[b]:22,[a]:2222", "!b,a"];
        let text: String = names.iter().map(|name| format!("{name} {key}\n")).collect();
        let recorded = Recorded::new(parse(&text).unwrap());
        for name in ["a", "b", "ab", "[a]:2222", "c"] {
            let all: Vec<&Entry> =
                recorded.entries.iter().filter(|entry| matches(entry.host_patterns(), name)).collect();
            assert_eq!(recorded.of_host(name), all, "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_trusts_nobody() {
        let ours = key(Algorithm::Ed25519);
        let (dir, broken) = store(&format!("web1 {}\nnonsense\n", line(&ours)));
        let error = broken.state("web1", 22, &ours).unwrap_err();
        assert!(
            error.ends_with("known_hosts:2: no known_hosts line: format encoding error")
                || error.contains("known_hosts:2: no known_hosts line"),
            "{error}"
        );
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("/nonexistent/file", &dangling).unwrap();
        assert!(KnownHosts::new(dangling).state("web1", 22, &ours).is_err());
        assert_eq!(KnownHosts::new(dir.path().join("none")).state("web1", 22, &ours), Ok(KeyState::Unknown));
    }

    #[tokio::test]
    async fn a_key_is_recorded_once_and_never_over_another() {
        let (ours, other) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
        let (_dir, store) = store("# kept");
        store.record("web1", 2222, &ours).await.unwrap();
        store.record("web1", 2222, &ours).await.unwrap();
        assert_eq!(store.state("web1", 2222, &ours), Ok(KeyState::Known));
        assert!(store.record("web1", 2222, &other).await.unwrap_err().contains("records another key"));
        let text = fs::read_to_string(store.path()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("# kept\n[web1]:2222 ssh-ed25519 "));
    }

    #[test]
    fn wildcards_match_like_opensshs() {
        for (pattern, name, wanted) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.x.*", "a.x.b.x.c", true),
            ("**", "x", true),
            ("a", "ab", false),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), name.as_bytes()), wanted, "{pattern} {name}");
        }
    }
}
