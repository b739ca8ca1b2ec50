//! Whom HTTPS trackers are checked against (cargo feature `https`).

use std::sync::OnceLock;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::super::crypto;

/// Certificates that HTTPS servers are checked against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// The operating system's, or Mozilla's when it has none.
    #[default]
    System,
    /// These alone (DER).
    Only(Vec<Vec<u8>>),
}

/// The TLS side of the HTTP client.
pub(super) struct Tls {
    roots: Roots,
    config: OnceLock<TlsConfig>,
}

impl Tls {
    pub(super) const fn new(roots: Roots) -> Self {
        Self { roots, config: OnceLock::new() }
    }

    /// Built at the first use: reading the system's certificates takes tens of milliseconds.
    pub(super) fn config(&self) -> &TlsConfig {
        // Both are set, always: the client would panic at the first HTTPS URL, which a redirect may bring too.
        self.config.get_or_init(|| {
            TlsConfig::builder()
                .unversioned_rustls_crypto_provider(crypto::provider())
                .root_certs(root_certs(&self.roots))
                .build()
        })
    }
}

fn root_certs(roots: &Roots) -> RootCerts {
    let certificates: Vec<Certificate<'static>> = match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                log::warn!("some of the system's certificates are unusable: {error}");
            }
            found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        }
        Roots::Only(list) => list.iter().map(|der| Certificate::from_der(der).to_owned()).collect(),
    };
    if certificates.is_empty() && *roots == Roots::System {
        log::info!("the system has no root certificates; using Mozilla's");
        return RootCerts::WebPki;
    }
    RootCerts::new_with_certs(&certificates)
}
