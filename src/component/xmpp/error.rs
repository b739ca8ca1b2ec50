//! Why there is no connection to the XMPP server (any more), in words for the user, and whether to try again.

use std::io;
use std::path::PathBuf;

use rustls::CertificateError;
use thiserror::Error;

use crate::proto::xmpp::backoff::Retry;
use crate::proto::xmpp::framing::FramingError;
use crate::proto::xmpp::negotiation::NegotiationError;
use crate::proto::xmpp::resume::SmError;
use crate::proto::xmpp::stream::StreamError;

/// Why a connection could not be made, or ended. The text is one line that says what is wrong; no secret is in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The thread was told to stop.
    #[error("stopped")]
    Stopped,
    /// A setting of the account cannot work.
    #[error("{0}")]
    Options(String),
    /// The file with the certificate authorities cannot be used.
    #[error("cannot use the certificate file {}: {reason}", path.display())]
    CaFile {
        /// The configured path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The server's address could not be found.
    #[error("cannot find the server of {domain}: {reason}")]
    Dns {
        /// The domain or host looked up.
        domain: String,
        /// What the look-up said.
        reason: String,
    },
    /// No TCP connection.
    #[error("cannot connect to {endpoint}: {reason}")]
    Unreachable {
        /// Host and port.
        endpoint: String,
        /// What the system said.
        reason: io::Error,
    },
    /// The server's certificate is not good for the domain.
    #[error("the server of {domain} cannot be trusted: {}", describe_certificate(.domain, .reason))]
    Certificate {
        /// The account's domain.
        domain: String,
        /// What is wrong with the certificate.
        reason: CertificateError,
    },
    /// The TLS handshake failed, or the connection broke TLS later.
    #[error("no encrypted connection with the server of {domain}: {reason}")]
    Tls {
        /// The account's domain.
        domain: String,
        /// What TLS said.
        reason: rustls::Error,
    },
    /// Bytes were slipped in before the encryption began: an attack, or a broken server.
    #[error("the server sent data between the offer of encryption and its beginning; this may be an attack")]
    Injected,
    /// No stream came out of it: login refused, nothing acceptable offered, ...
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
    /// What the server sends breaks the rules of XMPP or our limits.
    #[error("the connection was closed: {0}")]
    Framing(#[from] FramingError),
    /// The server ended the stream with an error.
    #[error("the server closed the stream: {}", describe_end(.0))]
    Stream(StreamError),
    /// What the server says of what it has taken cannot be.
    #[error("the connection was closed, since the server errs: {0}")]
    Management(#[from] SmError),
    /// The server ended the stream or the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not react.
    #[error("the server did not answer in time while {0}")]
    TimedOut(&'static str),
    /// The server was silent, and a ping brought no answer.
    #[error("the server has gone silent")]
    Silent,
    /// The network failed.
    #[error("the connection broke: {0}")]
    Lost(#[from] io::Error),
}

impl ConnectError {
    /// Whether and when a new attempt makes sense.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Stopped | Self::Options(_) => Retry::Never,
            Self::Negotiation(error) => error.retry(),
            Self::Stream(error) => error.retry(),
            Self::CaFile { .. } | Self::Certificate { .. } | Self::Injected | Self::Framing(_) => Retry::Later,
            Self::Dns { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Closed
            | Self::Management(_)
            | Self::TimedOut(_)
            | Self::Silent
            | Self::Lost(_) => Retry::Soon,
        }
    }

    /// Whether the other addresses of the same domain need not be tried: they would say the same, and a wrong password
    /// tried everywhere may lock the account. What is offered may differ between them: a proxy before one of them that
    /// does TLS itself leaves nothing to bind a login to.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Stopped | Self::Options(_) | Self::CaFile { .. } => true,
            Self::Negotiation(
                NegotiationError::Refused { .. } | NegotiationError::RefusedUnbound { .. } | NegotiationError::Bind(_),
            ) => true,
            Self::Negotiation(NegotiationError::Sasl(error)) => !error.is_of_the_offer(),
            Self::Negotiation(_) => self.other_host().is_some(),
            _ => false,
        }
    }

    /// Where the server sends its clients instead.
    pub(super) fn other_host(&self) -> Option<&str> {
        match self {
            Self::Stream(error) | Self::Negotiation(NegotiationError::Stream(error)) => error.other_host.as_deref(),
            _ => None,
        }
    }

    /// How far the attempt got; of several failures the one that got furthest says most.
    pub(super) const fn progress(&self) -> u8 {
        match self {
            Self::Dns { .. } => 0,
            Self::Unreachable { .. } => 1,
            Self::Lost(_) | Self::Closed | Self::TimedOut(_) => 2,
            Self::Tls { .. } | Self::Framing(_) => 3,
            _ => 4,
        }
    }

    /// The step that failed, in words.
    #[cfg(feature = "cli")]
    pub(super) const fn step(&self) -> &'static str {
        match self {
            Self::Stopped | Self::Options(_) => "the settings",
            Self::Dns { .. } => "finding the server",
            Self::Unreachable { .. } => "connecting",
            Self::CaFile { .. } | Self::Certificate { .. } | Self::Tls { .. } | Self::Injected => "encryption",
            Self::Lost(_) | Self::Closed | Self::TimedOut(_) | Self::Silent => "the connection",
            Self::Negotiation(_) | Self::Framing(_) | Self::Stream(_) | Self::Management(_) => "logging in",
        }
    }

    /// Sorts an error of TLS: the certificate is what users and administrators can do something about.
    pub(super) fn from_tls(domain: &str, error: rustls::Error) -> Self {
        let domain = domain.to_owned();
        match error {
            rustls::Error::InvalidCertificate(reason) => Self::Certificate { domain, reason },
            reason => Self::Tls { domain, reason },
        }
    }
}

