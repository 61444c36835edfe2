//! The door's own key and the store belong together: hosts identify a rollcall by its key, and the store records its
//! work on them. If one of them is lost, rollcall does not silently create a new one.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::encoding::Encode;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::domain::base::digest::sha256_hex;
use crate::steps::seal::SealKey;

/// Digits of the SHA-256 of the door's key: enough to distinguish all rollcalls that one host ever meets.
const SITE_DIGITS: usize = 12;

/// The door's key, and warnings for the operator about it and the store.
pub struct DoorKey {
    pub key: PrivateKey,
    pub warning: Option<String>,
}

/// Reads the door's key, or creates it on the first start; before the store is opened.
pub fn door_key(path: &Path, store: &Path) -> Result<DoorKey, String> {
    let store_holds_something = std::fs::metadata(store).is_ok_and(|about| about.len() > 0);
    match (path.exists(), store_holds_something) {
        (true, true) => read(path).map(|key| DoorKey { key, warning: None }),
        (true, false) => read(path).map(|key| DoorKey { key, warning: Some(store_is_lost(path, store)) }),
        (false, true) => Err(key_is_lost(path, store)),
        (false, false) => make(path).map(|key| DoorKey { key, warning: None }),
    }
}

/// The name under which hosts keep the records of this rollcall. The daemon and `--local` share a store,
/// and so its runs: both have the same name.
pub fn site_of(key: &PublicKey) -> String {
    let hex = sha256_hex(key.fingerprint(HashAlg::Sha256).as_bytes());
    hex[..SITE_DIGITS].into()
}

/// The key from which names and seals of records on hosts are derived: as secret as the key of the door, and the same
/// after a restart.
pub fn seals_of(key: &PrivateKey) -> Result<SealKey, String> {
    Ok(SealKey::new(&secret_of(key)?))
}

/// The private part of the door's key.
pub fn secret_of(key: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, String> {
    Ok(Zeroizing::new(key.key_data().encode_vec().map_err(|error| format!("host key: {error}"))?))
}

/// The public part of the door's key, as known_hosts has it: type and base64.
pub fn public_line(key: &PrivateKey) -> Result<String, String> {
    let bare = PublicKey::new(key.public_key().key_data().clone(), "");
    bare.to_openssh().map_err(|error| format!("host key: {error}"))
}

fn key_is_lost(path: &Path, store: &Path) -> String {
    let (path, store) = (path.display(), store.display());
    format!(
        "host key {path}: it is missing, but the store {store} is there, so this is not the first start. With a new \
         key every client would report a changed host key, and hosts would not know the operations that are under \
         way; try: restore it from a copy, or, where there is none, make one: \
         ssh-keygen -q -t ed25519 -N '' -f {path}"
    )
}

fn store_is_lost(path: &Path, store: &Path) -> String {
    let (path, store) = (path.display(), store.display());
    format!(
        "the store {store} is missing or empty, but the host key {path} is there. Unless this is the first start: \
         debts, leases, releases and history are gone, and hosts that are out of rotation are not known as such; \
         try: stop rollcall and restore the store from a copy, or: balancer status all"
    )
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("host key {}: {error}", path.display())
}

fn read(path: &Path) -> Result<PrivateKey, String> {
    let about = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let why = format!(
            "others can read it (its mode is {mode:04o}), and with it they can pose as this rollcall; try: chmod 600 {}",
            path.display()
        );
        return Err(failed(path, &why));
    }
    russh::keys::load_secret_key(path, None).map_err(|error| failed(path, &error))
}

fn make(path: &Path) -> Result<PrivateKey, String> {
    make_parent(path)?;
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .map_err(|error| failed(path, &error))?;
    let text = key.to_openssh(LineEnding::LF).map_err(|error| failed(path, &error))?;
    write_key(path, text.as_bytes()).map_err(|error| failed(path, &error))?;
    Ok(key)
}

/// Writes the key atomically: half a key, left by a process that died, would prevent every later start.
fn write_key(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    // Removes a leftover of such a process; other obstacles show in the next call.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    std::io::Write::write_all(&mut file, text)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// Creates the folder of a file.
pub(super) fn make_parent(path: &Path) -> Result<(), String> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent)
        .map_err(|error| format!("{}: {error}; try: another place for it in rollcall.toml", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_host_key_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (path, store) = (dir.path().join("host_key"), dir.path().join("none.db"));
        // A leftover of a process that died while it wrote.
        std::fs::write(dir.path().join("host_key.new"), "half").unwrap();
        let made = door_key(&path, &store).unwrap();
        assert_eq!(made.warning, None);
        assert_eq!(door_key(&path, &store).unwrap().key.public_key(), made.key.public_key());
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["host_key"]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_host_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, store) = (dir.path().join("host_key"), dir.path().join("none.db"));
        door_key(&path, &store).unwrap();
        for open in [0o644, 0o640, 0o604, 0o620, 0o601] {
            mode(&path, open);
            let why = door_key(&path, &store).err().unwrap();
            assert!(why.contains(&format!("others can read it (its mode is {open:04o})")), "{why}");
            assert!(why.ends_with(&format!("try: chmod 600 {}", path.display())), "{why}");
        }
        for closed in [0o600, 0o400] {
            mode(&path, closed);
            door_key(&path, &store).unwrap();
        }
    }

    #[test]
    fn neither_a_key_nor_a_store_is_begun_anew_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let (path, store) = (dir.path().join("host_key"), dir.path().join("rollcall.db"));
        std::fs::write(&store, "rows").unwrap();
        let why = door_key(&path, &store).err().unwrap();
        assert!(why.contains("every client would report a changed host key"), "{why}");
        assert!(why.ends_with(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", path.display())), "{why}");
        assert!(!path.exists());
        std::fs::write(&store, "").unwrap();
        assert_eq!(door_key(&path, &store).unwrap().warning, None, "the first start");
        let warning = door_key(&path, &store).unwrap().warning.unwrap();
        assert!(warning.contains("debts, leases, releases and history are gone"), "{warning}");
        std::fs::write(&store, "rows").unwrap();
        assert_eq!(door_key(&path, &store).unwrap().warning, None);
    }
}
