//! How an own node is made fit for what is published on it.
//!
//! Servers differ in which publish-options they know and in what a node is like when it is new, so there is a ladder: the
//! rich options, then only those every server knows, then the owner's configuration, then one item for all resources.
//! A node that is open to everybody is closed first, one that is stricter than `presence` is left as it is; if neither
//! can be had, nothing is published. Pure: [`super::publisher`] sends the requests.

use minidom::Element;

use super::pep::{self, NodeConfig, Options};
use super::stanza::Failure;

/// Looks at the configuration, per login; more means that server and client do not agree.
const MAX_ATTEMPTS: u32 = 4;
/// Publishes repeated at once, per login, because the node was just being made.
const MAX_COLLISIONS: u32 = 3;
/// A node that keeps this many items has room for every resource; servers accept this number or `max`.
const ENOUGH_ITEMS: u32 = 64;

/// What comes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on; perhaps with something to tell the user.
    Go(Option<String>),
    /// The server keeps one item only.
    OneItem,
    /// Try the same again later.
    Later,
    /// Nothing may be published here; the reason.
    Blocked(String),
}

/// A change of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    close: bool,
    persist: bool,
    max_items: Option<&'static str>,
}

/// The next thing to ask before publishing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Read,
    Write(Change),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Access and number of items.
    Rich,
    /// Access only.
    Plain,
    /// No options: the server knows none.
    Bare,
}

/// The state of one node's ladder, for one login.
#[derive(Debug)]
pub(super) struct Setup {
    node: &'static str,
    several: bool,
    level: Level,
    next: Option<Step>,
    /// The node did not exist yet; look at it once the first item made it.
    postponed: bool,
    /// Stricter than needed: not ours to widen.
    keep_access: bool,
    conflict: bool,
    attempts: u32,
    collisions: u32,
}

impl Setup {
    /// `several`: the node must keep an item for each resource.
    pub(super) const fn new(node: &'static str, several: bool) -> Self {
        let level = if several { Level::Rich } else { Level::Plain };
        Self {
            node,
            several,
            level,
            next: None,
            postponed: false,
            keep_access: false,
            conflict: false,
            attempts: 0,
            collisions: 0,
        }
    }

    /// What to demand with a publish.
    pub(super) fn options(&self) -> Option<Options> {
        let max_items = (self.level == Level::Rich).then_some("max");
        (self.level < Level::Bare).then_some(Options { presence_access: !self.keep_access, max_items })
    }

    /// What to ask before the next publish.
    pub(super) const fn next(&self) -> Option<Step> {
        self.next
    }

    /// The payload of a step, with the kind of its iq.
    pub(super) fn request(&self, step: Step) -> (&'static str, Element) {
        let Step::Write(change) = step else { return ("get", pep::configuration(self.node)) };
        let mut fields = Vec::new();
        fields.extend(change.close.then_some(("pubsub#access_model", "presence")));
        fields.extend(change.persist.then_some(("pubsub#persist_items", "1")));
        fields.extend(change.max_items.map(|max| ("pubsub#max_items", max)));
        ("set", pep::configure(self.node, &fields))
    }

    /// An item was published, so the node exists.
    pub(super) fn published(&mut self) {
        if std::mem::take(&mut self.postponed) {
            self.next = Some(Step::Read);
        }
    }

    /// A publish was refused.
    pub(super) fn refused(&mut self, failure: &Failure) -> Verdict {
        const ABOUT_OPTIONS: [&str; 4] =
            ["resource-constraint", "bad-request", "not-acceptable", "feature-not-implemented"];
        self.conflict = failure.is("conflict") || failure.is("precondition-not-met");
        let about_options = ABOUT_OPTIONS.iter().any(|condition| failure.is(condition)) && self.level < Level::Bare;
        // A publish makes the node it names. ejabberd says this when it makes two nodes of an account at the same time.
        if failure.is("item-not-found") && self.collisions < MAX_COLLISIONS {
            self.collisions += 1;
            return Verdict::Go(None);
        }
        if !self.conflict && !about_options {
            return Verdict::Later;
        }
        if self.attempts >= MAX_ATTEMPTS {
            return Verdict::Blocked(format!(
                "the server does not accept what is published on {}: {failure}",
                self.node
            ));
        }
        self.attempts += 1;
        self.level = match self.level {
            Level::Rich => Level::Plain,
            Level::Plain if !self.conflict => Level::Bare,
            level => level,
        };
        self.next = Some(Step::Read);
        Verdict::Go(None)
    }

    /// The answer to [`Step::Read`].
    pub(super) fn read(&mut self, answer: Result<&NodeConfig, &Failure>) -> Verdict {
        match answer {
            Ok(config) => self.judge(config),
            Err(Failure::TimedOut) => Verdict::Later,
            Err(failure) => {
                self.next = None;
                if failure.is("item-not-found") {
                    self.postponed = true;
                    return Verdict::Go(None);
                }
                if self.conflict {
                    let node = self.node;
                    return Verdict::Blocked(format!(
                        "{node} is not limited to contacts and cannot be set up: {failure}"
                    ));
                }
                self.give_up_several()
            }
        }
    }

    /// The answer to [`Step::Write`].
    pub(super) fn written(&mut self, change: Change, answer: Result<(), &Failure>) -> Verdict {
        let failure = match answer {
            Ok(()) => {
                self.next = None;
                return Verdict::Go(None);
            }
            Err(Failure::TimedOut) => return Verdict::Later,
            Err(failure) => failure,
        };
        let rest = Change { max_items: None, ..change };
        match change.max_items {
            Some("max") => {
                self.next = Some(Step::Write(Change { max_items: Some("64"), ..change }));
                Verdict::Go(None)
            }
            Some(_) => {
                self.next = (rest != Change::default()).then_some(Step::Write(rest));
                self.give_up_several()
            }
            None if change.close => {
                self.next = None;
                Verdict::Blocked(format!("{} is open to everybody and cannot be closed: {failure}", self.node))
            }
            None => {
                self.next = None;
                Verdict::Go(None)
            }
        }
    }