fn describe_end(error: &StreamError) -> String {
    match error.condition.as_str() {
        "conflict" => "another program has logged in with the same resource; without a resource in the JID, every \
                       bitween has its own"
            .to_owned(),
        "system-shutdown" => "it is shutting down".to_owned(),
        _ => error.to_string(),
    }
}

fn describe_certificate(domain: &str, reason: &CertificateError) -> String {
    match reason {
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().take(4).map(|name| printable_name(name)).collect();
            format!("its certificate is for another name ({}), not for {domain}", names.join(", "))
        }
        CertificateError::NotValidForName => format!("its certificate is not for {domain}"),
        // A bad signature is what an authority looks like that has the name of a known one, but not its key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not signed by an authority known here (ca_file can name another one)".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or the clock of this machine is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (or the clock of this machine is wrong)".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate is not acceptable ({other:?})"),
    }
}

/// rustls presents names as `DnsName("example.org")`; the quotes hold what users know.
fn printable_name(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::sasl::SaslError;

    #[test]
    fn certificate_errors_are_told_in_words() {
        let told =
            |reason| ConnectError::from_tls("example.org", rustls::Error::InvalidCertificate(reason)).to_string();
        assert!(told(CertificateError::UnknownIssuer).contains("ca_file"));
        assert!(told(CertificateError::Expired).contains("expired"));
        let other_name = CertificateError::NotValidForNameContext {
            expected: "example.org".try_into().unwrap(),
            presented: vec!["DnsName(\"other.example\")".into()],
        };
        assert!(told(other_name).contains("another name (other.example), not for example.org"));
    }

    #[test]
    fn ends_of_streams_are_told_in_words_where_there_are_any() {
        let told = |condition: &str| {
            ConnectError::Stream(StreamError {
                condition: condition.into(),
                text: Some("why".into()),
                other_host: None,
            })
            .to_string()
        };
        assert!(told("conflict").contains("same resource"));
        assert_eq!(told("policy-violation"), "the server closed the stream: policy-violation (why)");
    }

    #[test]
    fn only_hopeless_errors_are_never_retried() {
        let refused = NegotiationError::Refused { condition: "not-authorized".into(), text: None };
        assert_eq!(ConnectError::from(refused).retry(), Retry::Never);
        assert_eq!(ConnectError::Closed.retry(), Retry::Soon);
        assert_eq!(ConnectError::from(NegotiationError::NoTls).retry(), Retry::Later);
    }

    #[test]
    fn another_address_is_tried_only_if_no_password_was_used() {
        let is_final = |error: SaslError| ConnectError::from(NegotiationError::Sasl(error)).is_final();
        let no_mechanism = SaslError::NoMechanism { offered: String::new(), plain_refused: false };
        let unknown = SaslError::UnknownBindings(String::new());
        for of_the_offer in [SaslError::Weaker("PLAIN"), no_mechanism, SaslError::OfferChanged, unknown] {
            assert!(!is_final(of_the_offer));
        }
        assert!(is_final(SaslError::WrongSignature) && is_final(SaslError::BadCredentials("password")));
        let refused = NegotiationError::Refused { condition: "not-authorized".into(), text: None };
        assert!(ConnectError::from(refused).is_final());
        assert!(ConnectError::from(NegotiationError::RefusedUnbound { malformed: false }).is_final());
    }
}
