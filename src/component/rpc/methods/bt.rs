//! `bt.*`: own torrents, their peers, and what is shared.

use std::path::Path;

use super::super::control::{AddTorrent, ControlError, ErrorCode, Interface, TorrentSource};
use super::super::types::TorrentStatuses;
use super::{Args, Kind, Method, Outcome, Param, Scope, done, list, optional, param, value};

const OWN_HASH: Param = param("hash", Kind::OwnHash, "Info hash of an own torrent, or enough of its first digits.");
const SAVE_PATH: Param =
    optional("save_path", Kind::Path, "Folder that gets the torrent's top-level name; without it the download folder.");

/// By name.
pub(super) static TABLE: &[Method] = &[
    Method {
        name: "bt.add_path",
        doc: "Shares a file or folder. Answers as soon as the path was found readable; bt.share also tells the progress.",
        params: &[param("path", Kind::Path, "File or folder on the daemon's machine.")],
        result: "true",
        scope: Scope::Add,
        run: |control, args| done(control.share(args.path("path")?).map(drop)),
    },
    Method {
        name: "bt.add_peer",
        doc: "Tries one more peer for a torrent.",
        params: &[OWN_HASH, param("address", Kind::Address, "\"ip:port\", IPv6 in brackets.")],
        result: "true",
        scope: Scope::Add,
        run: |control, args| done(control.add_peer(args.hash("hash")?, args.address("address")?)),
    },
    Method {
        name: "bt.add_torrent",
        doc: "Fetches a torrent: exactly one of `torrent`, `magnet` and `hash` says which. One that is there already gets the peers and trackers in addition.",
        params: &[
            optional("torrent", Kind::Base64, "Content of a torrent file, in base64."),
            optional("magnet", Kind::Text, "Magnet link."),
            optional("hash", Kind::AnyHash, "Info hash, or enough of its first digits; contacts are the peers."),
            SAVE_PATH,
            optional("paused", Kind::Flag, "Add it without starting."),
            optional("peers", Kind::Addresses, "Peers to try, each \"ip:port\"."),
        ],
        result: "{hash, name, existing}",
        scope: Scope::Add,
        run: add_torrent,
    },
    Method {
        name: "bt.add_torrent_by_hash",
        doc: "Fetches what a contact shares, by its hash.",
        params: &[param("hash", Kind::AnyHash, "Info hash, or enough of its first digits."), SAVE_PATH],
        result: "true",
        scope: Scope::Add,
        run: |control, args| {
            let source = TorrentSource::Hash(args.hash("hash")?);
            let save_path = args.optional_path("save_path").map(Path::to_owned);
            done(control.add_torrent(AddTorrent { source, save_path, paused: false, peers: Vec::new() }).map(drop))
        },
    },
    Method {
        name: "bt.del_torrent",
        doc: "Forgets a torrent and withdraws the share. Its files stay.",
        params: &[OWN_HASH],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| done(control.remove(args.hash("hash")?, false)),
    },
    Method {
        name: "bt.get_torrents",
        doc: "All own torrents with their files.",
        params: &[],
        result: "{torrents: [{hash, name, total_size, done, files: [{path, size}]}]}",
        scope: Scope::View,
        run: |control, _| list("torrents", control.torrents()),
    },
    Method {
        name: "bt.pause",
        doc: "Stops a torrent until bt.resume, over restarts too.",
        params: &[OWN_HASH],
        result: "true",
        scope: Scope::Add,
        run: |control, args| done(control.pause(args.hash("hash")?)),
    },
    Method {
        name: "bt.peers",
        doc: "The connected peers of a torrent.",
        params: &[OWN_HASH],
        result: "{peers: [{address, client, contact, incoming, progress, download_rate, upload_rate, downloaded, uploaded, choking_us, choked}]}",
        scope: Scope::View,
        run: |control, args| value(control.peers(args.hash("hash")?)),
    },
    Method {
        name: "bt.recheck",
        doc: "Reads all of a torrent again and compares it with its checksums; what is wrong or missing is fetched again.",
        params: &[OWN_HASH],
        result: "true, when the checking has begun",
        scope: Scope::Add,
        run: |control, args| done(control.recheck(args.hash("hash")?)),
    },
    Method {
        name: "bt.remove",
        doc: "Forgets a torrent, withdraws the share and, if told so, deletes its files.",
        params: &[OWN_HASH, optional("with_data", Kind::Flag, "Delete the files too.")],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| done(control.remove(args.hash("hash")?, args.flag("with_data"))),
    },
    Method {
        name: "bt.resume",
        doc: "Lets a paused torrent go on, and tries again what stopped with an error.",
        params: &[OWN_HASH],
        result: "true",
        scope: Scope::Add,
        run: |control, args| done(control.resume(args.hash("hash")?)),
    },
    Method {
        name: "bt.share",
        doc: "Shares a file or folder: makes a torrent of it, serves it and tells the contacts. Answers at once.",
        params: &[param("path", Kind::Path, "File or folder on the daemon's machine.")],
        result: "{job}",
        scope: Scope::Add,
        run: |control, args| value(control.share(args.path("path")?)),
    },
    Method {
        name: "bt.share_progress",
        doc: "How far bt.share has come.",
        params: &[param("job", Kind::Number, "What bt.share answered.")],
        result: "{job, path, stage: hashing | announcing | done | failed, done, total, hash, announced, error, skipped: {count, first: [{path, reason}]}}",
        scope: Scope::View,
        run: |control, args| value(control.share_progress(args.number("job")?)),
    },
    Method {
        name: "bt.status",
        doc: "What the torrents are doing: state, progress, rates, peers.",
        params: &[Param { required: false, ..OWN_HASH }],
        result: "{torrents: [{hash, name, state, error, total_size, done, complete, shared, save_path, download_rate, upload_rate, downloaded, uploaded, peers, seeds, eta, why: {code, text}}]}",
        scope: Scope::View,
        run: |control, args| match args.optional_hash("hash") {
            Some(hash) => value(control.torrent_status(hash).map(|status| TorrentStatuses { torrents: vec![status] })),
            None => list("torrents", control.torrent_statuses()),
        },
    },
];

fn add_torrent(control: &dyn Interface, args: &Args<'_>) -> Outcome {
    let file = args.bytes("torrent").map(|bytes| TorrentSource::File(bytes.to_owned()));
    let magnet = args.optional_text("magnet").map(|text| TorrentSource::Magnet(text.to_owned()));
    let hash = args.optional_hash("hash").map(TorrentSource::Hash);
    let mut sources = file.into_iter().chain(magnet).chain(hash);
    let (Some(source), None) = (sources.next(), sources.next()) else {
        let text = "give exactly one of `torrent`, `magnet` and `hash`";
        return Err(ControlError::new(ErrorCode::BadArgument, text));
    };
    value(control.add_torrent(AddTorrent {
        source,
        save_path: args.optional_path("save_path").map(Path::to_owned),
        paused: args.flag("paused"),
        peers: args.addresses("peers").to_owned(),
    }))
}
