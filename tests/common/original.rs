//! A program that speaks the original's format as the original does, its faults included: it merges what it happened to
//! hear, publishes half a second after its start without waiting for the own item, carries the entries of dead resources
//! along for ever, and may announce itself in a way that some servers take for a lie. It runs in a thread of its own.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bitween::component::xmpp::connection::{AccountOptions, Connection, Incoming};
use bitween::component::xmpp::port::Port;
use jid::Jid;
use minidom::Element;
use sha1::{Digest as _, Sha1};

use super::server::Server;

/// Its node, which is its namespace too.
pub const NODE: &str = "https://xmpp.kwoh.de/protocol/shares";

/// The hash that it announces, which does not fit what it answers.
const WRONG_CAPS: &str = "dECGdH93ylIAdn6MqE4jnsWa9+0=";

/// What it answers when it is asked what it can do.
const FEATURES: [&str; 6] = [
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "https://xmpp.kwoh.de/protocol/shares",
    "https://xmpp.kwoh.de/protocol/shares+notify",
    "urn:xmpp:ping",
];

/// It looks for work this often.
const TICK: Duration = Duration::from_millis(50);

/// After this time it publishes for the first time.
const FIRST_PUBLISH: Duration = Duration::from_millis(500);

/// Between a lost stream and the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// A share: hash and name. All are one byte long.
pub type Listed = (String, String);

/// Why a stream ended.
type Lost = Box<dyn std::error::Error>;

/// The lists of an account, by resource.
type Account = BTreeMap<String, Vec<Listed>>;

enum Order {
    Share(Listed),
    Exit,
    Kill,
}

/// The running program.
pub struct Original {
    orders: Sender<Order>,
    heard: Arc<Mutex<BTreeMap<String, Account>>>,
    thread: Option<JoinHandle<()>>,
}

impl Original {
    /// Logs in and begins. With `honest` its capabilities are what it announces.
    ///
    /// # Panics
    /// When it loses its stream.
    pub fn start(server: &impl Server, user: &str, password: &str, resource: &str, honest: bool) -> Self {
        Self::start_with(server, user, password, resource, honest, false)
    }

    /// Logs in and begins, and comes back whenever it loses its stream. Its capabilities are what it announces.
    pub fn start_lasting(server: &impl Server, user: &str, password: &str, resource: &str) -> Self {
        Self::start_with(server, user, password, resource, true, true)
    }

    fn start_with(
        server: &impl Server,
        user: &str,
        password: &str,
        resource: &str,
        honest: bool,
        lasting: bool,
    ) -> Self {
        let jid = Jid::new(&format!("{user}@localhost/{resource}")).unwrap();
        let mut options = AccountOptions::new(jid, password.to_owned().into(), resource.to_owned());
        options.server = Some(server.server());
        options.ca_file = Some(server.ca_file());
        let heard = Arc::new(Mutex::new(BTreeMap::new()));
        let (orders, received) = channel();
        let program = Program {
            own: format!("{user}@localhost"),
            resource: resource.to_owned(),
            shares: Vec::new(),
            caps: if honest { right_caps() } else { WRONG_CAPS.to_owned() },
            heard: Arc::clone(&heard),
            lasting,
            ids: 0,
        };
        let thread = std::thread::spawn(move || program.run(&options, &received));
        Self { orders, heard, thread: Some(thread) }
    }

    /// Shares something.
    pub fn share(&self, hash: &str, name: &str) {
        self.orders.send(Order::Share((hash.to_owned(), name.to_owned()))).unwrap();
    }

    /// The hashes that it has heard of an account, its own included; all resources together.
    pub fn sees(&self, jid: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.get(jid).into_iter().flat_map(BTreeMap::values).flatten().map(|(hash, _)| hash.clone()).collect()
    }

    /// Takes its list off and goes.
    pub fn exit(self) {
        self.end(Order::Exit);
    }

    /// Goes without a word.
    pub fn kill(self) {
        self.end(Order::Kill);
    }

