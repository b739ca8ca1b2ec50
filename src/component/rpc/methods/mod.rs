//! The one table of all methods: dispatch, `rpc.discover` and `/api/browse` are made from it.
//!
//! A method here names its parameters with their kinds, so arguments are checked and hashes resolved before it runs;
//! what it does is one call of [`Control`]. The eight methods of the original keep their names, parameters and results.

mod args;
mod discover;

use std::path::Path;

use crate::proto::http::jsonrpc::{Call, ErrorObject, METHOD_NOT_FOUND};
use crate::proto::http::{Body, Rows};
use crate::share::Page;
use serde::Serialize;

use super::control::{
    AddTorrent, ContactChange, Control, ControlError, ErrorCode, List, Members, NewAccount, NewContact, Paged,
    TorrentSource,
};
use super::types::TorrentStatuses;

pub use args::{Args, Kind, Param};
pub use discover::document;

/// What a caller must be allowed to do. There is one kind of caller today; the table already tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Look.
    View,
    /// Add torrents and shares.
    Add,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Add => "add",
            Self::Admin => "admin",
        }
    }
}

/// One method.
pub struct Method {
    /// Name, such as `bt.pause`.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Parameters, in their order; required ones first.
    pub params: &'static [Param],
    /// What comes back, in words and shape.
    pub result: &'static str,
    /// Who may call it.
    pub scope: Scope,
    run: fn(&dyn Control, &Args) -> Outcome,
}

/// The JSON of the result.
type Outcome = Result<Body, ControlError>;

/// Runs one call.
///
/// # Errors
/// What is to be answered: unknown method, wrong parameters, or the daemon's own error.
pub fn dispatch(control: &dyn Control, call: &Call) -> Result<Body, ErrorObject> {
    let Some(method) = METHODS.iter().find(|method| method.name == call.method) else {
        let name: String = call.method.chars().take(60).collect();
        return Err(ErrorObject::new(
            METHOD_NOT_FOUND,
            format!("there is no method {name:?}; see rpc.discover or /api/browse"),
        ));
    };
    let args = Args::check(method, &call.params, control)?;
    (method.run)(control, &args).map_err(ErrorObject::from)
}

impl From<ControlError> for ErrorObject {
    fn from(error: ControlError) -> Self {
        Self::new(error.code.number(), error.message)
    }
}

/// Writes down what the daemon answered.
fn value<T: Serialize>(result: Result<T, ControlError>) -> Outcome {
    let bytes = serde_json::to_vec(&result?);
    bytes.map(Body::from).map_err(|e| ControlError::new(ErrorCode::Internal, format!("the answer is no JSON: {e}")))
}

/// Answers with an object that has one list, of which every row is written when it is sent.
fn list<T: Serialize + 'static>(key: &str, rows: Result<List<T>, ControlError>) -> Outcome {
    Ok(body(key, rows?, "]}".to_owned()))
}

/// As [`list`], of one page, and how long the whole list is.
fn page<T: Serialize + 'static>(key: &str, page: Result<Paged<T>, ControlError>) -> Outcome {
    let Paged { rows, total, more } = page?;
    Ok(body(key, rows, format!("],\"total\":{total},\"more\":{more}}}")))
}

/// An object that begins with a list and ends with `rest`.
fn body<T: Serialize + 'static>(key: &str, List { len, row }: List<T>, rest: String) -> Body {
    let write = move |number: usize, out: &mut Vec<u8>| {
        // Rows are strings, numbers and lists of them: nothing that JSON lacks.
        let _ = serde_json::to_writer(out, &row(number));
    };
    let mut body = Body::from(format!("{{\"{key}\":[").into_bytes());
    body.push_rows(Rows::new(len, Box::new(write)));
    body.push(rest.into_bytes());
    body
}

