//! `bitween contacts`: lists, adds, accepts and removes contacts.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::output::{json as print_json, line, note, print};
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
  bitween contacts remove bob@example.org";

/// List contacts; add, accept or remove one
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
        #[command(flatten)]
        account: AccountArg,
    },
    /// Say yes to somebody who asks: they see your shares and addresses from then on
    Accept {
        /// name@domain
        jid: JidText,
        #[command(flatten)]
        account: AccountArg,
    },
    /// Remove a contact, or refuse somebody who asks
    Remove {
        /// name@domain
        jid: JidText,
        #[command(flatten)]
        account: AccountArg,
    },
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
    let (method, params, done) = match &args.action {
        None => return list(&client, args.list.json),
        Some(Action::Add { jid, name, account }) => {
            let contacts: Contacts = client.call("xmpp.contacts", json!({}))?;
            let known = contacts.contacts.into_iter().find(|contact| is_same_account(&contact.jid, jid.bare()));
            let done = format!("{} {}", jid.bare(), added(known.as_ref()));
            ("xmpp.add_contact", json!({"jid": jid.bare(), "name": name, "account": account.bare()}), done)
        }
        Some(Action::Accept { jid, account }) => {
            let params = json!({"jid": jid.bare(), "account": account.bare()});
            ("xmpp.accept_contact", params, format!("{} is accepted", jid.bare()))
        }
        Some(Action::Remove { jid, account }) => {
            let params = json!({"jid": jid.bare(), "account": account.bare()});
            ("xmpp.remove_contact", params, format!("{} is removed", jid.bare()))
        }
    };
    client.call::<Value>(method, params)?;
    line(&done)
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
    let mut table = Table::new(&[("STATE", Align::Left), ("SHARES", Align::Right), ("CONTACT", Align::Left)]);
    for contact in contacts.contacts {
        let name = contact.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let via = if several { format!("  via {}", contact.accounts.join(", ")) } else { String::new() };
        table.row([state(&contact).to_owned(), contact.shares.to_string(), contact.jid + &name + &via]);
    }
    print(&table.render())
}

fn state(contact: &Contact) -> &'static str {
    match (contact.asks, contact.subscription.as_str()) {
        (true, _) => "asks you",
        (false, _) if contact.online => "online",
        (false, _) if contact.asked => "asked",
        (false, "both" | "to") => "offline",
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
