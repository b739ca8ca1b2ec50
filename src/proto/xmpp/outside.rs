//! How this machine looks from outside, as far as the server can tell: its address (XEP-0279), and where STUN servers are
//! that tell more (XEP-0215). Pure.

use std::net::IpAddr;

use minidom::Element;

use super::xml::{Build, element, ns};
use crate::proto::stun;

/// STUN servers used of those that a server names.
const MAX_SERVERS: usize = 4;
/// Longest name of a host (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;

/// The payload that asks the own account at which address the server sees this connection.
#[must_use]
pub fn ask_address() -> Element {
    element("address", ns::SIC)
}

/// The address in the answer to [`ask_address`].
#[must_use]
pub fn address(answer: &Element) -> Option<IpAddr> {
    let address = answer.children().find(|child| child.is("address", ns::SIC))?;
    address.get_child("ip", ns::SIC)?.text().trim().parse().ok()
}

/// The payload that asks the server for STUN servers.
#[must_use]
pub fn ask_stun_servers() -> Element {
    element("services", ns::EXTERNAL_SERVICES).with("type", "stun")
}

/// The STUN servers, host and port, in the answer to [`ask_stun_servers`]: those that can be asked over UDP.
#[must_use]
pub fn stun_servers(answer: &Element) -> Vec<(String, u16)> {
    let lists = answer.children().filter(|child| child.is("services", ns::EXTERNAL_SERVICES));
    let services = lists.flat_map(Element::children).filter(|child| child.is("service", ns::EXTERNAL_SERVICES));
    let servers = services.filter_map(|service| {
        let is_udp = service.attr("transport").is_none_or(|transport| transport.eq_ignore_ascii_case("udp"));
        // One that is asked for credentials elsewhere does not answer us.
        let is_open = !matches!(service.attr("restricted"), Some("1" | "true"));
        let host = service.attr("host").filter(|host| !host.is_empty() && host.len() <= MAX_HOST)?;
        let port = service.attr("port").map_or(Some(stun::DEFAULT_PORT), |port| port.parse().ok())?;
        (service.attr("type") == Some("stun") && is_udp && is_open && port != 0).then(|| (host.to_owned(), port))
    });
    let mut known: Vec<(String, u16)> = Vec::new();
    for server in servers {
        if known.len() < MAX_SERVERS && !known.contains(&server) {
            known.push(server);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iq(payload: &str) -> Element {
        format!("<iq xmlns='jabber:client' type='result'>{payload}</iq>").parse().unwrap()
    }

    #[test]
    fn the_address_is_read() {
        let of =
            |ip: &str| address(&iq(&format!("<address xmlns='urn:xmpp:sic:1'><ip>{ip}</ip><port>5</port></address>")));
        assert_eq!(of("203.0.113.7"), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(of(" 2001:db8::7\n"), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(
            (of("example.org"), address(&iq("<address xmlns='urn:xmpp:sic:1'/>")), address(&iq(""))),
            (None, None, None)
        );
    }

    #[test]
    fn stun_servers_are_those_that_can_be_asked_over_udp() {
        let answer = "<services xmlns='urn:xmpp:extdisco:2'>\
            <service type='stun' host='stun.example.org' port='3479' transport='udp'/>\
            <service type='stun' host='stun.example.org' port='3479' transport='udp'/>\
            <service type='stun' host='2001:db8::9'/><service type='turn' host='a' port='1'/>\
            <service type='stuns' host='b' port='5349' transport='tcp'/><service type='turns' host='b' port='x'/>\
            <service type='stun' host='c' transport='tcp'/><service type='stun' host='d' port='0'/>\
            <service type='stun' host='e' port='99999'/><service type='stun' host=''/><service type='stun'/>\
            <service type='stun' host='f' restricted='1'/><odd/></services>";
        assert_eq!(
            stun_servers(&iq(answer)),
            [("stun.example.org".to_owned(), 3479), ("2001:db8::9".to_owned(), 3478)]
        );
        let many: String = (0..100).map(|n| format!("<service type='stun' host='h{n}'/>")).collect();
        let many = iq(&format!("<services xmlns='urn:xmpp:extdisco:2'>{many}</services>"));
        assert_eq!(stun_servers(&many).len(), MAX_SERVERS);
    }
}
