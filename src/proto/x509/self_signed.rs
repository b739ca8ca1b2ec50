//! Writes the certificate that a node shows its neighbours: no authority signs it, it only carries a public key.
//!
//! Everything in it follows from the key, so the same key has the same certificate, and the same fingerprint, at every
//! start. It names nobody: whoever listens in on a handshake learns nothing. RFC 5280 section 4.1, RFC 8410 for Ed25519.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SET: u8 = 0x31;
/// `[0]`, constructed: the version.
const VERSION: u8 = 0xa0;

/// `id-Ed25519`.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Issuer and subject.
const NAME: &[u8] = b"bitween";

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// PKCS #8 (RFC 8410 section 7) before the 32 bytes of an Ed25519 key.
const KEY_PREFIX: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The private key made of these random bytes, as PKCS #8.
#[must_use]
pub fn private_key(seed: &[u8; 32]) -> Vec<u8> {
    [KEY_PREFIX, seed].concat()
}

/// A private key as it is kept in a file.
#[must_use]
pub fn to_pem(seed: &[u8; 32]) -> String {
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(private_key(seed)))
}

/// The random bytes of a private key that [`to_pem`] has written.
#[must_use]
pub fn from_pem(text: &str) -> Option<[u8; 32]> {
    let inner = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    STANDARD.decode(inner.trim()).ok()?.strip_prefix(KEY_PREFIX)?.try_into().ok()
}

/// What is to be signed: the certificate of a public key, given as `SubjectPublicKeyInfo`. Valid for ever (RFC 5280
/// section 4.1.2.5): it is remembered, not renewed.
#[must_use]
pub fn to_be_signed(public_key: &[u8]) -> Vec<u8> {
    let mut serial = [0; 8];
    serial.iter_mut().zip(Sha256::digest(public_key)).for_each(|(to, from)| *to = from);
    // A positive number, without leading zeros.
    serial[0] = serial[0] & 0x3f | 0x40;
    let attribute = der(super::SEQUENCE, &[&der(super::OBJECT_ID, &[COMMON_NAME]), &der(UTF8_STRING, &[NAME])]);
    let name = der(super::SEQUENCE, &[&der(SET, &[&attribute])]);
    let validity = [der(UTC_TIME, &[b"700101000000Z"]), der(GENERALIZED_TIME, &[b"99991231235959Z"])].concat();
    let version = der(VERSION, &[&der(INTEGER, &[&[2]])]);
    let validity = der(super::SEQUENCE, &[&validity]);
    der(super::SEQUENCE, &[&version, &der(INTEGER, &[&serial]), &algorithm(), &name, &validity, &name, public_key])
}

/// The certificate: what was to be signed, and its Ed25519 signature.
#[must_use]
pub fn signed(to_be_signed: &[u8], signature: &[u8]) -> Vec<u8> {
    der(super::SEQUENCE, &[to_be_signed, &algorithm(), &der(BIT_STRING, &[&[0], signature])])
}

fn algorithm() -> Vec<u8> {
    der(super::SEQUENCE, &[&der(super::OBJECT_ID, &[ED25519])])
}

/// One value of this kind. Nothing here is longer than 64 KiB.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, &content].concat()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};

    use super::*;

    fn certificate(seed: u8) -> Vec<u8> {
        let key = private_key(&[seed; 32]);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.as_slice().into(), &rcgen::PKCS_ED25519).unwrap();
        let tbs = to_be_signed(&key.subject_public_key_info());
        signed(&tbs, &key.sign(&tbs).unwrap())
    }

    #[test]
    fn the_same_key_has_the_same_certificate() {
        assert_eq!(certificate(1), certificate(1));
        assert_ne!(certificate(1), certificate(2));
    }

    #[test]
    fn a_key_can_be_kept_in_a_file() {
        let seed = [9; 32];
        assert_eq!(from_pem(&to_pem(&seed)), Some(seed));
        for damaged in ["", PEM_BEGIN, &to_pem(&seed)[1..], &to_pem(&seed).replace('C', "D")] {
            assert_eq!(from_pem(damaged), None);
        }
    }
}