/// Answers with an object that has one object, of which every member is written when it is sent.
fn members<T: Serialize + 'static>(key: &str, members: Result<Members<T>, ControlError>) -> Outcome {
    let List { len, row } = members?;
    let write = move |number: usize, out: &mut Vec<u8>| {
        let Some((name, value)) = row(number) else { return };
        // As in a list: nothing that JSON lacks.
        let _ = serde_json::to_writer(&mut *out, &name);
        out.push(b':');
        let _ = serde_json::to_writer(out, &value);
    };
    let mut body = Body::from(format!("{{\"{key}\":{{").into_bytes());
    body.push_rows(Rows::new(len, Box::new(write)));
    body.push(&b"}}"[..]);
    Ok(body)
}

/// Which page of a list is asked for. `usual` rows unless the caller says how many.
fn wanted(args: &Args, usual: usize) -> Page {
    let number = |name| args.optional_number(name).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    Page { offset: number("offset").unwrap_or(0), limit: number("limit").unwrap_or(usual).min(MAX_ROWS) }
}

/// The answer of methods that only do something, as in the original.
fn done(result: Result<(), ControlError>) -> Outcome {
    value(result.map(|()| true))
}

const fn param(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param { name, kind, required: true, doc }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param { name, kind, required: false, doc }
}

const OWN_HASH: Param = param("hash", Kind::OwnHash, "Info hash of an own torrent, or enough of its first digits.");
const JID: Param = param("jid", Kind::Text, "Bare JID, name@domain.");
const ACCOUNT: Param =
    optional("account", Kind::Text, "Bare JID of the account to use; without it the one that knows the contact.");
const NEW_ACCOUNT: &[Param] = &[
    param("jid", Kind::Text, "name@domain, a resource is optional."),
    param("password", Kind::Text, "Its password."),
    optional("server", Kind::Text, "\"host:port\" instead of asking DNS."),
    optional("tls", Kind::Text, "\"direct\" or \"starttls\" instead of what DNS says."),
    optional("ca_file", Kind::Path, "PEM file with the authorities to trust."),
];
/// Rows of one answer at most.
const MAX_ROWS: usize = 10_000;
/// Rows of what a search finds unless the caller says how many: more than any person reads.
const FOUND_ROWS: usize = 1000;
const OFFSET: Param = optional("offset", Kind::Number, "Rows to leave out at the beginning; 0 unless told.");
const SAVE_PATH: Param =
    optional("save_path", Kind::Path, "Folder that gets the torrent's top-level name; without it the download folder.");

