//! The one question that is asked of a certificate here: by which hash it is known as the end of a TLS channel. The one
//! that is written here is in `self_signed.rs`.
//!
//! RFC 5929 section 4.1: the hash of the whole certificate, by the hash of the algorithm it is signed with. So its
//! outermost DER (X.690) is walked, `Certificate ::= SEQUENCE { tbs, algorithm, signature }` (RFC 5280 section 4.1), and
//! no more; whether the certificate is any good is the business of TLS.

#[cfg(feature = "local")]
pub mod self_signed;

use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;

/// Arcs of object identifiers, as DER writes them.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// The hash that `tls-server-end-point` binds to; `None` if the signature's algorithm says no single hash (as Ed25519),
/// or is unknown, or the certificate is none.
pub fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    Some(match signature_hash(certificate)? {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (_, rest) = value(certificate, SEQUENCE)?;
    let (algorithm, _) = value(rest, SEQUENCE)?;
    let (id, parameters) = value(algorithm, OBJECT_ID)?;
    // MD5 and SHA-1 are replaced by SHA-256.
    match (id.strip_prefix(RSA), id.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(Hash::Sha256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(Hash::Sha384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Hash::Sha512),
        // RSASSA-PSS: the hash is the first of the parameters, SHA-1 unless it is there.
        (Some([10]), _) => pss_hash(parameters),
        _ => None,
    }
}

/// `RSASSA-PSS-params ::= SEQUENCE { [0] SEQUENCE { OBJECT IDENTIFIER, .. } DEFAULT sha1, .. }` (RFC 4055 section 3.1).
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = value(parameters, SEQUENCE)?;
    let Some((tagged, _)) = value(parameters, 0xa0) else { return Some(Hash::Sha256) };
    let (algorithm, _) = value(tagged, SEQUENCE)?;
    let (id, _) = value(algorithm, OBJECT_ID)?;
    match id.strip_prefix(SHA2) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        _ => None,
    }
}

/// The contents of the first value, which has to be of this kind, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // No certificate has four GiB: at most three bytes of length.
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    /// A certificate with nothing but an algorithm.
    fn signed_with(id: &[u8], parameters: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let algorithm = wrap(SEQUENCE, &[&wrap(OBJECT_ID, id), parameters].concat());
        wrap(SEQUENCE, &[&wrap(SEQUENCE, b""), algorithm.as_slice()].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let p256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(end_point_hash(&p256), Some(Sha256::digest(&p256).to_vec()));
        let p384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(end_point_hash(&p384), Some(Sha384::digest(&p384).to_vec()));
        assert_eq!(end_point_hash(&certificate(&rcgen::PKCS_ED25519)), None, "it has no hash of its own");
    }

    #[test]
    fn old_hashes_are_replaced_and_pss_says_its_own() {
        let rsa = |last: u8| [RSA, &[last]].concat();
        for (last, hash) in [(4, Hash::Sha256), (5, Hash::Sha256), (12, Hash::Sha384), (13, Hash::Sha512)] {
            assert_eq!(signature_hash(&signed_with(&rsa(last), b"\x05\0")), Some(hash));
        }
        let sha512 = [&[SEQUENCE, 15, 0xa0, 13, SEQUENCE, 11, OBJECT_ID, 9], SHA2, &[3]].concat();
        assert_eq!(signature_hash(&signed_with(&rsa(10), &sha512)), Some(Hash::Sha512));
        assert_eq!(signature_hash(&signed_with(&rsa(10), &[SEQUENCE, 0])), Some(Hash::Sha256));
        assert_eq!(signature_hash(&signed_with(&rsa(99), b"")), None);
    }

    #[test]
    fn no_part_of_a_certificate_is_one() {
        let whole = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        for len in 0..whole.len() {
            assert_eq!(end_point_hash(&whole[..len]), None);
        }
        for lie in [&b"\x30\x84\xff\xff\xff\xff"[..], b"\x30\x80", b"\x30\x83\xff\xff\xff", b"\x02\x01\x00"] {
            assert_eq!(end_point_hash(lie), None);
        }
    }
}
