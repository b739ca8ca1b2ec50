//! Personal eventing (XEP-0163 over XEP-0060): requests for the own and contacts' nodes, notifications.
//!
//! Payload builders and tolerant readers only; when to send what is decided in `publisher`, whom to believe in
//! `session`. Items and retractions of one notification keep their order.

use minidom::Element;

use super::xml::{Build, element, ns};

/// Items looked at in one stanza.
const MAX_ITEMS: usize = 4096;

/// What a publish demands of its node (publish-options); the server refuses if the node is set up otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only those who see the account's presence may read.
    pub presence_access: bool,
    /// The node keeps this many items; not every server understands the demand.
    pub max_items: Option<&'static str>,
}

/// How a node is set up, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// Who may read: `presence`, `open`, `roster`, `whitelist`, `authorize`.
    pub access_model: Option<String>,
    /// How many items it keeps; a number or `max`.
    pub max_items: Option<String>,
    /// Whether it keeps items at all.
    pub persist_items: Option<bool>,
}

/// One item of a node.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its id; empty if the server left it out.
    pub id: &'a str,
    /// Its first child, whatever that is.
    pub payload: Option<&'a Element>,
}

/// What happened to a node.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// An item was published, or replaced.
    Published(Item<'a>),
    /// The item with this id is gone.
    Retracted(&'a str),
    /// All items are gone: the node was purged or deleted.
    Emptied,
}

/// Publishes one item.
#[must_use]
pub fn publish(node: &str, id: &str, payload: Element, options: Option<Options>) -> Element {
    let item = element("item", ns::PUBSUB).with("id", id).containing(payload);
    let publish = element("publish", ns::PUBSUB).with("node", node).containing(item);
    let pubsub = element("pubsub", ns::PUBSUB).containing(publish);
    let Some(options) = options else { return pubsub };
    let mut fields = vec![("pubsub#persist_items", "true")];
    if options.presence_access {
        fields.push(("pubsub#access_model", "presence"));
    }
    fields.extend(options.max_items.map(|max| ("pubsub#max_items", max)));
    pubsub.containing(element("publish-options", ns::PUBSUB).containing(form(ns::PUBLISH_OPTIONS, &fields)))
}

/// Takes one item away and asks for a notification.
#[must_use]
pub fn retract(node: &str, id: &str) -> Element {
    let item = element("item", ns::PUBSUB).with("id", id);
    let retract = element("retract", ns::PUBSUB).with("node", node).with("notify", "true").containing(item);
    element("pubsub", ns::PUBSUB).containing(retract)
}

/// Asks for the items, all or the newest few.
#[must_use]
pub fn items(node: &str, newest: Option<usize>) -> Element {
    let items = element("items", ns::PUBSUB).with("node", node);
    element("pubsub", ns::PUBSUB).containing(items.with_some("max_items", newest.map(|count| count.to_string())))
}

/// Asks how an own node is set up.
#[must_use]
pub fn configuration(node: &str) -> Element {
    let configure = element("configure", ns::PUBSUB_OWNER).with("node", node);
    element("pubsub", ns::PUBSUB_OWNER).containing(configure)
}

/// Changes the named settings of an own node.
#[must_use]
pub fn configure(node: &str, fields: &[(&'static str, &'static str)]) -> Element {
    let configure = element("configure", ns::PUBSUB_OWNER).with("node", node).containing(form(ns::NODE_CONFIG, fields));
    element("pubsub", ns::PUBSUB_OWNER).containing(configure)
}

/// Deletes an own node.
#[must_use]
pub fn delete(node: &str) -> Element {
    element("pubsub", ns::PUBSUB_OWNER).containing(element("delete", ns::PUBSUB_OWNER).with("node", node))
}

/// Reads the answer to [`configuration`].
#[must_use]
pub fn parse_configuration(answer: &Element) -> NodeConfig {
    let form = answer
        .get_child("pubsub", ns::PUBSUB_OWNER)
        .and_then(|pubsub| pubsub.get_child("configure", ns::PUBSUB_OWNER))
        .and_then(|configure| configure.get_child("x", ns::DATA));
    let value = |var: &str| {
        let mut fields = form.into_iter().flat_map(Element::children);
        let field = fields.find(|field| field.is("field", ns::DATA) && field.attr("var") == Some(var))?;
        Some(field.get_child("value", ns::DATA)?.text())
    };
    NodeConfig {
        access_model: value("pubsub#access_model"),
        max_items: value("pubsub#max_items"),
        persist_items: value("pubsub#persist_items").map(|value| matches!(value.as_str(), "1" | "true")),
    }
}

/// Reads the answer to [`items`] for this node.
#[must_use]
pub fn parse_items<'a>(answer: &'a Element, node: &str) -> Vec<Item<'a>> {
    let pubsub = answer.children().filter(|child| child.is("pubsub", ns::PUBSUB)).flat_map(Element::children);
    let lists = pubsub.filter(|child| child.is("items", ns::PUBSUB) && child.attr("node") == Some(node));
    let items = lists.flat_map(Element::children).filter(|child| child.is("item", ns::PUBSUB));
    items.take(MAX_ITEMS).map(read_item).collect()
}

