//! `bitween contacts`: lists contacts, and says yes or no to them.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::output::{clean, json as print_json, line, note, print};
use super::shares::say_why;
use super::table::{Align, Table};
use crate::component::rpc::types::{Contact, Contacts};
use crate::config::JidText;
use crate::proto::account::is_same_account;

const EXAMPLES: &str = "\
Examples:
  bitween contacts
  bitween contacts add bob@example.org     ask bob to share with you
  bitween contacts accept carol@example.org
  bitween contacts rename bob@example.org Bobby
  bitween contacts groups bob@example.org Friends Films
  bitween contacts block eve@example.org   neither sees the other, transfers end
  bitween contacts remove bob@example.org";

/// Addresses of one contact in the list.
const ADDRESSES_SHOWN: usize = 3;

/// List contacts; add, accept, refuse, remove, rename or block one
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Add a contact and ask for their consent
    Add {
        /// name@domain
        jid: JidText,
        /// Name for the contact list
        #[arg(long)]
        name: Option<String>,
        /// Group for the contact list; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        #[command(flatten)]
        account: AccountArg,
    },
    /// Say yes to somebody who asks: they see your shares and addresses from then on
    Accept(Person),
    /// Say no to somebody who asks, or do not let a contact see your shares any more
    Refuse(Person),
    /// Remove a contact, or refuse somebody who asks
    Remove(Person),
    /// Block somebody: you do not see each other, and transfers with them end
    Block(Person),
    /// End a blocking; they are no contact then
    Unblock(Person),
    /// Give a contact another name
    Rename {
        /// name@domain
        jid: JidText,
        /// The name; empty for none
        name: String,
        #[command(flatten)]
        account: AccountArg,
    },
    /// Put a contact into these groups and no others
    Groups {
        /// name@domain
        jid: JidText,
        /// The groups; none to take the contact out of all
        #[arg(value_name = "GROUP")]
        groups: Vec<String>,
        #[command(flatten)]
        account: AccountArg,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Person {
    /// name@domain
    jid: JidText,
    #[command(flatten)]
    account: AccountArg,
}

#[derive(Clone, Debug, clap::Args)]
struct AccountArg {
    /// Which of your accounts is meant [default: the one that knows the contact, else the first]
    #[arg(long = "account", value_name = "JID")]
    own: Option<JidText>,
}

impl AccountArg {
    fn bare(&self) -> Option<&str> {
        self.own.as_ref().map(JidText::bare)
    }
}

/// Runs the subcommand.
///
/// # Errors
/// No daemon, no account, or an unknown contact.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.list.connect)?;
    let Some(action) = &args.action else { return list(&client, args.list.json) };
    let (method, params, done) = match action {
        Action::Add { jid, name, groups, account } => {
            let contacts: Contacts = client.call("xmpp.contacts", json!({}))?;
            let known = contacts.contacts.into_iter().find(|contact| is_same_account(&contact.jid, jid.bare()));
            let done = format!("{} {}", jid.bare(), added(known.as_ref()));
            let params = json!({"jid": jid.bare(), "name": name, "groups": groups, "account": account.bare()});
            ("xmpp.add_contact", params, done)
        }
        Action::Accept(person) => person.call("xmpp.accept_contact", "is accepted"),
        Action::Refuse(person) => person.call("xmpp.refuse_contact", "does not see what you share"),
        Action::Remove(person) => person.call("xmpp.remove_contact", "is removed"),
        Action::Block(person) => person.call("xmpp.block_contact", "is blocked"),
        Action::Unblock(person) => person.call("xmpp.unblock_contact", "is not blocked any more"),
        Action::Rename { jid, name, account } => {
            let params = json!({"jid": jid.bare(), "name": name, "account": account.bare()});
            let name = if name.is_empty() { "nothing but its address".to_owned() } else { clean(name) };
            ("xmpp.rename_contact", params, format!("{} is called {name}", jid.bare()))
        }
        Action::Groups { jid, groups, account } => {
            let params = json!({"jid": jid.bare(), "groups": groups, "account": account.bare()});
            let groups = if groups.is_empty() { "no group".to_owned() } else { clean(&groups.join(", ")) };
            ("xmpp.set_groups", params, format!("{} is in {groups}", jid.bare()))
        }
    };
    client.call::<Value>(method, params)?;
    if args.list.json {
        return print_json(&json!({"done": done}));
    }
    line(&done)?;
    match action {
        Action::Accept(person) => say_fingerprint(&client, person.jid.bare()),
        _ => Ok(()),
    }
}

/// Nobody vouches for a neighbour: who wants to be sure compares what both machines show.
fn say_fingerprint(client: &Client, jid: &str) -> Result<(), CliError> {
    let contacts: Contacts = client.call("xmpp.contacts", json!({}))?;
    let is = |contact: &Contact| {
        let short = contact.jid.strip_suffix(".local").unwrap_or(&contact.jid);
        contact.jid.eq_ignore_ascii_case(jid) || short.eq_ignore_ascii_case(jid)
    };
    let neighbor = contacts.contacts.into_iter().find(|contact| contact.neighbor && is(contact));
    if let Some(fingerprint) = neighbor.and_then(|neighbor| neighbor.fingerprint) {
        note(&format!("its certificate is remembered: {}", clean(&fingerprint)));
        note("`bitween status` shows yours");
    }
    Ok(())
}

