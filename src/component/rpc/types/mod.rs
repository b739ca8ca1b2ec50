//! What the methods answer, as it stands in JSON. The server writes these types and the command line reads them.
//!
//! The first five follow the original program's shapes; keys may be added, never changed. Sizes are bytes, rates bytes
//! per second, times seconds. Every field that is not in an older daemon's answer has a default, so clients and daemons
//! of different versions understand each other. Names come from other people: clean them before showing them.

mod access;
mod daemon;
mod detail;
mod people;
mod settings;
mod share;
mod torrent;

pub use access::{LoginLink, NewToken, Session, Sessions, Token, Tokens, WhoAmI};
pub use daemon::{DaemonStatus, Memory, MemoryClass};
pub use detail::{
    Changes, Day, Details, Exchanged, Fetched, FetchedBy, FileProgress, Files, Limits, Pieces, Rates, Statistics,
    TorrentEvent, TorrentEvents, Tracker, Trackers,
};
pub use people::{Account, AccountState, Accounts, Contact, Contacts, Local};
pub use settings::{
    AccountTrial, Check, Diagnosis, Folder, FolderEntry, FolderListing, Folders, LogLine, LogLines, Reloaded, Setting,
    Settings, TrialStep,
};
pub use share::{
    Hashes, OwnCopy, ResourceShares, Share, ShareEntry, ShareJob, ShareList, ShareOwner, ShareProgress, ShareStage,
    Shares, Skipped, SkippedPath, Why,
};
pub use torrent::{Added, Peer, Peers, Torrent, TorrentFile, TorrentState, TorrentStatus, TorrentStatuses, Torrents};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_originals_shapes_are_kept() {
        let torrents = Torrents {
            torrents: vec![Torrent {
                hash: "a1".into(),
                name: "n".into(),
                total_size: 3,
                done: 1,
                files: vec![TorrentFile { path: "n/f".into(), size: 3 }],
            }],
        };
        assert_eq!(
            serde_json::to_value(torrents).unwrap(),
            json!({"torrents": [{"hash": "a1", "name": "n", "total_size": 3, "done": 1, "files": [{"path": "n/f", "size": 3}]}]})
        );
        let address = ("192.0.2.1".parse().unwrap(), 7);
        let hashes = Hashes { hashes: [("a1".to_owned(), vec![address])].into() };
        assert_eq!(serde_json::to_value(hashes).unwrap(), json!({"hashes": {"a1": [["192.0.2.1", 7]]}}));
        let share = Share { hash: "a1".into(), name: "n".into(), size: 3, files: vec![] };
        let resource = ResourceShares {
            ip_v4: vec![address],
            shares: [("a1".to_owned(), share)].into(),
            ..ResourceShares::default()
        };
        let shares = Shares { shares: [("a@b".to_owned(), [("r".to_owned(), resource)].into())].into() };
        assert_eq!(
            serde_json::to_value(shares).unwrap(),
            json!({"shares": {"a@b": {"r": {"ip_v4": [["192.0.2.1", 7]], "ip_v6": [], "online": false,
                "shares": {"a1": {"hash": "a1", "name": "n", "size": 3, "files": []}}}}}})
        );
    }

    #[test]
    fn a_client_reads_states_and_keys_of_a_newer_daemon() {
        let status: TorrentStatus =
            serde_json::from_value(json!({"hash": "a", "state": "dreaming", "mood": 5})).unwrap();
        assert_eq!((status.hash.as_str(), status.state), ("a", TorrentState::Unknown));
    }
}
