//! A bare connection to the server, for what another program would say and see.

use std::time::{Duration, Instant};

use bitween::component::xmpp::connection::{AccountOptions, Connection, Incoming};
use bitween::component::xmpp::port::Port;
use bitween::proto::xmpp::announcer::Node;
use jid::Jid;
use minidom::Element;

use crate::PASSWORD;
use crate::common::server::Server;

/// A server that reads 3 kB a second answers late.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names of all nodes bitween uses.
pub const NODES: [&str; 3] = [Node::ALL[0].name(), Node::ALL[1].name(), Node::ALL[2].name()];

/// The original's node.
pub const ORIGINAL: &str = "https://xmpp.kwoh.de/protocol/shares";

/// A logged-in stream.
pub struct Raw(Connection<'static>);

impl Raw {
    pub fn login(server: &impl Server, user: &str, resource: &str) -> Self {
        let jid = Jid::new(&format!("{user}@localhost/{resource}")).unwrap();
        let mut options = AccountOptions::new(jid, PASSWORD.to_owned().into(), resource.to_owned());
        options.server = Some(server.server());
        options.ca_file = Some(server.ca_file());
        // A test's few connections live as long as the test.
        Self(Connection::open(&options, Box::leak(Box::new(Port::new().unwrap()))).unwrap())
    }

    pub fn send(&mut self, text: &str) {
        self.0.send(text.as_bytes()).unwrap();
    }

    /// Waits for a stanza that `wanted` takes.
    pub fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Element) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.0.next(until).unwrap() {
                Incoming::Stanza(stanza) => {
                    if let Some(found) = wanted(&stanza) {
                        return found;
                    }
                }
                Incoming::Timeout => panic!("waited in vain: {what}"),
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, kind: &str, to: &str, payload: &str) -> Element {
        self.send(&format!("<iq type='{kind}' id='raw' {to}>{payload}</iq>"));
        self.wait("an answer", |stanza| (stanza.attr("id") == Some("raw")).then(|| stanza.clone()))
    }

    /// What stands on a node: ids and payloads. `None`: the server says that there is no such node, or not for us.
    pub fn items(&mut self, jid: &str, node: &str) -> Option<Vec<(String, Element)>> {
        let get = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>");
        let answer = self.ask("get", &format!("to='{jid}'"), &get);
        if answer.attr("type") != Some("result") {
            return None;
        }
        let items = answer.children().next().unwrap().children().next().unwrap();
        let item = |item: &Element| {
            (item.attr("id").unwrap().to_owned(), item.children().next().expect("items have a payload").clone())
        };
        Some(items.children().map(item).collect())
    }

    /// Publishes as the original does: no options, no configuration.
    pub fn publish(&mut self, node: &str, id: &str, payload: &str) {
        let publish = format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item id='{id}'>{payload}</item>\
             </publish></pubsub>"
        );
        let answer = self.ask("set", "", &publish);
        assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    }
}
