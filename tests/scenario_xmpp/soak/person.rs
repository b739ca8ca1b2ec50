//! Somebody in a soak: a machine of their own, a cable, a line to the server, and what they share.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::size::Size;
use crate::common::line::Line;
use crate::common::network::Host;
use crate::common::server::{AnyServer, Server as _};
use crate::common::text;
use crate::common::user::User;
use crate::{daemon, file};

/// A command may meet a server that is just going, or a cable that lies on the floor.
const PATIENT: Duration = Duration::from_secs(60);

/// More than this nobody shares at a time, so that what a daemon needs can be compared.
const MAX_SHARES: usize = 16;

/// What has happened to somebody's connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    /// Closed in order, and shut for a while.
    pub closed: u32,
    /// Closed in the middle of what was being said.
    pub halfway: u32,
    /// Packets were lost for a while, and nothing else happened.
    pub silent: u32,
    /// Packets were lost, and meanwhile the connections were forgotten.
    pub forgotten: u32,
    /// The longest of the two kinds before, in seconds.
    pub longest: f32,
}

/// What is wrong with the line, and when that ends.
struct Trouble {
    until: Instant,
}

pub struct Person {
    pub user: User,
    pub jid: String,
    pub cuts: Cuts,
    /// Files that it has shared and taken back.
    pub changes: u32,
    line: Line,
    trouble: Option<Trouble>,
    next_trouble: Instant,
    files: usize,
    /// What it shares of its own, by info hash.
    shared: BTreeSet<String>,
    /// What it has ever shared of its own.
    ever: BTreeSet<String>,
}

impl Person {
    /// On a machine of its own, with a daemon that knows no other way to the server than a line to `gateway`.
    pub fn begin(server: &AnyServer, name: &str, host: Host, gateway: IpAddr) -> Self {
        let line = Line::between(gateway, server.server().parse().unwrap());
        let user = daemon(server, name).edited(&server.server(), &line.address.to_string()).on_host(host).started();
        user.wait_online();
        Self {
            user,
            jid: format!("{name}@localhost"),
            cuts: Cuts::default(),
            changes: 0,
            line,
            trouble: None,
            next_trouble: Instant::now() + Duration::from_secs(5),
            files: 0,
            shared: BTreeSet::new(),
            ever: BTreeSet::new(),
        }
    }

    /// The hashes in a list of shares.
    pub fn list(&self, arguments: &[&str]) -> BTreeSet<String> {
        hashes(&self.user.json(&[&["shares"], arguments].concat()))
    }

    /// What it has to announce: what it shares of its own, as far as we know, and what it fetches of others, as far as it
    /// knows what that is. (Something may have been taken back before its description came.)
    pub fn truth(&self) -> BTreeSet<String> {
        let status = self.user.json(&["status"]);
        let torrents = status["torrents"].as_array().unwrap().iter().filter(|torrent| torrent["state"] != "metadata");
        let torrents = torrents.map(|torrent| torrent["hash"].as_str().unwrap().to_owned());
        torrents.filter(|hash| !self.ever.contains(hash)).chain(self.shared.iter().cloned()).collect()
    }

    /// Shares a file, or takes something back.
    pub fn change(&mut self, random: &mut Rng) {
        let mut have: Vec<String> = hashes(&self.user.json(&["status"])["torrents"]).into_iter().collect();
        if have.len() < MAX_SHARES && (have.len() < 3 || random.u32(..5) < 3) {
            self.share();
        } else {
            let hash = have.swap_remove(random.usize(..have.len()));
            self.user.ok_within(PATIENT, &["unshare", &hash]);
            self.shared.remove(&hash);
        }
        self.changes += 1;
    }

    fn share(&mut self) {
        self.files += 1;
        let name = format!("{} {}", self.jid, self.files);
        let path = file(&self.user, &name, 1_000 + self.files * 17);
        let outcome = self.user.run_within(PATIENT, &["share", text(&path)]);
        let hash = outcome.out.trim().to_owned();
        assert_eq!(hash.len(), 40, "{outcome:?}");
        self.ever.insert(hash.clone());
        self.shared.insert(hash);
    }

    /// Fetches something that others have, if it has room. It may be gone by now.
    pub fn fetch(&mut self, random: &mut Rng) {
        let have = hashes(&self.user.json(&["status"])["torrents"]);
        let seen: Vec<String> = self.list(&[]).into_iter().filter(|hash| !self.ever.contains(hash)).collect();
        if have.len() < MAX_SHARES
            && let Some(hash) = random.choice(&seen)
        {
            self.user.run_within(PATIENT, &["get", hash]);
        }
    }

    /// Cuts its line now and then, and mends it. Packets are lost for `longest` at most.
    pub fn trouble(&mut self, random: &mut Rng, longest: Duration) {
        let now = Instant::now();
        if self.trouble.as_ref().is_some_and(|trouble| trouble.until <= now) {
            self.mend();
            self.next_trouble = now + Duration::from_millis(random.u64(4_000..30_000));
        }
        if self.trouble.is_some() || now < self.next_trouble {
            return;
        }
        let mut span = Duration::from_millis(random.u64(500..6_000));
        match random.u32(..4) {
            0 => {
                self.cuts.closed += 1;
                self.line.cut();
            }
            1 => {
                self.cuts.halfway += 1;
                self.line.cut_after(random.u64(1..4_000));
            }
            kind => {
                let forgotten = kind == 2;
                *if forgotten { &mut self.cuts.forgotten } else { &mut self.cuts.silent } += 1;
                if random.u32(..4) == 0 {
                    span = longest.mul_f64(random.f64().max(0.5));
                }
                self.cuts.longest = self.cuts.longest.max(span.as_secs_f32());
                self.user.host().unwrap().unplug();
                if forgotten {
                    self.line.forget();
                }
            }
        }
        self.trouble = Some(Trouble { until: now + span });
    }

    /// The end of all trouble.
    pub fn mend(&mut self) {
        self.trouble = None;
        self.line.mend();
        self.user.host().unwrap().plug_in();
    }

    /// How large its daemon is.
    pub fn size(&mut self) -> Size {
        let ours = [self.user.home().join("shared"), self.user.downloads()];
        Size::of(self.user.program().id(), &ours)
    }
}

fn hashes(list: &serde_json::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|share| share["hash"].as_str().unwrap().to_owned()).collect()
}
