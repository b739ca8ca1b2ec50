//! Ports, and the addresses this machine has for others.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::super::error::CliError;
use super::super::output::clean;
use super::Subject;
use super::report::{Check, Report};
use crate::daemon::last_port;

/// How long a connection to this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses that stand for "somewhere far away" (RFC 5737, RFC 3849); nothing is sent to them.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The interface's port and the one for peers: answered by the daemon, or free for it.
pub(super) fn examine_ports(subject: &Subject, report: &mut Report) -> Result<(), CliError> {
    let (config, section) = (&subject.config, &subject.config.bittorrent);
    let wanted = |ip: &IpAddr| if ip.is_ipv4() { section.ipv4 } else { section.ipv6 };
    let bind = || section.bind.iter().copied().filter(wanted);
    if let Some(daemon) = &subject.daemon {
        return report.add(answering(bind(), daemon.port));
    }
    report.add(free("interface", [config.api.bind].into_iter(), config.api.port, false))?;
    let (port, any) = match section.port {
        0 => (last_port(&config.data_dir), true),
        port => (port, false),
    };
    report.add(free("peers", bind(), port, any))
}

fn answering(bind: impl Iterator<Item = IpAddr>, port: u16) -> Check {
    let outcomes: Vec<io::Result<TcpStream>> =
        bind.map(|ip| TcpStream::connect_timeout(&SocketAddr::new(this_machine(ip), port), CONNECT_TIMEOUT)).collect();
    // A family that this machine lacks is left out by the daemon, too.
    match outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
        Some(error) if !outcomes.iter().any(Result::is_ok) => Check::failed(
            "peers",
            format!("nobody answers on port {port}: {error}"),
            "restart the daemon; does a firewall of this machine forbid it?",
        ),
        _ => Check::ok("peers", format!("port {port} (TCP) answers on this machine")),
    }
}

/// Where to call what listens on all addresses.
fn this_machine(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// Could a daemon listen there? `any`: it takes another port if it has to.
fn free(name: &'static str, mut bind: impl Iterator<Item = IpAddr>, port: u16, any: bool) -> Check {
    if port == 0 {
        return Check::ok(name, "any port is taken that is free".to_owned());
    }
    let refused = bind.find_map(|ip| {
        let addr = SocketAddr::new(ip, port);
        listen(addr)
            .err()
            .filter(|error| error.kind() != io::ErrorKind::AddrNotAvailable || !ip.is_unspecified())
            .map(|error| (addr, error))
    });
    let Some((addr, error)) = refused else { return Check::ok(name, format!("port {port} (TCP) is free")) };
    match error.kind() {
        io::ErrorKind::AddrInUse if any => Check::warning(
            name,
            format!("port {port} of the last run is in use: another one will be taken"),
            "if a router forwards the old one, set `port` in [bittorrent] and end who has it",
        ),
        io::ErrorKind::AddrInUse => Check::failed(
            name,
            format!("port {port} is in use by another program"),
            &format!(
                "`ss -ltnp sport = :{port}` says which; end it, set another `port`, or, of a daemon, name its --data-dir"
            ),
        ),
        io::ErrorKind::PermissionDenied => {
            Check::failed(name, format!("port {port} needs a privilege"), "set a `port` above 1023")
        }
        _ if addr.ip().is_ipv6() => Check::warning(name, format!("cannot listen on {addr}: {error}"), ""),
        _ => {
            Check::failed(name, format!("cannot listen on {addr}: {error}"), "is the address in `bind` this machine's?")
        }
    }
}

/// Listens for a moment, as the daemon does.
fn listen(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1)
}

/// Which address others would see as far as this machine knows, for each family.
pub(super) fn examine_addresses(subject: &Subject, report: &mut Report) -> Result<(), CliError> {
    let section = &subject.config.bittorrent;
    let families = [("IPv4", section.ipv4, FAR_V4), ("IPv6", section.ipv6, FAR_V6)];
    let mut routes = 0;
    for (name, wanted, far) in families {
        report.add(match own_address(far) {
            _ if !wanted => Check::ok(name, "switched off in the settings".to_owned()),
            Ok(ip) => {
                routes += 1;
                Check::ok(name, format!("{ip}, {}", kind(ip)))
            }
            Err(_) => Check::ok(name, "none: this machine has no way out with it".to_owned()),
        })?;
    }
    if routes == 0 {
        let text = "this machine has no way to other networks: only what is near can be reached";
        report.add(Check::warning("network", text.to_owned(), "is the network up?"))?;
    }
    match &subject.daemon {
        Some(daemon) if daemon.addresses.is_empty() => {
            report.add(Check::ok("published", "no address is told to contacts".to_owned()))
        }
        Some(daemon) => report.add(Check::ok("published", clean(&daemon.addresses.join(", ")))),
        None => Ok(()),
    }
}

/// The own address on the way there. Connecting a datagram socket sends nothing.
fn own_address(far: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((far, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// What an address is good for.
fn kind(ip: IpAddr) -> &'static str {
    let (shared, behind) = (
        "behind the provider's router: others cannot connect, IPv6 or contacts who can be reached are the way out",
        "private: from outside only through a port that the router forwards",
    );
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => "this machine or this cable only",
        IpAddr::V4(ip) if ip.is_private() => behind,
        // RFC 6598.
        IpAddr::V4(ip) if u32::from(ip) >> 22 == u32::from(Ipv4Addr::new(100, 64, 0, 0)) >> 22 => shared,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => "this machine or this cable only",
        IpAddr::V6(ip) if ip.is_unique_local() => "private: this network only",
        _ => "public: others can connect unless a firewall forbids it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_sorted_by_what_they_are_good_for() {
        for (ip, begin) in [
            ("127.0.0.1", "this machine"),
            ("169.254.3.4", "this machine"),
            ("192.168.1.2", "private: from outside"),
            ("100.64.0.1", "behind the provider"),
            ("100.127.255.255", "behind the provider"),
            ("100.128.0.1", "public"),
            ("8.8.8.8", "public"),
            ("::1", "this machine"),
            ("fe80::1", "this machine"),
            ("fd12::1", "private: this network"),
            ("2a00::1", "public"),
        ] {
            assert!(kind(ip.parse().unwrap()).starts_with(begin), "{ip}");
        }
    }
}
