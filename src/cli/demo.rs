//! `bitween demo`: two nodes on this machine find each other, and one shares a folder with the other.
//!
//! Everything is as between two machines of one network: streams without a server, certificates, acceptance on both sides,
//! BitTorrent. Only that they do not look for each other by mDNS but know where the other listens, so that this works
//! with nothing but a loopback interface, and nobody else in the network is concerned. What is done is done through the
//! same interface that the other commands use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Client, ConnectArgs};
use super::error::CliError;
use super::get;
use super::interrupt::Interrupt;
use super::output::{line, size};
use crate::bus::{Clock, SystemClock};
use crate::component::rpc::types::{
    Added, Contact, Contacts, DaemonStatus, ShareJob, ShareList, ShareProgress, ShareStage, TorrentStatuses,
};
use crate::config::{Config, HostPort, Overrides};
use crate::daemon::Daemon;

/// The shared folder, and the files in it with their lengths in bytes.
const FOLDER: &str = "Holiday";
const FILES: [(&str, usize); 3] =
    [("sea.jpg", 7_000_001), ("mountains/summit.jpg", 12_500_000), ("mountains/notes.txt", 4_321)];

/// Nothing in here takes longer, but for the transfer.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// See it work: two nodes on this machine share a folder, without account and server
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  bitween demo")]
pub struct Args {
    /// Leave the folders of both nodes behind
    #[arg(long)]
    keep: bool,
}

/// Runs the demonstration and cleans up.
///
/// # Errors
/// Something did not work, or was interrupted.
pub fn run(args: &Args) -> Result<(), CliError> {
    let place = Place::make(args.keep)?;
    let interrupt = Interrupt::listen()?;
    line("Two bitweens on this machine, alice and bob; no account, no server.\n")?;
    let alice = Node::start("alice", &place.0, None)?;
    let bob = Node::start("bob", &place.0, Some(alice.listens_at()))?;
    let demo = Demo { alice, bob, interrupt, place: place.0.clone() };
    demo.meet()?;
    let hash = demo.share()?;
    demo.look(&hash)?;
    demo.fetch(&hash)?;
    demo.compare()?;
    let Demo { alice, bob, .. } = demo;
    bob.daemon.stop();
    alice.daemon.stop();
    if args.keep {
        return line(&format!("\nDone. Everything is left in {}", place.0.display()));
    }
    line("\nDone; both are stopped and their folders removed. `bitween daemon` starts one to stay.")
}

struct Demo {
    alice: Node,
    bob: Node,
    interrupt: Interrupt,
    place: PathBuf,
}

/// A folder for everything, that goes with this.
struct Place(PathBuf, bool);