    fn end(mut self, order: Order) {
        self.orders.send(order).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// The hash that fits what it answers (XEP-0115 section 5.1).
fn right_caps() -> String {
    let features: String = FEATURES.iter().map(|var| format!("{var}<")).collect();
    BASE64.encode(Sha1::digest(format!("client/bot//<{features}")))
}

struct Program {
    own: String,
    resource: String,
    shares: Vec<Listed>,
    caps: String,
    heard: Arc<Mutex<BTreeMap<String, Account>>>,
    lasting: bool,
    ids: u32,
}

impl Program {
    fn run(mut self, options: &AccountOptions, orders: &Receiver<Order>) {
        let mut port = Port::new().unwrap();
        while let Err(error) = self.session(options, &mut port, orders) {
            assert!(self.lasting, "the original lost its stream: {error}");
            std::thread::sleep(PAUSE);
        }
    }

    /// From a login to its end.
    fn session(&mut self, options: &AccountOptions, port: &mut Port, orders: &Receiver<Order>) -> Result<(), Lost> {
        let mut stream = Connection::open(options, port)?;
        let presence = format!(
            "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://sleekxmpp.com/ver/1.3.3' \
             ver='{}'/></presence><iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>",
            self.caps
        );
        for stanza in presence.split_inclusive("</presence>") {
            stream.send(stanza.as_bytes())?;
        }
        let mut first = Some(Instant::now() + FIRST_PUBLISH);
        loop {
            if let Incoming::Stanza(stanza) = stream.next(Instant::now() + TICK)? {
                self.hear(&stanza, &mut stream)?;
            }
            if first.take_if(|at| *at <= Instant::now()).is_some() {
                self.publish(&mut stream)?;
            }
            if first.is_some() {
                continue;
            }
            match orders.try_recv() {
                Ok(Order::Share(share)) => {
                    self.shares.push(share);
                    self.publish(&mut stream)?;
                }
                Ok(Order::Exit) => {
                    self.shares.clear();
                    self.publish(&mut stream)?;
                    stream.close();
                    return Ok(());
                }
                Ok(Order::Kill) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Reads, changes and writes the item of the whole account, with what it happens to know.
    fn publish(&mut self, stream: &mut Connection<'_>) -> Result<(), Lost> {
        let mut account = self.heard.lock().unwrap().get(&self.own).cloned().unwrap_or_default();
        account.insert(self.resource.clone(), self.shares.clone());
        account.retain(|_, shares| !shares.is_empty());
        let mut list = Element::builder("user_shares", NODE).build();
        for (name, shares) in &account {
            let mut resource = Element::builder("resource", NODE).attr("resource".try_into().unwrap(), name).build();
            for (hash, name) in shares {
                let share = Element::builder("share_item", NODE).attr("hash".try_into().unwrap(), hash);
                let share = share.attr("name".try_into().unwrap(), name).attr("size".try_into().unwrap(), "1");
                resource.append_child(share.build());
            }
            let address = Element::builder("ip_address", NODE).attr("address".try_into().unwrap(), "127.0.0.1");
            resource.append_child(address.attr("port".try_into().unwrap(), "18101").build());
            list.append_child(resource);
        }
        self.ids += 1;
        let publish = format!(
            "<iq type='set' id='publish-{}'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'>\
             <item id='current'>{}</item></publish></pubsub></iq>",
            self.ids,
            String::from(&list)
        );
        Ok(stream.send(publish.as_bytes())?)
    }

    fn hear(&self, stanza: &Element, stream: &mut Connection<'_>) -> Result<(), Lost> {
        let from = stanza.attr("from").unwrap_or(&self.own);
        if stanza.name() == "iq" && matches!(stanza.attr("type"), Some("get" | "set")) {
            let id = stanza.attr("id").unwrap();
            let features: String = FEATURES.iter().map(|var| format!("<feature var='{var}'/>")).collect();
            let answer = format!(
                "<iq type='result' id='{id}' to='{from}'><query xmlns='http://jabber.org/protocol/disco#info'>\
                 <identity category='client' type='bot'/>{features}</query></iq>"
            );
            stream.send(answer.as_bytes())?;
        }
        let event = stanza.get_child("event", "http://jabber.org/protocol/pubsub#event");
        let items = event.and_then(|event| event.children().next()).filter(|items| items.attr("node") == Some(NODE));
        let Some(list) = items.and_then(|items| items.children().last()).and_then(|item| item.children().next()) else {
            return Ok(());
        };
        let shares = |resource: &Element| {
            let shares = resource.children().filter(|child| child.name() == "share_item");
            let word = |share: &Element, name| share.attr(name).unwrap_or_default().to_owned();
            shares.map(|share| (word(share, "hash"), word(share, "name"))).collect::<Vec<_>>()
        };
        let account: Account = list
            .children()
            .map(|resource| (resource.attr("resource").unwrap_or_default().to_owned(), shares(resource)))
            .collect();
        let from = from.split('/').next().unwrap().to_owned();
        self.heard.lock().unwrap().insert(from, account);
        Ok(())
    }
}
