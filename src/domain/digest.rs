//! SHA-256, as hosts and people write it.

use sha2::{Digest, Sha256};

/// SHA-256 of bytes, in hex, as hosts print it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
