//! OpenSSH's binary list of revoked keys and certificates (`ssh-keygen -k`), as PROTOCOL.krl describes it. Nothing here
//! grows faster than its input, and a part that is not understood refuses the whole list.

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, ssh_key};
use ssh_key::encoding::Decode as _;

use crate::domain::ask::revoked::{Bitmap, Revoked, RevokedCertificates};

/// The first bytes of every list.
pub const MAGIC: &[u8] = b"SSHKRL\n\0";

const FORMAT: u32 = 1;

/// Longest serial bitmap, in bytes: OpenSSH's own limit.
const BITMAP_LIMIT_BYTES: usize = 1 << 21;

const CERTIFICATES: u8 = 1;
const KEYS: u8 = 2;
const SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

type Read<T> = Result<T, &'static str>;

/// Bytes that were not read yet.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Read<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early")
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Read<&'b [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| "it ends too early")?;
        self.take(length)
    }

    fn text(&mut self) -> Read<String> {
        String::from_utf8(self.string()?.to_vec()).map_err(|_| "a text in it is not UTF-8")
    }
}

/// Reads a list.
pub fn read(bytes: &[u8]) -> Read<Revoked> {
    let mut bytes = Bytes(bytes.strip_prefix(MAGIC).ok_or("it is no list of revoked keys")?);
    if bytes.u32()? != FORMAT {
        return Err("its format is not known here");
    }
    // Version, date and flags.
    bytes.take(3 * size_of::<u64>())?;
    bytes.string()?;
    let _comment = bytes.string()?;
    let mut revoked = Revoked::default();
    while !bytes.is_empty() {
        let kind = bytes.u8()?;
        let mut section = Bytes(bytes.string()?);
        match kind {
            CERTIFICATES => revoked.certificates.push(certificates(section)?),
            KEYS => each(section, |key| {
                revoked.sha256.insert(fingerprint(key)?);
                Ok(())
            })?,
            SHA1 => each(section, |digest| {
                revoked.sha1.insert(digest.try_into().map_err(|_| "a SHA-1 digest has another length")?);
                Ok(())
            })?,
            SHA256 => each(section, |digest| {
                let digest: [u8; 32] =
                    digest.try_into().map_err(|_| "a SHA-256 digest has another length")?;
                revoked.sha256.insert(ssh_key::Fingerprint::Sha256(digest).to_string());
                Ok(())
            })?,
            // Nothing signs these lists in practice: the owner of the file is trusted.
            SIGNATURE => break,
            EXTENSION => skip_extension(&mut section)?,
            _ => return Err("it has a section that is not known here"),
        }
    }
    Ok(revoked)
}

fn each(mut section: Bytes<'_>, mut take: impl FnMut(&[u8]) -> Read<()>) -> Read<()> {
    while !section.is_empty() {
        take(section.string()?)?;
    }
    Ok(())
}

