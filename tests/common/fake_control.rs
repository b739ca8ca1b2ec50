//! A daemon without a daemon: answers from a small fixed world and notes what it was asked to do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bitween::component::rpc;
use bitween::component::rpc::types::*;
use bitween::component::rpc::{
    AddTorrent, ContactChange, Control, ControlError, ErrorCode, HashScope, List, Members, NewAccount, NewContact,
    Paged,
};
use bitween::share::Page;
use bitween::types::InfoHash;

/// The first own torrent.
pub const FILM: &str = "aaaa000000000000000000000000000000000001";
/// The second own torrent; shares its first digits with the first.
pub const SONG: &str = "aaaa110000000000000000000000000000000002";
/// What a contact shares.
pub const BOOK: &str = "bbbb000000000000000000000000000000000003";

/// A contact with many shares.
pub const HOARDER: &str = "hoarder@localhost";
/// How many.
pub const HOARD: usize = 3000;
/// Rows of what many@localhost shares: more than one answer may hold.
pub const LISTED: usize = 10_001;

/// See the file's header.
#[derive(Default)]
pub struct FakeControl {
    log: Mutex<Vec<String>>,
}

impl FakeControl {
    /// Everything that was done so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
    }
}

type Result<T> = std::result::Result<T, ControlError>;

fn status(hash: &str, name: &str) -> TorrentStatus {
    TorrentStatus {
        hash: hash.into(),
        name: name.into(),
        state: TorrentState::Seeding,
        total_size: 1000,
        done: 1000,
        complete: true,
        ..TorrentStatus::default()
    }
}

fn paged(rows: Vec<ShareEntry>, page: Page) -> Paged<ShareEntry> {
    let total = rows.len();
    let rows: Vec<_> = rows.into_iter().skip(page.offset).take(page.limit).collect();
    Paged { rows: rows.into(), total, more: false }
}

fn book() -> ShareEntry {
    let owner = ShareOwner { jid: "bob@localhost".into(), resource: "box".into(), online: true, why: None };
    ShareEntry {
        hash: BOOK.into(),
        name: "Book \u{1b}[31m\u{202e}evil".into(),
        size: 2_500_000,
        available: true,
        owners: vec![owner],
        ..ShareEntry::default()
    }
}

fn volumes(count: usize) -> Vec<ShareEntry> {
    (0..count).map(|number| ShareEntry { name: format!("Volume {number}"), ..ShareEntry::default() }).collect()
}

impl rpc::Access for FakeControl {}

impl rpc::Settings for FakeControl {}

impl rpc::Details for FakeControl {
    fn recheck(&self, hash: InfoHash) -> Result<()> {
        self.note(format!("recheck {hash}"));
        Ok(())
    }

    fn metrics(&self, out: &mut String) -> Result<()> {
        out.push_str("bitween_peers 3\n");
        Ok(())
    }
}

