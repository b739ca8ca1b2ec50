//! What this node shows its neighbours, and what it thinks of what they show: TLS with certificates that nobody vouches for.
//!
//! Any certificate will do, as long as the other side proves that it has the key; who that is, is decided by its
//! fingerprint when the handshake is over. Both sides show one. TLS 1.3 only, no resumption: every stream proves anew.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};
use sha2::{Digest, Sha256};

use super::super::crypto;
use crate::proto::x509::self_signed;
use crate::proto::xmpp::local::Role;
use crate::share::Fingerprint;

/// The name that TLS wants and nobody looks at.
const NO_NAME: &str = "bitween.local";

/// This node's certificate, ready for handshakes.
pub(super) struct Identity {
    pub(super) fingerprint: Fingerprint,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Identity {
    /// The identity whose key is made of these random bytes; always the same for the same ones.
    pub(super) fn new(seed: &[u8; 32]) -> Result<Self, Error> {
        let key = || PrivateKeyDer::Pkcs8(self_signed::private_key(seed).into());
        let provider = crypto::provider();
        let signing = provider.key_provider.load_private_key(key())?;
        let no_key = || Error::General("a key of another kind".to_owned());
        let public = signing.public_key().ok_or_else(no_key)?;
        let unsigned = self_signed::to_be_signed(&public);
        let signer = signing.choose_scheme(&[SignatureScheme::ED25519]).ok_or_else(no_key)?;
        let certificate = CertificateDer::from(self_signed::signed(&unsigned, &signer.sign(&unsigned)?));
        let anyone = Arc::new(Anyone { provider: Arc::clone(&provider) });
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(anyone.clone())
            .with_client_auth_cert(vec![certificate.clone()], key())?;
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(anyone)
            .with_single_cert(vec![certificate.clone()], key())?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { fingerprint: fingerprint(&certificate), client: Arc::new(client), server: Arc::new(server) })
    }

    /// A handshake to begin with.
    pub(super) fn handshake(&self, role: Role) -> Result<Connection, Error> {
        match role {
            Role::Caller => {
                let name = ServerName::try_from(NO_NAME).map_err(|_| Error::General("no name".to_owned()))?;
                ClientConnection::new(Arc::clone(&self.client), name).map(Connection::Client)
            }
            Role::Called => ServerConnection::new(Arc::clone(&self.server)).map(Connection::Server),
        }
    }
}

/// By which a certificate is known.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::new(Sha256::digest(certificate).into())
}

/// Takes every certificate whose key signs the handshake.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl Anyone {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

const OLD_TLS: Error = Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(OLD_TLS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(OLD_TLS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries the bytes of a handshake, through `tamper`, until it is over.
    fn shake(client: &mut Connection, server: &mut Connection, tamper: impl Fn(&mut Vec<u8>)) -> Result<(), Error> {
        for _ in 0..10 {
            for (from, to) in [(true, false), (false, true)] {
                let (from, to) = if from && !to { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
                let mut bytes = Vec::new();
                while from.wants_write() {
                    from.write_tls(&mut bytes).unwrap();
                }
                tamper(&mut bytes);
                let mut bytes = bytes.as_slice();
                while !bytes.is_empty() {
                    to.read_tls(&mut bytes).unwrap();
                    to.process_new_packets()?;
                }
            }
        }
        Ok(())
    }

    fn signing(seed: u8) -> Arc<dyn rustls::sign::SigningKey> {
        let key = PrivateKeyDer::Pkcs8(self_signed::private_key(&[seed; 32]).into());
        rustls::crypto::ring::default_provider().key_provider.load_private_key(key).unwrap()
    }

    fn certificate(seed: u8) -> CertificateDer<'static> {
        let key = signing(seed);
        let unsigned = self_signed::to_be_signed(&key.public_key().unwrap());
        let signer = key.choose_scheme(&[SignatureScheme::ED25519]).unwrap();
        CertificateDer::from(self_signed::signed(&unsigned, &signer.sign(&unsigned).unwrap()))
    }

    fn both(server: &Identity) -> (Connection, Connection) {
        let alice = Identity::new(&[1; 32]).unwrap();
        (alice.handshake(Role::Caller).unwrap(), server.handshake(Role::Called).unwrap())
    }

    #[test]
    fn both_sides_learn_who_the_other_is() {
        let bob = Identity::new(&[2; 32]).unwrap();
        let (mut client, mut server) = both(&bob);
        shake(&mut client, &mut server, |_| {}).unwrap();
        let seen = |connection: &Connection| fingerprint(&connection.peer_certificates().unwrap()[0]);
        assert_eq!(seen(&client), bob.fingerprint);
        assert_eq!(seen(&server), Identity::new(&[1; 32]).unwrap().fingerprint, "the same key is the same identity");
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let (bob, eve) = (Identity::new(&[2; 32]).unwrap(), Identity::new(&[3; 32]).unwrap());
        // Eve shows Bob's certificate and signs with her own key.
        let certificate = certificate(2);
        assert_eq!(fingerprint(&certificate), bob.fingerprint);
        let forged = rustls::sign::CertifiedKey::new(vec![certificate], signing(3));
        let mut server = ServerConfig::clone(&eve.server);
        server.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(forged));
        let (mut client, _) = both(&bob);
        let mut server = Connection::Server(ServerConnection::new(Arc::new(server)).unwrap());
        assert!(shake(&mut client, &mut server, |_| {}).is_err());
    }

    #[test]
    fn other_programs_can_read_and_verify_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let (der, pem) = (dir.path().join("certificate.der"), dir.path().join("certificate.pem"));
        std::fs::write(&der, certificate(7)).unwrap();
        let (der, pem) = (der.to_str().unwrap(), pem.to_str().unwrap());
        let openssl = |arguments: &[&str]| {
            let output = std::process::Command::new("openssl").args(arguments).output().expect("openssl is needed");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{arguments:?}: {err}");
            format!("{out}{err}")
        };
        openssl(&["x509", "-inform", "DER", "-in", der, "-out", pem]);
        let text = openssl(&["x509", "-in", pem, "-noout", "-text"]);
        for part in ["CN = bitween", "ED25519", "Dec 31 23:59:59 9999", "Version: 3"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let verified = openssl(&["verify", "-check_ss_sig", "-CAfile", pem, pem]);
        assert!(verified.contains("OK"), "{verified}");
    }
}
