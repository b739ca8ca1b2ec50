//! Machines in networks of their own, with a router between them that also is the XMPP server's machine.
//!
//! All addresses are public ones (documentation's: RFC 5737, RFC 3849), so that nothing is judged by being near.

use std::path::Path;
use std::process::Command;

use super::common::namespace::{Namespace, ip, ip_all, prefix, there};
use super::common::prosody::{Prosody, ProsodyOptions};
use super::common::user::User;

/// Where all machines take peers.
pub const PORT: u16 = 51413;

/// Which versions of IP a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    Dual,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    pub fn has_v4(self) -> bool {
        self != Self::V6
    }

    pub fn has_v6(self) -> bool {
        self != Self::V4
    }

    pub fn shares_one_with(self, other: Self) -> bool {
        (self.has_v4() && other.has_v4()) || (self.has_v6() && other.has_v6())
    }
}

/// The router, its server, and how many machines are connected.
pub struct Network {
    prefix: String,
    machines: u8,
    pub server: Prosody,
    // Dropped last.
    router: Namespace,
}

impl Network {
    /// A server whose users on one side see all those on the other. `None` if the test is to be skipped.
    pub fn new(one_side: &[&str], other_side: &[&str]) -> Option<Self> {
        let prefix = prefix();
        let router = Namespace::new(format!("{prefix}r"))?;
        let name = router.name();
        ip_all(&[
            format!("-n {name} addr add 198.51.100.1/32 dev lo"),
            format!("-n {name} addr add 2001:db8:ffff::1/128 dev lo nodad"),
        ]);
        set(name, &[("ipv4/ip_forward", 1), ("ipv6/conf/all/forwarding", 1), AT_ONCE]);
        let users = one_side.iter().chain(other_side);
        let accounts: Vec<(&str, &str)> = users.map(|user| (*user, "secret")).collect();
        let pairs = one_side.iter().flat_map(|one| other_side.iter().map(move |other| (*one, *other)));
        let contacts: Vec<(&str, &str)> = pairs.collect();
        let server = Prosody::start(ProsodyOptions {
            users: &accounts,
            contacts: &contacts,
            namespace: Some(name),
            ..ProsodyOptions::default()
        });
        Some(Self { prefix, machines: 0, server, router })
    }

    /// Connects another machine, and gives it to this user, whose daemon does not run yet.
    pub fn machine(&mut self, user: &str, family: Family) -> Machine {
        self.machines += 1;
        let number = self.machines;
        let name = format!("{}{number}", self.prefix);
        let namespace = Namespace::new(name.clone()).expect("there is one already");
        set(&name, &[AT_ONCE]);
        let router = self.router.name();
        ip_all(&[
            format!("-n {name} link add eth0 type veth peer name v{number} netns {router}"),
            format!("-n {name} link set eth0 up"),
            format!("-n {router} link set v{number} up"),
            format!("-n {router} addr add 203.0.113.{}/30 dev v{number}", number * 4 + 2),
            format!("-n {router} addr add 2001:db8:{number}::2/64 dev v{number} nodad"),
        ]);
        let server = match family {
            Family::V6 => format!("[2001:db8:ffff::1]:{}", self.server.port()),
            _ => format!("198.51.100.1:{}", self.server.port()),
        };
        let loopback = "allow_loopback_peers = true\n";
        let user = User::on_server(&server, &self.server.ca_file(), user, "secret")
            .edited(loopback, "")
            .edited("xmpp=debug", "xmpp=debug,bitween::component::bt=debug")
            .edited("bind = [\"127.0.0.1\"]", &format!("port = {PORT}"))
            .inside(&name);
        let machine = Machine { user, number, namespace, router: router.to_owned() };
        if family.has_v4() {
            machine.add_v4();
        }
        if family.has_v6() {
            machine.add_v6();
        }
        machine
    }
}

/// Somebody's machine. What it is called goes with it.
pub struct Machine {
    pub user: User,
    number: u8,
    namespace: Namespace,
    router: String,
}

impl Machine {
    pub fn v4(&self) -> String {
        format!("203.0.113.{}", self.number * 4 + 1)
    }

    pub fn v6(&self) -> String {
        format!("2001:db8:{}::1", self.number)
    }

    pub fn add_v4(&self) {
        let name = self.namespace.name();
        ip_all(&[
            format!("-n {name} addr add {}/30 dev eth0", self.v4()),
            format!("-n {name} route add default via 203.0.113.{}", self.number * 4 + 2),
        ]);
    }

    pub fn add_v6(&self) {
        let name = self.namespace.name();
        ip_all(&[
            format!("-n {name} addr add {}/64 dev eth0 nodad", self.v6()),
            format!("-n {name} -6 route add default via 2001:db8:{}::2", self.number),
        ]);
    }

    pub fn remove_v6(&self) {
        ip_all(&[format!("-n {} addr del {}/64 dev eth0", self.namespace.name(), self.v6())]);
    }

    /// What comes from outside to its port vanishes on the way. Everything else passes.
    pub fn close(&self) {
        for rule in self.rules("add") {
            assert!(ip(&rule), "{rule}");
        }
    }

    /// The end of [`Machine::close`].
    pub fn open(&self) {
        for rule in self.rules("del") {
            assert!(ip(&rule), "{rule}");
        }
    }

    fn rules(&self, what: &str) -> [String; 2] {
        let router = &self.router;
        let to = |version: &str, addr: String| {
            format!("-n {router} {version} rule {what} to {addr} ipproto tcp dport {PORT} blackhole")
        };
        [to("-4", self.v4()), to("-6", self.v6())]
    }

    /// Shares a file with that name.
    pub fn share(&self, name: &str) -> String {
        let path = self.user.home().join(name);
        write(&path, name);
        self.user.share(&path)
    }
}

fn write(path: &Path, name: &str) {
    std::fs::write(path, name.repeat(5_000)).unwrap();
}

/// IPv6 addresses can be used without a look, for a second or two, whether somebody else has them.
const AT_ONCE: (&str, u8) = ("ipv6/conf/default/accept_dad", 0);

fn set(namespace: &str, what: &[(&str, u8)]) {
    for (key, value) in what {
        let mut sysctl = Command::new("sh");
        sysctl.args(["-c", &format!("echo {value} > /proc/sys/net/{key}")]);
        assert!(there(namespace, &sysctl).status().unwrap().success(), "{key}");
    }
}