impl Place {
    fn make(keep: bool) -> Result<Self, CliError> {
        let name = format!("bitween-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)
            .map_err(|error| CliError::failed(format_args!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path, keep))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.1 {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A whole daemon in this process, and how to call it.
struct Node {
    daemon: Daemon,
    client: Client,
    status: DaemonStatus,
}

impl Node {
    fn start(name: &str, place: &Path, neighbor: Option<HostPort>) -> Result<Self, CliError> {
        let home = place.join(name);
        fs::create_dir(&home).map_err(CliError::failed)?;
        // Addresses of this machine only: nobody else is to be concerned.
        let text = "[xmpp]\nallow_loopback_peers = true\n[bittorrent]\nbind = ['127.0.0.1']\n";
        let overrides = Overrides { data_dir: Some(home.join("data")), port: Some(0), ..Overrides::default() };
        let mut config = Config::from_text(text, None, &overrides)?;
        config.download_dir = home.join("downloads");
        config.local.name = Some(name.to_owned());
        config.local.neighbors = neighbor.into_iter().collect();
        config.local.loopback_only = true;
        let daemon = Daemon::start(config).map_err(CliError::failed)?;
        let client = Client::find(&ConnectArgs { api: Some(daemon.api_url()), ..ConnectArgs::default() })?;
        let status: DaemonStatus = client.call("Api.status", json!({}))?;
        let local = status.local.clone().unwrap_or_default();
        line(&format!(
            "{:<6} is {}: neighbours call port {}, peers port {}",
            name,
            local.name,
            local.port,
            daemon.port()
        ))?;
        line(&format!("       shows the certificate {}", local.fingerprint))?;
        Ok(Self { daemon, client, status })
    }

    fn listens_at(&self) -> HostPort {
        let port = self.status.local.as_ref().map_or(0, |local| local.port);
        HostPort { host: "127.0.0.1".to_owned(), port }
    }

    fn name(&self) -> String {
        self.status.local.as_ref().map(|local| local.name.clone()).unwrap_or_default()
    }

    fn contact(&self) -> Result<Option<Contact>, CliError> {
        let contacts: Contacts = self.client.call("xmpp.contacts", json!({}))?;
        Ok(contacts.contacts.into_iter().next())
    }
}

impl Demo {
    /// They call, prove who they are, and accept each other.
    fn meet(&self) -> Result<(), CliError> {
        let met = |node: &Node| Ok(node.contact()?.filter(|contact| contact.address.is_some()));
        let at_bob = self.until("they meet", || met(&self.bob))?;
        let at_alice = self.until("they meet", || met(&self.alice))?;
        let address = at_bob.address.as_deref().unwrap_or_default();
        line(&format!("\n1. bob calls {address}: an XML stream from machine to machine (XEP-0174), then TLS 1.3."))?;
        line("   Each sees the other's certificate, and nothing else is told before both users say yes:")?;
        for (node, other, who) in [(&self.alice, &at_alice, "alice"), (&self.bob, &at_bob, "bob  ")] {
            line(&format!("   {who}$ bitween contacts accept {}", other.jid))?;
            node.client.call::<Value>("xmpp.accept_contact", json!({"jid": other.jid}))?;
            line(&format!("          remembers {}", other.fingerprint.as_deref().unwrap_or_default()))?;
        }
        let friends = |node: &Node| Ok(node.contact()?.filter(|contact| contact.online));
        self.until("they accept each other", || friends(&self.alice))?;
        self.until("they accept each other", || friends(&self.bob)).map(drop)
    }

    /// Alice shares a folder.
    fn share(&self) -> Result<String, CliError> {
        let folder = self.place.join("alice").join(FOLDER);
        let total: usize = FILES.iter().map(|(_, len)| len).sum();
        for (name, len) in FILES {
            let path = folder.join(name);
            let write = |path: &Path| {
                fs::create_dir_all(path.parent().unwrap_or(path))?;
                let mut bytes = vec![0; len];
                fastrand::fill(&mut bytes);
                fs::write(path, bytes)
            };
            write(&path).map_err(|error| CliError::failed(format_args!("cannot write {}: {error}", path.display())))?;
        }
        let total = size(u64::try_from(total).unwrap_or(u64::MAX));
        line(&format!("\n2. alice$ bitween share {FOLDER}          ({} files, {total})", FILES.len()))?;
        let params = json!({"path": folder.display().to_string()});
        let ShareJob { job } = self.alice.client.call("bt.share", params)?;
        let done = || {
            let progress: ShareProgress = self.alice.client.call("bt.share_progress", json!({"job": job}))?;
            match progress.error {
                Some(error) => Err(CliError::failed(error)),
                None => Ok(Some(progress).filter(|progress| progress.stage == ShareStage::Done)),
            }
        };
        let hash = self.until("it is hashed", done)?.hash.unwrap_or_default();
        line(&format!("   hashed; it is {hash}"))?;
        line("   What goes over the stream is its name, size and hash, and where alice's peers port is.")?;
        Ok(hash)
    }

    /// Bob lists and searches.
    fn look(&self, hash: &str) -> Result<(), CliError> {
        let find = |method: &str, params: Value| {
            let found: ShareList = self.bob.client.call(method, params)?;
            Ok(found.shares.into_iter().find(|share| share.hash == hash && share.available))
        };
        line("\n3. bob  $ bitween shares")?;
        let listed = self.until("bob hears of it", || find("xmpp.list_shares", json!({})))?;
        line(&format!("   {}  {}  {} from {}", &listed.hash, size(listed.size), listed.name, self.alice.name()))?;
        let word = FOLDER.to_lowercase();
        line(&format!("   bob  $ bitween search {word}"))?;
        self.until("bob finds it", || find("xmpp.search", json!({"term": word})))?;
        line("   finds it, whatever the case")
    }

    /// Bob fetches it.
    fn fetch(&self, hash: &str) -> Result<(), CliError> {
        line("\n4. bob  $ bitween get --wait")?;
        let port = self.alice.daemon.port();
        line(&format!(
            "   BitTorrent with 127.0.0.1:{port}: first the description, then pieces, each hashed as it comes"
        ))?;
        let begun = SystemClock.now();
        let added: Added = self.bob.client.call("bt.add_torrent", json!({"hash": hash}))?;
        get::wait(&self.bob.client, &added.hash, &self.interrupt)?;
        let statuses: TorrentStatuses = self.bob.client.call("bt.status", json!({"hash": hash}))?;
        let received = statuses.torrents.first().map_or(0, |status| status.downloaded);
        let time = SystemClock.now().saturating_duration_since(begun).as_secs_f64();
        line(&format!("   {} in {time:.1} s", size(received)))
    }

    /// What arrived is what was shared.
    fn compare(&self) -> Result<(), CliError> {
        line("\n5. SHA-256 of every file, here and there:")?;
        for (name, _) in FILES {
            let hash = |home: &str| {
                let path = self.place.join(home).join(FOLDER).join(name);
                let bytes = fs::read(&path)
                    .map_err(|error| CliError::failed(format_args!("cannot read {}: {error}", path.display())))?;
                Ok::<_, CliError>(Sha256::digest(bytes))
            };
            if hash("alice")? != hash("bob/downloads")? {
                return Err(CliError::failed(format_args!("{name} differs")));
            }
            line(&format!("   equal  {name}"))?;
        }
        Ok(())
    }

    /// Asks again and again until there is an answer.
    fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Result<Option<T>, CliError>) -> Result<T, CliError> {
        let end: Instant = SystemClock.now() + PATIENCE;
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if SystemClock.now() >= end {
                return Err(CliError::failed(format_args!("waited {} s in vain until {what}", PATIENCE.as_secs())));
            }
            if !self.interrupt.sleep(POLL) {
                return Err(CliError::failed("interrupted"));
            }
        }
    }
}
