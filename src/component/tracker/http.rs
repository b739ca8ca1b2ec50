//! Announces over HTTP, and over HTTPS if that is built in (`tls`). Blocks until the tracker has answered or the time is
//! up.

use std::time::Duration;

use ureq::Agent;
#[cfg(feature = "https")]
use ureq::unversioned::transport::RustlsConnector;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};

use super::deadline::Deadline;
use super::guard::Guard;
use super::look_up::LookUp;
use super::stream::TcpConnect;
#[cfg(feature = "https")]
use super::tls::Tls;
use super::{AnnounceError, MAX_REPLY_LEN};
use crate::proto::tracker::http::{HttpReplyError, announce_url, parse_reply};
use crate::proto::tracker::{Access, Announce, Announced};

/// An HTTP client. Usable from several threads.
pub(super) struct HttpClient {
    user_agent: String,
    look_up: LookUp,
    #[cfg(feature = "https")]
    tls: Tls,
}

impl HttpClient {
    pub(super) const fn new(user_agent: String, look_up: LookUp, #[cfg(feature = "https")] tls: Tls) -> Self {
        Self {
            user_agent,
            look_up,
            #[cfg(feature = "https")]
            tls,
        }
    }

    /// Makes one announce. An error with a bencoded reason tells the reason, whatever the HTTP status.
    pub(super) fn announce(
        &self,
        url: &str,
        announce: &Announce,
        access: Access,
        deadline: &Deadline,
    ) -> Result<Announced, AnnounceError> {
        let left = deadline.left()?;
        let agent = self.agent(access, deadline);
        let request = agent.get(announce_url(url, announce)).config().timeout_global(Some(left)).build();
        // Whatever came of it: when the time is over, that is why.
        let failure = |error| deadline.left().err().unwrap_or_else(|| failure(error));
        let mut response = request.call().map_err(failure)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_REPLY_LEN).read_to_vec().map_err(failure)?;
        match parse_reply(&body) {
            Err(refused @ HttpReplyError::Refused { .. }) => Err(refused.into()),
            _ if !status.is_success() => Err(AnnounceError::Status(status.as_u16())),
            reply => Ok(reply?),
        }
    }

    /// The client of one announce. Nothing is worth keeping for the next one: announces are far apart, and a connection
    /// that the tracker closes just as it is used again would look like a dead tracker.
    fn agent(&self, access: Access, deadline: &Deadline) -> Agent {
        let config = Agent::config_builder()
            .user_agent(&self.user_agent)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .max_redirects(MAX_REDIRECTS)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_response_header_size(MAX_HEADER_LEN)
            .input_buffer_size(BUFFER_LEN)
            .output_buffer_size(BUFFER_LEN);
        let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnect(deadline.clone()));
        // Without it the client refuses what needs it, a redirect to HTTPS, too.
        #[cfg(feature = "https")]
        let (config, connector) =
            (config.tls_config(self.tls.config().clone()), connector.chain(RustlsConnector::default()));
        Agent::with_parts(config.build(), connector, Guard::new(self.look_up.clone(), access, deadline.clone()))
    }
}

/// Says what went wrong without repeating any URL: redirects may hold secrets just as announce URLs do.
fn failure(error: ureq::Error) -> AnnounceError {
    use std::io::ErrorKind;
    use ureq::Error as E;
    match error {
        E::Timeout(_) => AnnounceError::Timeout,
        E::HostNotFound => AnnounceError::Resolve,
        E::BodyExceedsLimit(_) => AnnounceError::TooLarge(MAX_REPLY_LEN),
        E::StatusCode(code) => AnnounceError::Status(code),
        E::Tls(reason) => AnnounceError::Tls(reason.to_owned()),
        E::TlsRequired => AnnounceError::NoHttps,
        #[cfg(feature = "https")]
        E::Rustls(error) => AnnounceError::Tls(error.to_string()),
        E::ConnectionFailed => AnnounceError::Unreachable("connection failed".into()),
        E::TooManyRedirects | E::RedirectFailed => AnnounceError::Http("too many redirects"),
        E::BadUri(_) | E::Http(_) => AnnounceError::Http("invalid URL"),
        E::Protocol(_) => AnnounceError::Http("the server broke the protocol"),
        E::LargeResponseHeader(..) => AnnounceError::Http("the response's header is too large"),
        E::Io(error) => match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => AnnounceError::Timeout,
            // What TLS reports while it reads comes wrapped in an I/O error.
            ErrorKind::InvalidData => AnnounceError::Tls(error.to_string()),
            kind => AnnounceError::Unreachable(kind.to_string()),
        },
        E::Other(error) => match error.downcast::<AnnounceError>() {
            Ok(ours) => *ours,
            Err(_) => AnnounceError::Http("unexpected failure"),
        },
        _ => AnnounceError::Http("unexpected failure"),
    }
}

/// Redirects that are followed. Taste: a move to HTTPS and one to another host, twice.
const MAX_REDIRECTS: u32 = 4;
/// Time to connect, TLS included, so that an address that swallows packets leaves time for the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest header of a response, in bytes.
const MAX_HEADER_LEN: usize = 16 * 1024;
/// Length of the buffers of a connection, in bytes: replies have a few KiB, and the default is 128 KiB each.
const BUFFER_LEN: usize = 16 * 1024;
