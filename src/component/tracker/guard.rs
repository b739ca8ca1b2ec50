//! The HTTP client's view of names: each hop's addresses are looked up here, and judged before they are connected to.

use std::sync::{Mutex, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::AnnounceError;
use super::deadline::Deadline;
use super::look_up::LookUp;
use super::stream::carried;
use crate::proto::tracker::{Access, Hop, Reach};

/// Looks up and judges the hosts of one announce, the first one and those that redirects lead to.
///
/// Behind a proxy (`http_proxy` and so on in the environment) names are the proxy's matter, and who may be reached too.
#[derive(Debug)]
pub(super) struct Guard {
    look_up: LookUp,
    access: Access,
    deadline: Deadline,
    /// The reach of the hop before.
    last: Mutex<Option<Reach>>,
}

impl Guard {
    pub(super) fn new(look_up: LookUp, access: Access, deadline: Deadline) -> Self {
        Self { look_up, access, deadline, last: Mutex::default() }
    }
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let found = self.look_up.addresses(host, port, &self.deadline).map_err(carried)?;
        let is_users_proxy = config.proxy().is_some_and(|proxy| proxy.uri().authority() == uri.authority());
        let usable = if is_users_proxy {
            found
        } else {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let path = uri.path_and_query().map_or("", |path| path.as_str());
            let hop = Hop { path: Some(path), redirected_from: *last };
            let judged = self.access.usable(hop, &found).map_err(AnnounceError::from).map_err(carried)?;
            *last = Some(judged.1);
            judged.0
        };
        let mut addrs = self.empty();
        usable.into_iter().take(MAX_TRIED).for_each(|addr| addrs.push(addr));
        Ok(addrs)
    }
}

/// Addresses of a host that are tried; the list that the client takes has room for as many.
const MAX_TRIED: usize = 16;