impl Control for FakeControl {
    fn hashes(&self, scope: HashScope, range: &RangeInclusive<InfoHash>, most: usize) -> Vec<InfoHash> {
        let mut all = vec![FILM, SONG];
        if scope == HashScope::All || self.log().iter().any(|done| done.starts_with("AddTorrent")) {
            all.push(BOOK);
        }
        let all = all.iter().map(|hash| hash.parse().unwrap());
        all.filter(|hash| range.contains(hash)).take(most).collect()
    }
    fn versions(&self) -> BTreeMap<String, String> {
        [("bitween".to_owned(), "0".to_owned())].into()
    }
    fn status(&self) -> Result<DaemonStatus> {
        Ok(DaemonStatus { version: "0".into(), torrents: 2, ..DaemonStatus::default() })
    }
    fn exit(&self) -> Result<()> {
        self.note("exit");
        Ok(())
    }
    fn torrents(&self) -> Result<List<Torrent>> {
        let files = vec![TorrentFile { path: "Film/a.mkv".into(), size: 1000 }];
        let film = Torrent { hash: FILM.into(), name: "Film".into(), total_size: 1000, done: 1000, files };
        Ok(vec![film].into())
    }
    fn torrent_statuses(&self) -> Result<List<TorrentStatus>> {
        Ok(vec![status(FILM, "Film"), status(SONG, "Song")].into())
    }
    fn memory(&self) -> Result<Memory> {
        Ok(Memory { limit: 100, used: 7, ..Memory::default() })
    }
    fn torrent_status(&self, hash: InfoHash) -> Result<TorrentStatus> {
        Ok(status(&hash.to_string(), "Film"))
    }
    fn peers(&self, _hash: InfoHash) -> Result<Peers> {
        Ok(Peers { peers: vec![Peer { address: "192.0.2.1:7".into(), ..Peer::default() }] })
    }
    fn share(&self, path: &Path) -> Result<ShareJob> {
        self.note(format!("share {}", path.display()));
        match path.to_str() {
            Some("/missing") => Err(ControlError::new(ErrorCode::BadPath, "/missing does not exist")),
            Some("/panic") => panic!("asked to"),
            Some("/slow") => {
                std::thread::sleep(Duration::from_millis(1500));
                Ok(ShareJob { job: 9 })
            }
            _ => Ok(ShareJob { job: 7 }),
        }
    }
    fn share_progress(&self, job: u64) -> Result<ShareProgress> {
        if job != 7 {
            return Err(ControlError::new(ErrorCode::UnknownJob, format!("there is no job {job}")));
        }
        let hash = Some(FILM.to_owned());
        Ok(ShareProgress {
            job,
            stage: ShareStage::Done,
            done: 5,
            total: 5,
            hash,
            announced: true,
            ..ShareProgress::default()
        })
    }
    fn add_torrent(&self, torrent: AddTorrent) -> Result<Added> {
        self.note(format!("{torrent:?}"));
        Ok(Added { hash: BOOK.into(), name: Some("Book".into()), ..Added::default() })
    }
    fn add_peer(&self, hash: InfoHash, address: SocketAddr) -> Result<()> {
        self.note(format!("peer {hash} {address}"));
        Ok(())
    }
    fn pause(&self, hash: InfoHash) -> Result<()> {
        self.note(format!("pause {hash}"));
        Ok(())
    }
    fn resume(&self, hash: InfoHash) -> Result<()> {
        self.note(format!("resume {hash}"));
        Ok(())
    }
    fn remove(&self, hash: InfoHash, with_data: bool) -> Result<()> {
        self.note(format!("remove {hash} {with_data}"));
        Ok(())
    }
    fn contact_hashes(&self) -> Result<Members<Vec<(IpAddr, u16)>>> {
        Ok(vec![(BOOK.to_owned(), vec![("192.0.2.1".parse().unwrap(), 7)])].into())
    }
    fn contact_shares(&self) -> Result<Members<BTreeMap<String, ResourceShares>>> {
        let carol = [("r".to_owned(), ResourceShares { online: true, ..ResourceShares::default() })];
        Ok(["carol@localhost", "dave@localhost"].map(|jid| (jid.to_owned(), carol.clone().into())).to_vec().into())
    }
    fn list_shares(&self, contact: Option<&str>, page: Page) -> Result<Paged<ShareEntry>> {
        self.note(format!("list {contact:?}"));
        let rows = match contact {
            Some(HOARDER) => volumes(HOARD),
            Some("many@localhost") => volumes(LISTED),
            _ => vec![book()],
        };
        Ok(paged(rows, page))
    }
    fn search(&self, term: &str, page: Page) -> Result<Paged<ShareEntry>> {
        self.note(format!("search {term} from {} at most {}", page.offset, page.limit));
        Ok(paged(if term == "book" { vec![book()] } else { Vec::new() }, page))
    }
    fn contacts(&self) -> Result<Contacts> {
        let bob =
            Contact { jid: "bob@localhost".into(), subscription: "both".into(), online: true, ..Contact::default() };
        Ok(Contacts { contacts: vec![bob] })
    }
    fn add_contact(&self, new: NewContact, _account: Option<&str>) -> Result<()> {
        self.note(format!("add {} {:?}", new.jid, new.name));
        Ok(())
    }
    fn accept_contact(&self, jid: &str, _account: Option<&str>) -> Result<()> {
        self.note(format!("accept {jid}"));
        Ok(())
    }
    fn change_contact(&self, jid: &str, change: ContactChange, _account: Option<&str>) -> Result<()> {
        match change {
            ContactChange::Remove => {
                Err(ControlError::new(ErrorCode::UnknownContact, format!("{jid} is not a contact")))
            }
            change => {
                self.note(format!("{jid}: {change:?}"));
                Ok(())
            }
        }
    }
    fn account(&self) -> Result<Account> {
        Ok(Account { jid: Some("alice@localhost".into()), has_password: true, ..Account::default() })
    }
    fn set_account(&self, account: NewAccount) -> Result<Account> {
        self.note(format!("account {} {}", account.jid, account.password.len()));
        Ok(Account { jid: Some(account.jid), state: AccountState::Online, ..Account::default() })
    }
    fn accounts(&self) -> Result<Accounts> {
        Ok(Accounts { accounts: vec![self.account()?] })
    }
    fn add_account(&self, account: NewAccount) -> Result<Account> {
        self.set_account(account)
    }
    fn remove_account(&self, _jid: Option<&str>) -> Result<bool> {
        Ok(false)
    }
}