    fn judge(&mut self, config: &NodeConfig) -> Verdict {
        let mut change = Change { persist: config.persist_items == Some(false), ..Change::default() };
        let mut warning = None;
        match config.access_model.as_deref() {
            Some("open") => {
                change.close = true;
                warning = Some(format!("{} was open to everybody; it is limited to contacts now", self.node));
            }
            Some("presence") | None => {}
            Some(_) => self.keep_access = true,
        }
        let items = config.max_items.as_deref();
        let enough = items == Some("max") || items.and_then(|n| n.parse().ok()).is_some_and(|n: u32| n >= ENOUGH_ITEMS);
        change.max_items = (self.several && !enough).then_some("max");
        self.level = self.level.max(Level::Plain);
        self.next = (change != Change::default()).then_some(Step::Write(change));
        Verdict::Go(warning)
    }

    fn give_up_several(&mut self) -> Verdict {
        if std::mem::take(&mut self.several) { Verdict::OneItem } else { Verdict::Go(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(condition: &str) -> Failure {
        Failure::Refused { condition: condition.into(), detail: None, text: None }
    }

    fn config(access: &str, max: &str) -> NodeConfig {
        NodeConfig { access_model: Some(access.into()), max_items: Some(max.into()), persist_items: Some(true) }
    }

    fn write(setup: &Setup) -> Change {
        match setup.next() {
            Some(Step::Write(change)) => change,
            other => panic!("expected a change, got {other:?}"),
        }
    }

    #[test]
    fn unknown_options_lead_to_the_owners_configuration() {
        let mut setup = Setup::new("n", true);
        assert_eq!(setup.options(), Some(Options { presence_access: true, max_items: Some("max") }));
        assert_eq!(setup.refused(&refused("resource-constraint")), Verdict::Go(None));
        assert_eq!(setup.next(), Some(Step::Read));
        assert_eq!(setup.read(Ok(&config("presence", "1"))), Verdict::Go(None));
        let change = write(&setup);
        assert_eq!(change, Change { max_items: Some("max"), ..Change::default() });
        assert_eq!(setup.written(change, Ok(())), Verdict::Go(None));
        assert_eq!((setup.next(), setup.options()), (None, Some(Options { presence_access: true, max_items: None })));
    }

    #[test]
    fn a_node_that_does_not_exist_is_made_first() {
        let mut setup = Setup::new("n", true);
        let _ = setup.refused(&refused("resource-constraint"));
        assert_eq!(setup.read(Err(&refused("item-not-found"))), Verdict::Go(None));
        assert_eq!(setup.next(), None);
        setup.published();
        assert_eq!(setup.next(), Some(Step::Read));
        let _ = setup.read(Ok(&config("presence", "max")));
        setup.published();
        assert_eq!(setup.next(), None, "looked at once");
    }

    #[test]
    fn a_publish_that_met_the_making_of_its_node_is_repeated_at_once() {
        let mut setup = Setup::new("n", true);
        for _ in 0..MAX_COLLISIONS {
            assert_eq!(setup.refused(&refused("item-not-found")), Verdict::Go(None));
            assert_eq!(setup.next(), None);
        }
        assert_eq!(setup.refused(&refused("item-not-found")), Verdict::Later);
    }

    #[test]
    fn max_then_sixty_four_then_one_item() {
        let mut setup = Setup::new("n", true);
        let _ = setup.refused(&refused("conflict"));
        let _ = setup.read(Ok(&config("presence", "1")));
        assert_eq!(setup.written(write(&setup), Err(&refused("bad-request"))), Verdict::Go(None));
        assert_eq!(write(&setup).max_items, Some("64"));
        assert_eq!(setup.written(write(&setup), Err(&refused("bad-request"))), Verdict::OneItem);
        assert_eq!(setup.next(), None);
    }

    #[test]
    fn an_open_node_is_closed_or_not_used() {
        let mut setup = Setup::new("n", false);
        let _ = setup.refused(&refused("conflict"));
        let Verdict::Go(Some(warning)) = setup.read(Ok(&config("open", "1"))) else { panic!("no warning") };
        assert!(warning.contains("open to everybody"));
        assert!(write(&setup).close);
        assert!(matches!(setup.written(write(&setup), Err(&refused("forbidden"))), Verdict::Blocked(_)));

        let mut setup = Setup::new("n", false);
        let _ = setup.refused(&refused("conflict"));
        assert!(matches!(setup.read(Err(&refused("forbidden"))), Verdict::Blocked(_)));
    }

    #[test]
    fn a_stricter_node_stays_as_it_is() {
        let mut setup = Setup::new("n", false);
        let _ = setup.refused(&refused("conflict"));
        assert_eq!(setup.read(Ok(&config("whitelist", "1"))), Verdict::Go(None));
        assert_eq!((setup.next(), setup.options()), (None, Some(Options { presence_access: false, max_items: None })));
    }

    #[test]
    fn disagreement_ends() {
        let mut setup = Setup::new("n", true);
        for _ in 0..MAX_ATTEMPTS {
            assert_eq!(setup.refused(&refused("conflict")), Verdict::Go(None));
            let _ = setup.read(Ok(&config("presence", "max")));
        }
        assert!(matches!(setup.refused(&refused("conflict")), Verdict::Blocked(_)));
        assert_eq!(setup.refused(&refused("forbidden")), Verdict::Later);
        assert_eq!(setup.refused(&Failure::TimedOut), Verdict::Later);
    }
}