/// All methods, by name.
pub static METHODS: &[Method] = &[
    Method {
        name: "Api.exit",
        doc: "Stops the daemon in good order: trackers and contacts are told, everything is written to disk.",
        params: &[],
        result: "true, before it stops",
        scope: Scope::Admin,
        run: |control, _| done(control.exit()),
    },
    Method {
        name: "Api.memory",
        doc: "What memory is used for, in bytes by class, against the limit for all of it; and how long the turns of the network thread take, which is how long peers may have to wait.",
        params: &[],
        result: "{limit, used, highest, classes: [{name, now, highest, limit}], mapped, resident, anonymous, reactor_turns, reactor_longest_turn_ms, reactor_longest_turn_last_minute_ms}",
        scope: Scope::View,
        run: |control, _| value(control.memory()),
    },
    Method {
        name: "Api.status",
        doc: "The daemon as a whole: version, folders, port, addresses, account, rates, problems.",
        params: &[],
        result: "{version, pid, uptime, data_dir, download_dir, port, addresses, account, accounts, local: {name, port, fingerprint} | null, torrents, peers, download_rate, upload_rate, problems}",
        scope: Scope::View,
        run: |control, _| value(control.status()),
    },
    Method {
        name: "Api.versions",
        doc: "Versions of the program and of the libraries it stands on.",
        params: &[],
        result: "{NAME: VERSION}",
        scope: Scope::View,
        run: |control, _| value(Ok(control.versions())),
    },
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
    Method {
        name: "rpc.discover",
        doc: "Describes all methods (OpenRPC).",
        params: &[],
        result: "an OpenRPC document",
        scope: Scope::View,
        run: |_, _| value(Ok(document())),
    },
    Method {
        name: "xmpp.accept_contact",
        doc: "Says yes to somebody who wants to become a contact: they see our shares and addresses from then on.",
        params: &[JID, ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| done(control.accept_contact(args.text("jid")?, args.optional_text("account"))),
    },
    Method {
        name: "xmpp.account",
        doc: "The first account, the state of its connection, and what accounts before it left on their servers. Never the password.",
        params: &[],
        result: "{jid, resource, source, has_password, server, state: none | connecting | online | offline | failed | no-password, error, remains}",
        scope: Scope::View,
        run: |control, _| value(control.account()),
    },
    Method {
        name: "xmpp.accounts",
        doc: "All accounts and the states of their connections. Never a password.",
        params: &[],
        result: "{accounts: [as xmpp.account, without remains]}",
        scope: Scope::View,
        run: |control, _| value(control.accounts()),
    },
    Method {
        name: "xmpp.add_account",
        doc: "Logs in with one more account, as xmpp.set_account, and uses it beside the others.",
        params: NEW_ACCOUNT,
        result: "as xmpp.account",
        scope: Scope::Admin,
        run: |control, args| value(control.add_account(new_account(args)?)),
    },
    Method {
        name: "xmpp.add_contact",
        doc: "Adds a contact and asks for their consent; once both have consented, both see each other's shares.",
        params: &[
            JID,
            optional("name", Kind::Text, "Name for the roster."),
            ACCOUNT,
            optional("groups", Kind::Texts, "Groups for the roster; without any those it is in."),
        ],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| {
            let name = args.optional_text("name").map(str::to_owned);
            let new = NewContact { jid: args.text("jid")?.to_owned(), name, groups: args.texts("groups").to_vec() };
            done(control.add_contact(new, args.optional_text("account")))
        },
    },
    Method {
        name: "xmpp.block_contact",
        doc: "Blocks somebody (XEP-0191): neither sees the other, transfers with them end, and they are a contact no longer. On the server where it can do that; works without a connection, too.",
        params: &[JID, ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::Block),
    },
    Method {
        name: "xmpp.contacts",
        doc: "The contacts, who wants to become one, and who is blocked.",
        params: &[],
        result: "{contacts: [{jid, name, subscription, asked, asks, online, resources, shares, accounts, groups, software, addresses, ipv4, ipv6, blocked, neighbor, fingerprint, address, problem, why: {code, text}}]}",
        scope: Scope::View,
        run: |control, _| value(control.contacts()),
    },
    Method {
        name: "xmpp.get_hashes",
        doc: "Every hash that a contact shares, with the addresses it can be fetched from: megabytes if they share much.",
        params: &[],
        result: "{hashes: {HASH: [[ip, port]]}}",
        scope: Scope::View,
        run: |control, _| members("hashes", control.contact_hashes()),
    },
    Method {
        name: "xmpp.get_shares",
        doc: "All that the contacts share, by contact and resource: megabytes if they share much; xmpp.list_shares answers page by page.",
        params: &[],
        result: "{shares: {JID: {RESOURCE: {ip_v4: [[ip, port]], ip_v6: [[ip, port]], online, shares: {HASH: {hash, name, size, files}}}}}}",
        scope: Scope::View,
        run: |control, _| members("shares", control.contact_shares()),
    },
    Method {
        name: "xmpp.list_shares",
        doc: "What the contacts share, by name, one row per torrent, with its owners, whether one of them is online, and why it cannot be fetched if it cannot. Longer lists come in pages; total counts the rows of all of them.",
        params: &[
            optional("contact", Kind::Text, "Only the shares of this bare JID."),
            optional("limit", Kind::Number, "Rows at most; 10000 unless told, which is the most."),
            OFFSET,
        ],
        result: "{shares: [{hash, name, size, file_count, available, mine, own: {state, done, total_size, complete}, why: {code, text}, owners: [{jid, resource, online, why}]}], total, more}",
        scope: Scope::View,
        run: |control, args| page("shares", control.list_shares(args.optional_text("contact"), wanted(args, MAX_ROWS))),
    },
    Method {
        name: "xmpp.refuse_contact",
        doc: "Says no to somebody who asks to see our shares, or does not let a contact see them any more.",
        params: &[JID, ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::Refuse),
    },
    Method {
        name: "xmpp.remove_account",
        doc: "Takes everything off the server, disconnects and forgets the account.",
        params: &[optional("account", Kind::Text, "Its bare JID; needed only if there are several.")],
        result: "true, or false if there was none",
        scope: Scope::Admin,
        run: |control, args| value(control.remove_account(args.optional_text("account"))),
    },
    Method {
        name: "xmpp.remove_contact",
        doc: "Removes a contact, or refuses a request: neither sees the other's shares any more.",
        params: &[JID, ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::Remove),
    },
    Method {
        name: "xmpp.rename_contact",
        doc: "Gives a contact another name in the roster.",
        params: &[JID, param("name", Kind::Text, "The name; empty for none."), ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::Rename(args.text("name")?.to_owned())),
    },
    Method {
        name: "xmpp.search",
        doc: "The contacts' shares whose name holds every word of the term, whatever the case; best first. total counts the rows of all pages; more says that the term fits still more than was looked at.",
        params: &[
            param("term", Kind::Text, "Words to look for."),
            optional("limit", Kind::Number, "Rows at most; 1000 unless told, 10000 at most."),
            OFFSET,
        ],
        result: "as xmpp.list_shares",
        scope: Scope::View,
        run: |control, args| page("shares", control.search(args.text("term")?, wanted(args, FOUND_ROWS))),
    },
    Method {
        name: "xmpp.set_account",
        doc: "Logs in with this account and, unless it is refused, uses it instead of the one before, or of the one with the same JID if there are several. If the server does not answer it is stored unchecked, and error says so. The password is kept in a private file.",
        params: NEW_ACCOUNT,
        result: "as xmpp.account",
        scope: Scope::Admin,
        run: |control, args| value(control.set_account(new_account(args)?)),
    },
    Method {
        name: "xmpp.set_groups",
        doc: "Puts a contact into these groups of the roster and no others.",
        params: &[JID, param("groups", Kind::Texts, "The groups; an empty list for none."), ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::SetGroups(args.texts("groups").to_vec())),
    },
    Method {
        name: "xmpp.unblock_contact",
        doc: "Ends a blocking. They are no contact then, and may ask to be.",
        params: &[JID, ACCOUNT],
        result: "true",
        scope: Scope::Admin,
        run: |control, args| change(control, args, ContactChange::Unblock),
    },
];

fn change(control: &dyn Control, args: &Args, change: ContactChange) -> Outcome {
    done(control.change_contact(args.text("jid")?, change, args.optional_text("account")))
}

fn add_torrent(control: &dyn Control, args: &Args) -> Outcome {
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

fn new_account(args: &Args) -> Result<NewAccount, ControlError> {
    Ok(NewAccount {
        jid: args.text("jid")?.to_owned(),
        password: args.text("password")?.to_owned().into(),
        server: args.optional_text("server").map(str::to_owned),
        tls: args.optional_text("tls").map(str::to_owned),
        ca_file: args.optional_path("ca_file").map(Path::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_documented_and_has_required_parameters_first() {
        assert!(METHODS.is_sorted_by(|a, b| a.name < b.name));
        for method in METHODS {
            assert!(method.doc.ends_with('.') && !method.result.is_empty(), "{}", method.name);
            assert!(method.params.is_sorted_by_key(|param| !param.required), "{}", method.name);
            assert!(method.params.iter().all(|param| param.doc.ends_with('.')), "{}", method.name);
        }
    }

    #[test]
    fn the_originals_methods_are_there_with_their_parameters() {
        let original: [(&str, &[&str]); 8] = [
            ("Api.versions", &[]),
            ("Api.exit", &[]),
            ("bt.get_torrents", &[]),
            ("bt.add_path", &["path"]),
            ("bt.add_torrent_by_hash", &["hash", "save_path"]),
            ("bt.del_torrent", &["hash"]),
            ("xmpp.get_hashes", &[]),
            ("xmpp.get_shares", &[]),
        ];
        for (name, params) in original {
            let method = METHODS.iter().find(|method| method.name == name).unwrap();
            assert_eq!(method.params.iter().map(|p| p.name).collect::<Vec<_>>(), params, "{name}");
        }
    }
}