fn fingerprint(mut key: &[u8]) -> Read<String> {
    let key = KeyData::decode(&mut key).map_err(|_| "a key in it cannot be read")?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

fn certificates(mut section: Bytes<'_>) -> Read<RevokedCertificates> {
    let ca = section.string()?;
    let ca = if ca.is_empty() { None } else { Some(fingerprint(ca)?) };
    section.string()?;
    let mut list = RevokedCertificates { ca, ..RevokedCertificates::default() };
    while !section.is_empty() {
        let kind = section.u8()?;
        let mut part = Bytes(section.string()?);
        match kind {
            SERIAL_LIST => {
                while !part.is_empty() {
                    let serial = part.u64()?;
                    list.serials.push((serial, serial));
                }
            }
            SERIAL_RANGE => list.serials.push((part.u64()?, part.u64()?)),
            SERIAL_BITMAP => {
                let (offset, bits) = (part.u64()?, part.string()?.to_vec());
                if bits.len() > BITMAP_LIMIT_BYTES {
                    return Err("a bitmap in it is too long");
                }
                list.bitmaps.push(Bitmap { offset, bits });
            }
            KEY_ID => {
                while !part.is_empty() {
                    list.ids.insert(part.text()?);
                }
            }
            CERTIFICATE_EXTENSION => skip_extension(&mut part)?,
            _ => return Err("it has a section that is not known here"),
        }
    }
    Ok(list)
}

/// An extension that does not matter to those who do not know it.
fn skip_extension(section: &mut Bytes<'_>) -> Read<()> {
    section.string()?;
    match section.u8()? {
        0 => Ok(()),
        _ => Err("it has an extension that is not known here"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn keygen(dir: &Path, args: &[&str]) {
        let output = Command::new("ssh-keygen").current_dir(dir).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A list with every kind of section that ssh-keygen writes.
    fn list() -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["ca", "ann", "bob", "cat"] {
            keygen(dir.path(), &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
        }
        let key = |name: &str| std::fs::read_to_string(at(name)).unwrap();
        let bitmap: String = (1000..1100).step_by(2).map(|n| format!("serial: {n}\n")).collect();
        let spec = format!(
            "serial: 5\nserial: 70-90\n{bitmap}id: eve\nkey: {}sha1: {}sha256: {}",
            key("ann.pub"),
            key("bob.pub"),
            key("cat.pub")
        );
        std::fs::write(at("spec"), spec).unwrap();
        keygen(dir.path(), &["-q", "-k", "-f", "krl", "-s", "ca.pub", "spec"]);
        let bytes = std::fs::read(at("krl")).unwrap();
        (dir, bytes)
    }

    fn public(dir: &Path, name: &str) -> russh::keys::PublicKey {
        russh::keys::load_public_key(dir.join(format!("{name}.pub"))).unwrap()
    }

    #[test]
    fn a_list_of_ssh_keygen_is_read_whole() {
        use crate::domain::ask::revoked::KeyDigests;
        let (dir, bytes) = list();
        let revoked = read(&bytes).unwrap();
        let digests = |name: &str| {
            use sha1::Digest as _;
            let key = public(dir.path(), name);
            KeyDigests {
                sha256: key.fingerprint(HashAlg::Sha256).to_string(),
                sha1: sha1::Sha1::digest(key.to_bytes().unwrap()).into(),
            }
        };
        for (name, is) in [("ann", true), ("bob", true), ("cat", true), ("ca", false)] {
            assert_eq!(revoked.has_key(&digests(name)), is, "{name}");
        }
        let ca = digests("ca");
        for serial in (0..200).chain(990..1110) {
            let is = serial == 5
                || (70..=90).contains(&serial)
                || ((1000..1100).contains(&serial) && serial % 2 == 0);
            assert_eq!(revoked.has_certificate(&ca, serial, "x"), is, "{serial}");
            assert!(!revoked.has_certificate(&digests("ann"), serial, "x"), "another CA");
        }
        assert!(revoked.has_certificate(&ca, 1, "eve"));
    }

    #[test]
    fn a_list_that_is_cut_or_changed_is_refused_or_read_and_never_panics() {
        let (_dir, bytes) = list();
        for length in 0..bytes.len() {
            // A cut between two sections is a shorter list.
            let _ = read(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = read(&changed);
            }
        }
        assert_eq!(read(b"SSHKRL"), Err("it is no list of revoked keys"));
        assert_eq!(read(&[MAGIC, &[0, 0, 0, 2]].concat()), Err("its format is not known here"));
        let head = [MAGIC, &[0, 0, 0, 1], &[0; 24], &[0; 8]].concat();
        assert_eq!(read(&head), Ok(Revoked::default()));
        assert_eq!(
            read(&[&head[..], &[9, 0, 0, 0, 0]].concat()),
            Err("it has a section that is not known here")
        );
        assert_eq!(read(&[&head[..], &[2, 255, 255, 255, 255]].concat()), Err("it ends too early"));
    }
}
