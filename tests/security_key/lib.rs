//! A security key in software, for the tests. OpenSSH loads it as it loads the library of a FIDO key (`SSH_SK_PROVIDER`);
//! the layouts are those of its `sk-api.h`, version 10. The handle of a key is the whole private key.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use nix::libc;
use russh::keys::signature::Signer;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use sha2::{Digest, Sha256};

const API_VERSION: u32 = 0x000a_0000;
const ECDSA: u32 = 0;
const ED25519: u32 = 1;
const GENERAL_ERROR: c_int = -1;
/// Both halves of an ECDSA signature have this size at most.
const HALF_BYTES: usize = 32;

/// Bytes that OpenSSH frees.
#[repr(C)]
struct Bytes {
    at: *mut u8,
    length: usize,
}

impl Bytes {
    const NONE: Bytes = Bytes { at: null_mut(), length: 0 };

    fn of(bytes: &[u8]) -> Bytes {
        // SAFETY: malloc gives room for the bytes that are copied, or null.
        unsafe {
            let at: *mut u8 = libc::malloc(bytes.len().max(1)).cast();
            assert!(!at.is_null(), "no memory");
            at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Bytes { at, length: bytes.len() }
        }
    }
}

#[repr(C)]
pub struct EnrollResponse {
    flags: u8,
    public_key: Bytes,
    key_handle: Bytes,
    signature: Bytes,
    attestation: Bytes,
    authdata: Bytes,
}

#[repr(C)]
pub struct SignResponse {
    flags: u8,
    counter: u32,
    r: Bytes,
    s: Bytes,
}

/// Moves a response to memory that OpenSSH frees.
fn give<T>(response: T, to: *mut *mut T) -> c_int {
    // SAFETY: malloc gives room for one T, or null, and `to` points to where OpenSSH wants it.
    unsafe {
        let at: *mut T = libc::malloc(size_of::<T>()).cast();
        assert!(!at.is_null(), "no memory");
        at.write(response);
        to.write(at);
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn sk_api_version() -> u32 {
    API_VERSION
}

/// # Safety
/// `response` is a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_enroll(
    algorithm: u32,
    _challenge: *const u8,
    _challenge_length: usize,
    _application: *const c_char,
    flags: u8,
    _pin: *const c_char,
    _options: *mut *mut c_void,
    response: *mut *mut EnrollResponse,
) -> c_int {
    let algorithm = match algorithm {
        ECDSA => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        ED25519 => Algorithm::Ed25519,
        _ => return GENERAL_ERROR,
    };
    let Ok(key) = PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm) else {
        return GENERAL_ERROR;
    };
    let Ok(handle) = key.to_bytes() else { return GENERAL_ERROR };
    let public_key = match key.public_key().key_data() {
        KeyData::Ed25519(public) => Bytes::of(&public.0),
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => Bytes::of(point.as_bytes()),
        _ => return GENERAL_ERROR,
    };
    let response_of = EnrollResponse {
        flags,
        public_key,
        key_handle: Bytes::of(&handle),
        signature: Bytes::of(b"none"),
        attestation: Bytes::NONE,
        authdata: Bytes::NONE,
    };
    give(response_of, response)
}

/// # Safety
/// The pointers and lengths are those of sk-api.h.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_sign(
    _algorithm: u32,
    data: *const u8,
    data_length: usize,
    application: *const c_char,
    key_handle: *const u8,
    key_handle_length: usize,
    flags: u8,
    _pin: *const c_char,
    _options: *mut *mut c_void,
    response: *mut *mut SignResponse,
) -> c_int {
    // SAFETY: OpenSSH passes these with their lengths, and a text that ends with zero.
    let (data, handle, application) = unsafe {
        (
            std::slice::from_raw_parts(data, data_length),
            std::slice::from_raw_parts(key_handle, key_handle_length),
            CStr::from_ptr(application),
        )
    };
    let counter = 1_u32;
    let mut message = Sha256::digest(application.to_bytes()).to_vec();
    message.push(flags);
    message.extend(counter.to_be_bytes());
    message.extend(Sha256::digest(data));
    match signed(handle, &message) {
        Some((r, s)) => give(SignResponse { flags, counter, r, s }, response),
        None => GENERAL_ERROR,
    }
}

/// The two parts of a signature; ed25519 has one.
fn signed(handle: &[u8], message: &[u8]) -> Option<(Bytes, Bytes)> {
    let key = PrivateKey::from_bytes(handle).ok()?;
    let signature = key.key_data().try_sign(message).ok()?;
    match key.key_data() {
        KeypairData::Ed25519(_) => Some((Bytes::of(signature.as_bytes()), Bytes::NONE)),
        _ => {
            let (r, rest) = integer(signature.as_bytes())?;
            let (s, _) = integer(rest)?;
            Some((Bytes::of(r), Bytes::of(s)))
        }
    }
}

/// An integer of the SSH wire format (RFC 4251), without its leading zero.
fn integer(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((&number[number.len().saturating_sub(HALF_BYTES)..], rest))
}

/// # Safety
/// It touches none of its arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sk_load_resident_keys(
    _pin: *const c_char,
    _options: *mut *mut c_void,
    _keys: *mut *mut *mut c_void,
    _count: *mut usize,
) -> c_int {
    GENERAL_ERROR
}
