//! Keys and certificates that are refused whatever `operators` says: the file `revoked`, which may be an OpenSSH KRL.

use std::collections::BTreeSet;

/// A public key, by its digests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyDigests {
    /// As OpenSSH writes it: `SHA256:...`.
    pub sha256: String,
    /// Of the same bytes, for older lists.
    pub sha1: [u8; 20],
}

/// What is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub sha256: BTreeSet<String>,
    pub sha1: BTreeSet<[u8; 20]>,
    pub certificates: Vec<RevokedCertificates>,
}

/// Certificates of one CA, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedCertificates {
    /// The fingerprint of the CA; `None` for every CA.
    pub ca: Option<String>,
    /// First and last serial number.
    pub serials: Vec<(u64, u64)>,
    pub bitmaps: Vec<Bitmap>,
    pub ids: BTreeSet<String>,
}

/// Serial numbers from `offset`, as bits: the last byte has the lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    pub offset: u64,
    pub bits: Vec<u8>,
}

impl Bitmap {
    fn contains(&self, serial: u64) -> bool {
        let Some(at) = serial.checked_sub(self.offset) else { return false };
        let Ok(byte) = usize::try_from(at / 8) else { return false };
        self.bits.iter().rev().nth(byte).is_some_and(|byte| byte & (1 << (at % 8)) != 0)
    }
}

impl Revoked {
    /// True if the list has the key.
    pub fn has_key(&self, key: &KeyDigests) -> bool {
        self.sha256.contains(&key.sha256) || self.sha1.contains(&key.sha1)
    }

    /// True if the list has the certificate: by its serial number or its key id.
    pub fn has_certificate(&self, ca: &KeyDigests, serial: u64, id: &str) -> bool {
        let of_ca = |list: &&RevokedCertificates| list.ca.as_ref().is_none_or(|listed| *listed == ca.sha256);
        self.certificates.iter().filter(of_ca).any(|list| list.has(serial, id))
    }
}

impl RevokedCertificates {
    /// The serial number 0 stands for none, as in OpenSSH.
    fn has(&self, serial: u64, id: &str) -> bool {
        let in_serials = self.serials.iter().any(|(first, last)| (*first..=*last).contains(&serial));
        let in_bitmaps = || self.bitmaps.iter().any(|bitmap| bitmap.contains(serial));
        self.ids.contains(id) || (serial != 0 && (in_serials || in_bitmaps()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_counts_from_its_last_byte() {
        let bitmap = Bitmap { offset: 100, bits: vec![0b1, 0b1000_0001] };
        let found: Vec<u64> = (0..200).filter(|serial| bitmap.contains(*serial)).collect();
        assert_eq!(found, [100, 107, 108]);
        assert!(!bitmap.contains(u64::MAX));
    }

    #[test]
    fn a_certificate_is_revoked_for_its_ca_alone() {
        let key = |name: &str| KeyDigests { sha256: name.into(), sha1: [0; 20] };
        let list = RevokedCertificates {
            ca: Some("a".into()),
            serials: vec![(5, 7), (0, 0)],
            ids: BTreeSet::from(["eve".to_string()]),
            ..RevokedCertificates::default()
        };
        let revoked = Revoked { certificates: vec![list], ..Revoked::default() };
        let table = [
            ("a", 5, "x", true),
            ("a", 8, "x", false),
            ("b", 5, "x", false),
            ("a", 0, "x", false),
            ("a", 0, "eve", true),
        ];
        for (ca, serial, id, is) in table {
            assert_eq!(revoked.has_certificate(&key(ca), serial, id), is, "{ca} {serial} {id}");
        }
    }
}
