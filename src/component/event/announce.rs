//! Announces, as the BitTorrent thread asks for them and the tracker threads answer.

use std::sync::Arc;
use std::time::Duration;

use crate::proto::tracker::http::HttpReplyError;
use crate::proto::tracker::udp::UdpError;
use crate::proto::tracker::{Announce, AnnounceEvent, Announced, Forbidden, NamedBy, UrlError};
use crate::types::TorrentKey;

/// An announce to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// Comes back in the reply.
    pub torrent: TorrentKey,
    /// The tracker; comes back in the reply.
    pub url: Arc<str>,
    /// Whose wish it is; decides which addresses the tracker may have.
    pub named_by: NamedBy,
    /// What to tell it.
    pub announce: Announce,
}

/// What became of an [`AnnounceRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceReply {
    /// From the request.
    pub torrent: TorrentKey,
    /// From the request.
    pub url: Arc<str>,
    /// From the request.
    pub event: Option<AnnounceEvent>,
    /// The tracker's answer.
    pub result: Result<Announced, AnnounceError>,
}

/// Why there is no answer. The texts hold no part of the tracker's URL, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The URL is unusable.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A tracker at that address is not asked.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Too many announces wait already.
    #[error("too many announces are waiting")]
    Busy,
    /// The pool is being stopped.
    #[error("announcing has ended")]
    Stopped,
    /// The host name leads to no address.
    #[error("the tracker's name cannot be resolved")]
    Resolve,
    /// No connection; with the system's reason.
    #[error("the tracker cannot be reached: {0}")]
    Unreachable(String),
    /// Not finished in time.
    #[error("the tracker did not answer in time")]
    Timeout,
    /// The certificate is not to be trusted, or TLS failed otherwise.
    #[error("no secure connection to the tracker: {0}")]
    Tls(String),
    /// An HTTPS tracker, or a redirect to one, in a program built without the cargo feature.
    #[error("this bitween was built without HTTPS (cargo feature `https`)")]
    NoHttps,
    /// An HTTP error, without a reason in the body.
    #[error("the tracker answered with HTTP status {0}")]
    Status(u16),
    /// Something else is wrong with the HTTP exchange.
    #[error("HTTP failed: {0}")]
    Http(&'static str),
    /// The reply is longer than any honest one.
    #[error("the tracker's reply is longer than {0} bytes")]
    TooLarge(u64),
    /// An HTTP tracker refused or answered nonsense.
    #[error(transparent)]
    HttpReply(#[from] HttpReplyError),
    /// A UDP tracker refused, answered nonsense or not at all.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// A bug: the announce panicked.
    #[error("internal error while announcing")]
    Panicked,
}

impl AnnounceError {
    /// The tracker's own wish for when to be asked again.
    #[must_use]
    pub const fn retry_in(&self) -> Option<Duration> {
        if let Self::HttpReply(HttpReplyError::Refused { retry_in, .. }) = self { *retry_in } else { None }
    }

    /// Whether other announces to the same host would fail just so.
    pub(in crate::component) const fn concerns_host(&self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Unreachable(_) | Self::Timeout | Self::Tls(_) | Self::Udp(UdpError::NoAnswer)
        )
    }
}
