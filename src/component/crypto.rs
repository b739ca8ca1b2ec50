//! The cryptography of every TLS connection: *ring*'s, and of it only what is met. The ready-made provider of rustls has
//! everything that *ring* can do, and with it a tenth of a MiB of code that no server asks for.

use std::sync::Arc;

use rustls::crypto::ring::{cipher_suite, kx_group, sign};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::{PrivateKeyDer, SignatureVerificationAlgorithm};
use rustls::sign::SigningKey;
use rustls::{Error, SignatureScheme};
use webpki::ring as verify;

/// For all sides of a connection, client and server.
///
/// AES-GCM alone: whoever speaks TLS 1.3 must have it (RFC 8446 section 9.1), and of the servers with TLS 1.2 those that
/// have ChaCha20 have AES as well. Own keys are Ed25519, the kind that the identity in the local network is made of.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: SIGNATURES,
        secure_random: &System,
        key_provider: &System,
    })
}

/// The randomness of the operating system, and keys of the one kind that is used here.
#[derive(Debug)]
struct System;

impl SecureRandom for System {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(buf).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for System {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        match &key {
            PrivateKeyDer::Pkcs8(key) => sign::any_eddsa_type(key),
            _ => Err(Error::General("a private key that is not Ed25519 in PKCS #8".to_owned())),
        }
    }
}

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

const ECDSA_SHA256: Algorithms = &[verify::ECDSA_P256_SHA256, verify::ECDSA_P384_SHA256];
const ECDSA_SHA384: Algorithms = &[verify::ECDSA_P384_SHA384, verify::ECDSA_P256_SHA384];

/// By which certificates and handshakes may be signed. TLS 1.2 does not fix the curve of ECDSA (RFC 5246), TLS 1.3 does:
/// the first of each.
const SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        verify::ECDSA_P256_SHA256,
        verify::ECDSA_P256_SHA384,
        verify::ECDSA_P384_SHA256,
        verify::ECDSA_P384_SHA384,
        verify::ED25519,
        verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        verify::RSA_PKCS1_2048_8192_SHA256,
        verify::RSA_PKCS1_2048_8192_SHA384,
        verify::RSA_PKCS1_2048_8192_SHA512,
        verify::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        verify::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, ECDSA_SHA384),
        (SignatureScheme::ECDSA_NISTP256_SHA256, ECDSA_SHA256),
        (SignatureScheme::ED25519, &[verify::ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[verify::RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[verify::RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[verify::RSA_PKCS1_2048_8192_SHA256]),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_ring_is_there_but_chacha20() {
        let (ours, all) = (provider(), rustls::crypto::ring::default_provider());
        let names =
            |provider: &CryptoProvider| -> Vec<_> { provider.cipher_suites.iter().map(|s| s.suite()).collect() };
        let left: Vec<_> = names(&all).into_iter().filter(|suite| !names(&ours).contains(suite)).collect();
        assert!(left.len() == 3 && left.iter().all(|suite| format!("{suite:?}").contains("CHACHA20")), "{left:?}");
        let groups = |provider: &CryptoProvider| -> Vec<_> { provider.kx_groups.iter().map(|g| g.name()).collect() };
        assert_eq!(groups(&ours), groups(&all));
        let schemes = |provider: &CryptoProvider| provider.signature_verification_algorithms.supported_schemes();
        assert_eq!(schemes(&ours), schemes(&all));
        let (signatures, theirs) = (SIGNATURES.all, all.signature_verification_algorithms.all);
        assert_eq!(format!("{signatures:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn randomness_is_random() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        System.fill(&mut a).unwrap();
        System.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
