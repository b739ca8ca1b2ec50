//! `xmpp.*`: accounts, contacts, and what contacts share.

use std::path::Path;

use super::super::control::{ContactChange, ControlError, Interface, NewAccount, NewContact};
use super::{
    Args, Kind, MAX_ROWS, Method, OFFSET, Outcome, Param, Scope, done, members, optional, page, param, value, wanted,
};

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
/// Rows of what a search finds unless the caller says how many: more than any person reads.
const FOUND_ROWS: usize = 1000;

/// By name.
pub(super) static TABLE: &[Method] = &[
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

fn change(control: &dyn Interface, args: &Args<'_>, change: ContactChange) -> Outcome {
    done(control.change_contact(args.text("jid")?, change, args.optional_text("account")))
}

fn new_account(args: &Args<'_>) -> Result<NewAccount, ControlError> {
    Ok(NewAccount {
        jid: args.text("jid")?.to_owned(),
        password: args.text("password")?.to_owned().into(),
        server: args.optional_text("server").map(str::to_owned),
        tls: args.optional_text("tls").map(str::to_owned),
        ca_file: args.optional_path("ca_file").map(Path::to_owned),
    })
}
