//! The TLS settings of the XMPP connection: whom to trust, and what to offer.
//!
//! The server's certificate is always checked. Trusted are either the authorities of `ca_file` and no others, or those
//! of the system (Mozilla's list where the system has none). The provider of the algorithms is given here, never taken
//! from the process.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::super::crypto;
use super::error::ConnectError;
use crate::proto::xmpp::stream::Tls;

/// The protocol name for direct TLS (XEP-0368 section 3). Servers may ignore it.
const ALPN: &[u8] = b"xmpp-client";

/// Settings for one connection.
///
/// # Errors
/// [`ConnectError::CaFile`] if the file cannot be read or holds no certificate.
pub fn client_config(ca_file: Option<&Path>, tls: Tls) -> Result<Arc<ClientConfig>, ConnectError> {
    let roots = match ca_file {
        Some(path) => roots_of(path)?,
        None => system_roots(),
    };
    let builder = ClientConfig::builder_with_provider(crypto::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Options(format!("no usable TLS version: {error}")))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if tls == Tls::Direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, ConnectError> {
    let failed = |reason: String| ConnectError::CaFile { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(describe_pem(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(describe_pem(&error)))?;
        roots.add(certificate).map_err(|_| failed("it holds a certificate that cannot be read".to_owned()))?;
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate in PEM format".to_owned()));
    }
    Ok(roots)
}

fn describe_pem(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        _ => "it is not in PEM format".to_owned(),
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        debug!(target: "bitween::xmpp", "a certificate authority of the system cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        log::info!(target: "bitween::xmpp", "the system has no certificate authorities, using the built-in list");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_useless_ca_file_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let told = || client_config(Some(&path), Tls::Direct).unwrap_err().to_string();
        assert!(told().contains("ca.pem: No such file"), "{}", told());
        std::fs::write(&path, "hello").unwrap();
        assert!(told().contains("no certificate"), "{}", told());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(told().contains("cannot be read"), "{}", told());
    }

    #[test]
    fn only_direct_tls_offers_a_protocol_name() {
        assert_eq!(client_config(None, Tls::Direct).unwrap().alpn_protocols, [b"xmpp-client".to_vec()]);
        assert!(client_config(None, Tls::StartTls).unwrap().alpn_protocols.is_empty());
    }
}
