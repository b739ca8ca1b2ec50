//! `[xmpp]` once, or `[[xmpp]]` for each of several accounts.
//!
//! Some of the section's keys are about contacts, not about one account. They count for the whole program and may stand in
//! any of the sections; two that say different things are an error that names both places.

use std::fmt;
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::line_of;
use super::sections::XmppConfig;
use crate::proto::account::is_same_account;

/// The sections in the order of the file, at least one.
#[derive(Debug)]
pub(super) struct Sections(pub(super) Vec<XmppConfig>);

impl Default for Sections {
    fn default() -> Self {
        Self(vec![XmppConfig::default()])
    }
}

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Sections;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sections, A::Error> {
        XmppConfig::deserialize(MapAccessDeserializer::new(map)).map(|section| Sections(vec![section]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sections, A::Error> {
        let mut sections = Vec::new();
        while let Some(section) = seq.next_element()? {
            sections.push(section);
        }
        Ok(if sections.is_empty() { Sections::default() } else { Sections(sections) })
    }
}

/// A key that counts for the whole program.
struct Shared {
    name: &'static str,
    is_same: fn(&XmppConfig, &XmppConfig) -> bool,
    copy: fn(&XmppConfig, &mut XmppConfig),
}

macro_rules! shared {
    ($($key:ident),*) => {
        [$(Shared {
            name: stringify!($key),
            is_same: |one, other| one.$key == other.$key,
            copy: |from, to| to.$key.clone_from(&from.$key),
        }),*]
    };
}

const SHARED: [Shared; 5] = shared!(
    allow_loopback_peers,
    allow_privileged_ports,
    extra_addresses,
    max_shares_per_contact,
    max_addresses_per_contact
);

impl Sections {
    /// Gives every section the keys that count for the whole program, and checks that no account is there twice.
    /// `text` is what the sections were read from.
    pub(super) fn join(self, text: &str, path: &Path) -> Result<Vec<XmppConfig>, ConfigError> {
        let Self(mut sections) = self;
        // It was parsed before, so this does not fail; with one section there is nothing to join.
        let Some(tree) = DeTable::parse(text).ok().filter(|_| sections.len() > 1) else { return Ok(sections) };
        let tables: Vec<&DeTable<'_>> = tables(tree.get_ref().get("xmpp")).collect();
        let line = |number: usize, key: &str| {
            let value = tables.get(number).and_then(|table| table.get(key));
            value.map(|value| line_of(text, value.span().start))
        };
        let differ =
            |key: &'static str, first, second| ConfigError::Differ { path: path.to_owned(), key, first, second };
        for key in &SHARED {
            let mut places = (0..sections.len()).filter_map(|number| Some((number, line(number, key.name)?)));
            let Some((first, first_line)) = places.next() else { continue };
            let Some(said) = sections.get(first).cloned() else { continue };
            let other =
                places.find(|(number, _)| sections.get(*number).is_some_and(|section| !(key.is_same)(section, &said)));
            if let Some((_, second_line)) = other {
                return Err(differ(key.name, first_line, second_line));
            }
            sections.iter_mut().for_each(|section| (key.copy)(&said, section));
        }
        for (number, section) in sections.iter().enumerate() {
            let Some(jid) = &section.jid else { continue };
            let same = |other: &XmppConfig| {
                other.jid.as_ref().is_some_and(|other| is_same_account(other.as_str(), jid.as_str()))
            };
            if let Some(first) = sections.iter().take(number).position(same) {
                let (first, second) = (line(first, "jid").unwrap_or(1), line(number, "jid").unwrap_or(1));
                let jid = jid.bare().to_owned();
                return Err(ConfigError::Twice { path: path.to_owned(), jid, first, second });
            }
        }
        Ok(sections)
    }
}

/// The tables at a place of the file where there may be one or several.
pub(super) fn tables<'a, 'de>(value: Option<&'a Spanned<DeValue<'de>>>) -> impl Iterator<Item = &'a DeTable<'de>> {
    let one = value.and_then(|value| value.get_ref().as_table());
    let many = value.and_then(|value| value.get_ref().as_array());
    one.into_iter()
        .chain(many.into_iter().flat_map(|array| array.iter()).filter_map(|value| value.get_ref().as_table()))
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        Config::from_text(text, Some(Path::new("/etc/c.toml")), &Overrides::default())
    }

    fn message(text: &str) -> String {
        load(text).unwrap_err().to_string()
    }

    #[test]
    fn several_sections_are_several_accounts_with_common_limits() {
        let text = "[[xmpp]]\njid = 'a@x'\nca_file = 'ca.pem'\n[[xmpp]]\njid = 'b@y'\nmax_shares_per_contact = 5\nallow_plain = true";
        let config = load(text).unwrap();
        let jids: Vec<_> = config.xmpp_sections().filter_map(|section| Some(section.jid.as_ref()?.as_str())).collect();
        assert_eq!(jids, ["a@x", "b@y"]);
        assert_eq!(config.xmpp.max_shares_per_contact, 5, "it may stand anywhere");
        assert!(!config.xmpp.allow_plain, "that is the other account's");
        assert_eq!(config.xmpp.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn what_contradicts_itself_is_named_with_both_places() {
        let text = "[[xmpp]]\nallow_loopback_peers = true\n[[xmpp]]\n[[xmpp]]\nallow_loopback_peers = false";
        assert_eq!(
            message(text),
            "/etc/c.toml: `xmpp.allow_loopback_peers` counts for all accounts, but lines 2 and 5 say different things"
        );
        load("[[xmpp]]\nextra_addresses = ['::1']\n[[xmpp]]\nextra_addresses = [\"::1\"]").unwrap();
        assert_eq!(
            message("[[xmpp]]\njid = 'a@x/1'\n[[xmpp]]\njid = 'A@x'"),
            "/etc/c.toml: the account A@x is there twice, in lines 2 and 4"
        );
    }

    #[test]
    fn faults_in_one_of_several_sections_are_named_with_its_number() {
        assert_eq!(
            message("[[xmpp]]\njid = 'a@x'\n[[xmpp]]\njdi = 'b@y'"),
            "/etc/c.toml, line 4: unknown key `xmpp[2].jdi`, did you mean `xmpp.jid`?"
        );
        let text = message("[[xmpp]]\njid = 'a@x'\n[[xmpp]]\n\njid = 'nobody'");
        assert!(text.contains("line 5: `xmpp[2].jid`: \"nobody\" is not a JID"), "{text}");
        let text = message("[[xmpp]]\n[[xmpp]]\npassword = 12345");
        assert!(text.contains("xmpp[2].password") && !text.contains("12345"), "{text}");
        assert!(message("xmpp = 5").contains("line 1: `xmpp`: "), "{}", message("xmpp = 5"));
    }
}
