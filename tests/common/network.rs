//! A small network of namespaces: a switch, and machines with a cable to it. Gone when it is dropped.

use std::fs;
#[cfg(target_os = "linux")]
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::bitween::command;
use super::namespace::{ip, prefix, there};
use super::process::Program;
use super::{START_LIMIT, installed, missing, wait_for};

/// The switch's own address, for who has entered it.
#[cfg(target_os = "linux")]
const SWITCH: [u8; 4] = [10, 9, 0, 254];

/// A port of a bridge in this state takes nothing and passes nothing on.
const DISABLED: u8 = 0;

/// A port of a bridge in this state does what it is there for.
const FORWARDING: u8 = 3;

pub struct Network {
    prefix: String,
    machines: AtomicU32,
}

impl Network {
    /// `None` if the test is to be skipped: no `ip`, or not allowed to.
    pub fn new() -> Option<Self> {
        let network = Self { prefix: prefix(), machines: AtomicU32::new(0) };
        let switch = network.namespace("s");
        let made = installed("ip")
            && ip(&format!("netns add {switch}"))
            && ip(&format!("-n {switch} link add br0 type bridge mcast_snooping 0"))
            && ip(&format!("-n {switch} link set br0 up"));
        if !made {
            missing("the right to make network namespaces (root, ip)");
            return None;
        }
        Some(network)
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A namespace with a cable to the switch and the next address of 10.9.0.0/24.
    pub fn host(&self) -> Host {
        let number = self.machines.fetch_add(1, Ordering::Relaxed) + 1;
        let (namespace, switch) = (self.namespace(&number.to_string()), self.namespace("s"));
        let address = format!("10.9.0.{number}");
        for step in [
            format!("netns add {namespace}"),
            format!("-n {namespace} link set lo up"),
            format!("-n {namespace} link add eth0 type veth peer name v{number} netns {switch}"),
            format!("-n {switch} link set v{number} master br0 up"),
            format!("-n {namespace} link set eth0 up"),
            format!("-n {namespace} addr add {address}/24 dev eth0"),
        ] {
            assert!(ip(&step), "ip {step}");
        }
        Host { namespace, address, port: format!("-n {switch} link set v{number}") }
    }

    /// Moves the thread that calls it to the switch, with all that it starts from now on. Its address there; its loopback
    /// interface is the switch's own.
    #[cfg(target_os = "linux")]
    pub fn enter(&self) -> IpAddr {
        use std::os::fd::AsFd as _;

        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

        let (switch, address) = (self.namespace("s"), IpAddr::from(SWITCH));
        for step in ["link set lo up".to_owned(), format!("addr add {address}/24 dev br0")] {
            assert!(ip(&format!("-n {switch} {step}")), "ip {step}");
        }
        let namespace = fs::File::open(Path::new("/run/netns").join(&switch)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        address
    }

    /// A machine with a daemon that is called `name@net`; it does not run yet.
    pub fn machine(&self, name: &str) -> Machine {
        let home = tempfile::Builder::new().prefix(&format!("bitween-{name}")).tempdir().unwrap();
        let config = format!(
            "download_dir = \"downloads\"\ndata_dir = \"data\"\nlocal = \"known\"\nlocal_name = \"{name}@net\"\n\
             [log]\nlevel = \"info,bitween::local=debug\"\n[api]\nport = 0\n"
        );
        fs::write(home.path().join("config.toml"), config).unwrap();
        Machine { host: self.host(), name: name.to_owned(), home, program: None, starts: 0 }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 1..=self.machines.load(Ordering::Relaxed) {
            ip(&format!("netns del {}", self.namespace(&number.to_string())));
        }
        ip(&format!("netns del {}", self.namespace("s")));
    }
}

/// A place in the network.
pub struct Host {
    pub namespace: String,
    pub address: String,
    /// The command that changes its port at the switch, without the change.
    port: String,
}

impl Host {
    /// From now on everything to it and from it is lost, and nobody is told: both interfaces stay up.
    pub fn unplug(&self) {
        self.set_port(DISABLED);
    }

    /// The end of [`Self::unplug`].
    pub fn plug_in(&self) {
        self.set_port(FORWARDING);
    }

    fn set_port(&self, state: u8) {
        assert!(ip(&format!("{} type bridge_slave state {state}", self.port)), "{}", self.port);
    }

    /// Takes its address away; what is left is what every IPv6 interface gives itself.
    pub fn without_address(&self) {
        assert!(ip(&format!("-n {} -4 addr flush dev eth0", self.namespace)));
    }

    /// This command, to be run there.
    pub fn there(&self, command: &Command) -> Command {
        there(&self.namespace, command)
    }
}

/// A machine with a daemon.
pub struct Machine {
    pub host: Host,
    name: String,
    home: tempfile::TempDir,
    program: Option<Program>,
    starts: usize,
}

impl Machine {
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn downloads(&self) -> PathBuf {
        self.home().join("downloads")
    }

    pub fn edit_config(&self, from: &str, to: &str) {
        let file = self.home().join("config.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        fs::write(file, text.replace(from, to)).unwrap();
    }

    fn bitween(&self, arguments: &[&str]) -> Command {
        let mut bitween = command(self.home());
        bitween.args(arguments).arg("--config").arg(self.home().join("config.toml"));
        self.host.there(&bitween)
    }

    /// Starts the daemon and waits until its interface can be reached.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "it runs already");
        self.starts += 1;
        let command = self.bitween(&["daemon"]);
        let mut program = Program::start(&format!("{}-{}", self.name, self.starts), command, self.home.path());
        program.wait_for_line("ready: API ", START_LIMIT);
        self.program = Some(program);
    }

    pub fn stop(&mut self) {
        let mut program = self.program.take().expect("it runs");
        let status = program.stop(START_LIMIT).expect("it stops in time");
        assert!(status.success(), "{}", program.log());
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.bitween(arguments).output().unwrap()
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {error}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])["daemon"].clone()
    }

    /// What it knows of `name@net`.
    pub fn neighbor(&self, name: &str) -> Option<Value> {
        let jid = format!("{name}@net.local");
        let contacts = self.json(&["contacts"]);
        contacts.as_array().unwrap().iter().find(|contact| contact["jid"] == jid.as_str()).cloned()
    }

    pub fn share(&self, path: &Path) -> String {
        self.json(&["share", path.to_str().unwrap()])[0]["hash"].as_str().unwrap().to_owned()
    }

    pub fn can_get(&self, hash: &str) -> bool {
        let shares = self.json(&["shares"]);
        shares.as_array().unwrap().iter().any(|share| share["hash"] == hash && share["available"] == true)
    }

    /// Waits until it has met as many neighbours.
    pub fn meets(&self, count: usize) {
        wait_for("it meets its neighbours", START_LIMIT, || {
            let contacts = self.json(&["contacts"]);
            (contacts.as_array().unwrap().iter().filter(|contact| !contact["address"].is_null()).count() >= count)
                .then_some(())
        });
    }
}