/// Reads a notification: pairs of node and what happened to it, in order. Empty if the message is none.
#[must_use]
pub fn parse_event(message: &Element) -> Vec<(&str, Happening<'_>)> {
    let mut happenings = Vec::new();
    let events = message.children().filter(|child| child.is("event", ns::PUBSUB_EVENT)).flat_map(Element::children);
    for change in events.filter(|child| child.has_ns(ns::PUBSUB_EVENT)) {
        let Some(node) = change.attr("node") else { continue };
        match change.name() {
            "items" => {
                for child in change.children().filter(|child| child.has_ns(ns::PUBSUB_EVENT)).take(MAX_ITEMS) {
                    match child.name() {
                        "item" => happenings.push((node, Happening::Published(read_item(child)))),
                        "retract" => {
                            happenings.push((node, Happening::Retracted(child.attr("id").unwrap_or_default())))
                        }
                        _ => {}
                    }
                }
            }
            "purge" | "delete" => happenings.push((node, Happening::Emptied)),
            _ => {}
        }
    }
    happenings
}

fn read_item(item: &Element) -> Item<'_> {
    Item { id: item.attr("id").unwrap_or_default(), payload: item.children().next() }
}

fn form(form_type: &'static str, fields: &[(&'static str, &'static str)]) -> Element {
    let field = |var: &'static str, value: &'static str| {
        element("field", ns::DATA).with("var", var).containing(element("value", ns::DATA).saying(value))
    };
    let hidden = field("FORM_TYPE", form_type).with("type", "hidden");
    let fields = fields.iter().map(|&(var, value)| field(var, value));
    element("x", ns::DATA).with("type", "submit").containing(hidden).containing_all(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xmpp_parsers::pubsub::PubSub;

    fn event(inside: &str) -> Element {
        let event = format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{inside}</event>");
        format!("<message xmlns='jabber:client' from='bob@x'>{event}</message>").parse().unwrap()
    }

    fn told(inside: &str) -> Vec<String> {
        let message = event(inside);
        let tell = |(node, happening): (&str, Happening<'_>)| match happening {
            Happening::Published(item) => format!("{node} + {} {:?}", item.id, item.payload.map(Element::name)),
            Happening::Retracted(id) => format!("{node} - {id}"),
            Happening::Emptied => format!("{node} 0"),
        };
        parse_event(&message).into_iter().map(tell).collect()
    }

    #[test]
    fn notifications_of_every_shape_are_read() {
        let mixed =
            "<items node='n'><item id='a'><p xmlns='u'/></item><odd/><item/><retract id='b'/><x xmlns='o'/></items>";
        assert_eq!(told(mixed), ["n + a Some(\"p\")", "n +  None", "n - b"]);
        assert_eq!(told("<purge node='n'/><delete node='m'><redirect uri='x'/></delete>"), ["n 0", "m 0"]);
        assert!(told("<items><item id='a'/></items><configuration node='n'/>").is_empty());
        assert!(parse_event(&"<message xmlns='jabber:client'><body>hi</body></message>".parse().unwrap()).is_empty());
    }

    #[test]
    fn other_implementations_read_what_is_built() {
        let options = Options { presence_access: true, max_items: Some("max") };
        let built = publish("n", "current", element("p", "urn:p"), Some(options));
        let PubSub::Publish { publish, publish_options } = PubSub::try_from(built).unwrap() else {
            panic!("no publish")
        };
        assert_eq!(publish.node.0, "n");
        let form = publish_options.unwrap().form.unwrap();
        let field = |var: &str| form.fields.iter().find(|f| f.var.as_deref() == Some(var)).map(|f| f.values[0].clone());
        assert_eq!(field("pubsub#access_model").as_deref(), Some("presence"));
        assert_eq!(field("pubsub#max_items").as_deref(), Some("max"));
        assert!(matches!(PubSub::try_from(items("n", Some(3))), Ok(PubSub::Items(_))));
        assert!(matches!(PubSub::try_from(retract("n", "i")), Ok(PubSub::Retract(_))));
    }

    #[test]
    fn answers_are_read_for_the_asked_node_only() {
        let answer: Element = "<iq xmlns='jabber:client'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <items node='n'><item id='1'/><item id='2'><p xmlns='u'/></item></items>\
             <set xmlns='http://jabber.org/protocol/rsm'/></pubsub></iq>"
            .parse()
            .unwrap();
        assert_eq!(parse_items(&answer, "n").iter().map(|item| item.id).collect::<Vec<_>>(), ["1", "2"]);
        assert!(parse_items(&answer, "other").is_empty());
    }

    #[test]
    fn a_configuration_is_read() {
        let answer: Element = "<iq xmlns='jabber:client'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
             <configure node='n'><x xmlns='jabber:x:data' type='form'>\
             <field var='pubsub#access_model' type='list-single'><option><value>x</value></option><value>open</value></field>\
             <field var='pubsub#max_items'><value>1</value></field><field var='pubsub#persist_items'><value>1</value></field>\
             </x></configure></pubsub></iq>"
            .parse()
            .unwrap();
        let config = parse_configuration(&answer);
        assert_eq!((config.access_model.as_deref(), config.max_items.as_deref()), (Some("open"), Some("1")));
        assert_eq!(config.persist_items, Some(true));
        assert_eq!(parse_configuration(&"<iq xmlns='jabber:client'/>".parse().unwrap()), NodeConfig::default());
    }
}