impl Person {
    /// The call that does something with them, and what is said then.
    fn call(&self, method: &'static str, done: &str) -> (&'static str, Value, String) {
        let jid = self.jid.bare();
        (method, json!({"jid": jid, "account": self.account.bare()}), format!("{jid} {done}"))
    }
}

/// What adding meant for somebody who was known like this.
fn added(known: Option<&Contact>) -> &'static str {
    match known {
        Some(contact) if contact.asks => "is accepted",
        Some(contact) if matches!(contact.subscription.as_str(), "both" | "to") => "is a contact already",
        Some(contact) if contact.asked => "was asked before and has not answered yet; asked again",
        _ => "is asked",
    }
}

fn list(client: &Client, as_json: bool) -> Result<(), CliError> {
    let contacts: Contacts = client.call("xmpp.contacts", json!({}))?;
    if as_json {
        return print_json(&contacts.contacts);
    }
    if contacts.contacts.is_empty() {
        note("no contacts; add one with `bitween contacts add name@example.org`");
        return say_why(client);
    }
    // With one account it is clear whose contacts they are.
    let mut accounts = contacts.contacts.iter().flat_map(|contact| &contact.accounts);
    let first = accounts.next();
    let several = accounts.any(|account| Some(account) != first);
    let mut table = Table::new(&[
        ("STATE", Align::Left),
        ("SHARES", Align::Right),
        ("SOFTWARE", Align::Left),
        ("IP", Align::Left),
        ("CONTACT", Align::Left),
        ("ADDRESSES", Align::Left),
    ]);
    let mut problems = Vec::new();
    for contact in &contacts.contacts {
        let why = contact.why.as_ref().map(|why| &*why.text);
        problems.extend(contact.problem.as_deref().into_iter().chain(why).map(clean));
        let (state, shares) = (state(contact).to_owned(), contact.shares.to_string());
        let software = if contact.software.is_empty() { "-".to_owned() } else { contact.software.join(", ") };
        let (versions, addresses) = (versions(contact).to_owned(), addresses(contact));
        let described = described(contact, several && !contact.neighbor);
        table.row([state, shares, software, versions, described, addresses]);
    }
    print(&table.render())?;
    problems.iter().for_each(|problem| note(problem));
    Ok(())
}

/// JID, name and groups; and which account knows them, if it is to be told.
fn described(contact: &Contact, with_accounts: bool) -> String {
    let mut text = contact.jid.clone();
    if let Some(name) = &contact.name {
        text += &format!(" ({name})");
    }
    if !contact.groups.is_empty() {
        text += &format!(" [{}]", contact.groups.join(", "));
    }
    if with_accounts {
        text += &format!("  via {}", contact.accounts.join(", "));
    }
    text
}

/// The first addresses; JSON has all.
fn addresses(contact: &Contact) -> String {
    let shown = contact.addresses.iter().take(ADDRESSES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match contact.addresses.len().saturating_sub(ADDRESSES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn versions(contact: &Contact) -> &'static str {
    match (contact.ipv4, contact.ipv6) {
        (true, true) => "v4+v6",
        (true, false) => "v4",
        (false, true) => "v6",
        (false, false) => "-",
    }
}

fn state(contact: &Contact) -> &'static str {
    match (contact.asks, contact.subscription.as_str()) {
        _ if contact.blocked => "blocked",
        (true, _) => "asks you",
        (false, _) if contact.online => "online",
        (false, _) if contact.asked => "asked",
        (false, "both" | "to") => "offline",
        // It is in the same network, and that is all.
        (false, "none") if contact.neighbor => "neighbour",
        _ => "no consent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_who_has_to_do_something() {
        let contact = |subscription: &str, asks, asked, online| {
            let subscription = subscription.to_owned();
            state(&Contact { subscription, asks, asked, online, ..Contact::default() })
        };
        assert_eq!(contact("none", true, true, false), "asks you");
        assert_eq!(contact("both", false, false, true), "online");
        assert_eq!(contact("both", false, false, false), "offline");
        assert_eq!(contact("none", false, true, false), "asked");
        assert_eq!(contact("from", false, false, false), "no consent");
    }

    #[test]
    fn a_line_says_who_and_where_they_are() {
        let addresses = ["[2001:db8::1]:7", "192.0.2.1:7", "10.0.0.1:7", "10.0.0.2:7"].map(str::to_owned).to_vec();
        let contact = Contact {
            jid: "bob@x".into(),
            name: Some("Bob".into()),
            groups: vec!["Friends".into(), "Films".into()],
            accounts: vec!["me@x".into()],
            addresses,
            ipv4: true,
            ..Contact::default()
        };
        assert_eq!(described(&contact, false), "bob@x (Bob) [Friends, Films]");
        assert_eq!(described(&contact, true), "bob@x (Bob) [Friends, Films]  via me@x");
        assert_eq!(super::addresses(&contact), "[2001:db8::1]:7, 192.0.2.1:7, 10.0.0.1:7 and 1 more");
        assert_eq!((versions(&contact), versions(&Contact::default())), ("v4", "-"));
    }

    #[test]
    fn adding_says_what_is_true() {
        let contact = |subscription: &str, asks, asked| {
            let subscription = subscription.to_owned();
            added(Some(&Contact { subscription, asks, asked, ..Contact::default() }))
        };
        assert_eq!(added(None), "is asked");
        assert_eq!(contact("both", false, false), "is a contact already");
        assert_eq!(contact("from", false, false), "is asked");
        assert_eq!(contact("none", true, false), "is accepted");
        assert_eq!(contact("none", false, true), "was asked before and has not answered yet; asked again");
    }
}
