//! Finding neighbours and being found: the service `_presence._tcp` over mDNS (XEP-0174 sections 3 and 4, RFC 6763).
//!
//! The crate `mdns-sd` has a thread of its own for its sockets; another one here waits for what it finds. Nothing that goes
//! wrong is fatal: neighbours that are named in the configuration are met all the same.

use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::proto::xmpp::local::LocalName;
use crate::proto::xmpp::presence::{CAPS_NODE, caps_hash};
use crate::types::sort;

const SERVICE: &str = "_presence._tcp.local.";

/// Addresses of one neighbour that count.
const MAX_ADDRESSES: usize = 16;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// A neighbour that runs this program.
    Here(LocalName, Vec<SocketAddr>),
    /// It is gone.
    Gone(LocalName),
    /// Somebody else in this network has our name; this node was given this one, of another form.
    Taken(String),
    /// Nothing more will be found.
    Ended,
}

/// What the service is called and where it is.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: LocalName,
    /// A host name that nobody else has, such as `bitween-1a2b3c4d.local.`: the machine's own is another program's.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the user wants to be called.
    pub(super) nick: Option<String>,
}

/// The running search. Dropping it says no goodbye.
pub(super) struct Mdns {
    daemon: ServiceDaemon,
    fullname: String,
}

impl Mdns {
    /// Begins to announce this node and to look for others. `found` is called on another thread, until it says false.
    pub(super) fn start(
        service: &Service,
        found: impl Fn(Found) -> bool + Send + 'static,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let daemon = ServiceDaemon::new()?;
        // What is on this machine only is nobody's network.
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let heard = daemon.browse(SERVICE)?;
        let host = service.host.clone();
        std::thread::Builder::new().name("local-mdns".to_owned()).spawn(move || {
            while let Ok(event) = heard.recv() {
                let news = match event {
                    ServiceEvent::ServiceResolved(service) if service.host.eq_ignore_ascii_case(&host) => {
                        // The crate gives us another name if ours is taken; the XEP wants one of another form.
                        instance(&service.fullname).filter(|own| own.contains(' ')).map(Found::Taken)
                    }
                    ServiceEvent::ServiceResolved(service) => neighbor(&service),
                    ServiceEvent::ServiceRemoved(_, fullname) => {
                        instance(&fullname).and_then(|name| LocalName::parse(&name)).map(Found::Gone)
                    }
                    ServiceEvent::SearchStopped(_) => break,
                    _ => None,
                };
                if news.is_some_and(|news| !found(news)) {
                    return;
                }
            }
            found(Found::Ended);
        })?;
        let mut mdns = Self { daemon, fullname: String::new() };
        mdns.register(service)?;
        Ok(mdns)
    }

    /// Announces this node, under the name that the service says now.
    pub(super) fn register(&mut self, service: &Service) -> Result<(), mdns_sd::Error> {
        if !self.fullname.is_empty() {
            self.daemon.unregister(&self.fullname)?;
        }
        let port = service.port.to_string();
        let version = caps_hash();
        let mut text = vec![
            ("txtvers", "1"),
            ("port.p2pj", port.as_str()),
            ("status", "avail"),
            ("node", CAPS_NODE),
            ("hash", "sha-1"),
            ("ver", version.as_str()),
        ];
        text.extend(service.nick.as_deref().map(|nick| ("nick", nick)));
        let info = ServiceInfo::new(SERVICE, service.name.as_str(), &service.host, "", service.port, &text[..])?;
        self.fullname = info.get_fullname().to_owned();
        self.daemon.register(info.enable_addr_auto())
    }

    /// Says goodbye and ends the search.
    pub(super) fn stop(self) {
        if let Ok(gone) = self.daemon.unregister(&self.fullname) {
            let _ = gone.recv_timeout(GOODBYE);
        }
        let _ = self.daemon.shutdown();
    }
}

/// Somebody else's service, if it runs this program.
fn neighbor(service: &ResolvedService) -> Option<Found> {
    if service.get_property_val_str("node") != Some(CAPS_NODE) || service.port == 0 {
        return None;
    }
    let name = LocalName::parse(&instance(&service.fullname)?)?;
    let socket = |ip: &ScopedIp| match ip {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.addr(), service.port, 0, v6.scope_id().index).into()
        }
        ip => SocketAddr::new(ip.to_ip_addr(), service.port),
    };
    let mut addresses: Vec<SocketAddr> = service.addresses.iter().map(socket).collect();
    sort(&mut addresses);
    addresses.truncate(MAX_ADDRESSES);
    Some(Found::Here(name, addresses))
}

/// The instance of a full name, with its escapes undone (RFC 6763 section 4.3).
fn instance(fullname: &str) -> Option<String> {
    let end = fullname.len().checked_sub(SERVICE.len() + 1)?;
    let (instance, service) = fullname.split_at_checked(end)?;
    if !service.get(1..)?.eq_ignore_ascii_case(SERVICE) {
        return None;
    }
    let mut plain = String::with_capacity(instance.len());
    let mut characters = instance.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next()? } else { c });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_read_with_their_escapes() {
        let read = |text: &str| instance(&format!("{text}._presence._tcp.local."));
        assert_eq!(read("alice@box").as_deref(), Some("alice@box"));
        assert_eq!(read("a\\.b@box (2)").as_deref(), Some("a.b@box (2)"));
        assert_eq!(read("\\"), None);
        assert_eq!(instance("alice@box._ipp._tcp.local."), None);
        assert_eq!(instance(""), None);
    }
}
