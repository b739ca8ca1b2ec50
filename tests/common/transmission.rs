//! Transmission's daemon, steered through its RPC interface.
//!
//! It does not connect to loopback addresses and cannot be given peers by hand, so the other side connects to it, and it
//! keeps one connection per IP address. Files without bytes it does not create (3.00). It
//! looks after its peers every ten seconds, so a transfer takes that long before it begins.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Program;
use super::{START_LIMIT, free_port, installed, loopback, text, wait_for};

/// A running `transmission-daemon` without DHT, PEX, local discovery and uTP.
pub struct Transmission {
    program: Program,
    _folder: TempDir,
    peer_port: u16,
    rpc_port: u16,
}

impl Transmission {
    /// Starts it; `None` (and a line that says so) if it is not installed.
    pub fn start() -> Option<Self> {
        if !installed("transmission-daemon") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("bitween-transmission").tempdir().unwrap();
        let (peer_port, rpc_port) = (free_port(), free_port());
        let settings = json!({
            "bind-address-ipv4": "127.0.0.1",
            "bind-address-ipv6": "::1",
            "dht-enabled": false,
            "download-dir": text(folder.path()),
            "encryption": 0,
            "lpd-enabled": false,
            "message-level": 2,
            "peer-port": peer_port,
            "pex-enabled": false,
            "port-forwarding-enabled": false,
            "rpc-authentication-required": false,
            "rpc-bind-address": "127.0.0.1",
            "rpc-host-whitelist-enabled": false,
            "rpc-port": rpc_port,
            "rpc-whitelist-enabled": false,
            "utp-enabled": false,
        });
        fs::write(folder.path().join("settings.json"), settings.to_string()).unwrap();
        let mut command = Command::new("transmission-daemon");
        command.arg("--foreground").arg("--config-dir").arg(folder.path()).env("HOME", folder.path());
        let program = Program::start("transmission", command, folder.path());
        let daemon = Self { program, _folder: folder, peer_port, rpc_port };
        wait_for("transmission's RPC interface", START_LIMIT, || daemon.try_call("session-get", &json!({})));
        Some(daemon)
    }

    /// Where it takes connections from peers.
    pub fn address(&self) -> SocketAddr {
        loopback(self.peer_port)
    }

    /// Adds a torrent file or magnet link whose data lies in `dir`, or is to lie there.
    pub fn add(&self, source: &str, dir: &Path) {
        let answer = self.call("torrent-add", &json!({ "filename": source, "download-dir": text(dir) }));
        assert!(answer.get("torrent-added").is_some(), "{answer}");
    }

    /// Adds a torrent and waits until the data in `dir` is verified and it seeds.
    pub fn seed(&self, torrent: &Path, dir: &Path) {
        self.add(text(torrent), dir);
        wait_for("transmission to seed", START_LIMIT, || {
            let torrent = self.torrent();
            assert_eq!(torrent["errorString"], "", "{torrent}");
            (torrent["percentDone"] == 1.0 && torrent["status"] == 6).then_some(())
        });
    }

    /// Whether it says that it has everything.
    pub fn is_complete(&self) -> bool {
        let torrent = self.torrent();
        assert_eq!(torrent["errorString"], "", "{torrent}");
        torrent["metadataPercentComplete"] == 1.0 && torrent["percentDone"] == 1.0 && torrent["leftUntilDone"] == 0
    }

    /// Bytes it got that failed their hash.
    pub fn corrupt_bytes(&self) -> u64 {
        self.torrent()["corruptEver"].as_u64().unwrap()
    }

    /// Its only torrent.
    pub fn torrent(&self) -> Value {
        let fields = [
            "name",
            "status",
            "percentDone",
            "leftUntilDone",
            "metadataPercentComplete",
            "error",
            "errorString",
            "peersConnected",
            "corruptEver",
        ];
        let mut answer = self.call("torrent-get", &json!({ "fields": fields }));
        answer["torrents"][0].take()
    }

    fn call(&self, method: &str, arguments: &Value) -> Value {
        self.try_call(method, arguments).unwrap_or_else(|| panic!("transmission does not answer {method}"))
    }

    fn try_call(&self, method: &str, arguments: &Value) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/transmission/rpc", self.rpc_port);
        let body = json!({ "method": method, "arguments": arguments }).to_string();
        let mut session = String::new();
        // The first request fails and tells the token that guards against other web pages.
        for _ in 0..2 {
            let request = ureq::post(&url).header("X-Transmission-Session-Id", &session);
            let mut answer = request.config().http_status_as_error(false).build().send(&body).ok()?;
            if answer.status() == 409 {
                session = answer.headers().get("X-Transmission-Session-Id")?.to_str().ok()?.to_owned();
                continue;
            }
            let mut value: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
            assert_eq!(value["result"], "success", "{method}");
            return Some(value["arguments"].take());
        }
        None
    }

    /// Its process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}
