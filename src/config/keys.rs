//! Reads TOML into a struct and says exactly which key is wrong, where, and what was probably meant.
//!
//! serde alone stops at "unknown field" without the section. So the parsed tree is compared with the field names that
//! the structs declare (asked from their own `Deserialize`, so there is no second list to keep) before it is used.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::sections::{ApiConfig, BittorrentConfig, LogConfig, XmppConfig};
use super::several::tables;

/// The tables of the file and the keys each may have; "" is the top.
pub(super) fn known() -> [(&'static str, &'static [&'static str]); 5] {
    [
        ("", field_names::<super::ConfigFile>()),
        ("log", field_names::<LogConfig>()),
        ("xmpp", field_names::<XmppConfig>()),
        ("bittorrent", field_names::<BittorrentConfig>()),
        ("api", field_names::<ApiConfig>()),
    ]
}

/// Parses `text` into the configuration file's struct. `path` is only named in errors.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    let tree = DeTable::parse(text).map_err(|e| value_error(text, path, None, &e))?;
    check_names(text, path, tree.get_ref())?;
    toml::from_str(text).map_err(|e| value_error(text, path, Some(tree.get_ref()), &e))
}

fn check_names(text: &str, path: &Path, tree: &DeTable<'_>) -> Result<(), ConfigError> {
    let known = known();
    for (section, allowed) in known {
        let top = section.is_empty().then_some(tree);
        let value = tree.get(section).filter(|_| top.is_none());
        let many = value.is_some_and(|value| value.get_ref().is_array());
        for (number, table) in top.into_iter().chain(tables(value)).enumerate() {
            let wrong = table.keys().find(|key| !allowed.contains(&key.get_ref().as_ref()));
            let Some(key) = wrong else { continue };
            let name = key.get_ref().as_ref();
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                line: line_of(text, key.span().start),
                key: if many { joined(&numbered(section, number), name) } else { joined(section, name) },
                nearest: nearest(section, name, &known),
            });
        }
    }
    Ok(())
}

fn value_error(text: &str, path: &Path, tree: Option<&DeTable<'_>>, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let key = tree.and_then(|tree| key_at(tree, &span));
    // What stands at a secret's place must not be repeated, not even in an error.
    let secret = key.as_deref().is_some_and(|key| key.ends_with("password"));
    let reason = if secret { "expected a text in quotes".to_owned() } else { error.message().replace('\n', ", ") };
    ConfigError::Value { path: path.to_owned(), line: line_of(text, span.start), key, reason: in_plain_words(reason) }
}

/// The parser names types of the program; people know numbers.
fn in_plain_words(reason: String) -> String {
    let words = [
        ("u8", "a number from 0 to 255"),
        ("u16", "a number from 0 to 65535"),
        ("u32", "a number from 0 to 4294967295"),
        ("u64", "a number, not below 0"),
        ("usize", "a number, not below 0"),
    ];
    let plain = words.iter().find_map(|(name, words)| {
        Some(format!("{}expected {words}", reason.strip_suffix(name)?.strip_suffix("expected ")?))
    });
    plain.unwrap_or(reason)
}

/// The key whose value covers `span`.
fn key_at(tree: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let covers = |value: &Spanned<DeValue<'_>>| value.span().start <= span.start && span.end <= value.span().end;
    for (key, value) in tree {
        let many = value.get_ref().is_array();
        for (number, table) in tables(Some(value)).enumerate() {
            if let Some((inner, _)) = table.iter().find(|(_, value)| covers(value)) {
                let section = key.get_ref();
                return Some(joined(
                    &if many { numbered(section, number) } else { section.to_string() },
                    inner.get_ref(),
                ));
            }
        }
        if !value.get_ref().is_table() && covers(value) {
            return Some(key.get_ref().to_string());
        }
    }
    None
}

/// One of several sections of the same name, counted from 1 as people do.
fn numbered(section: &str, number: usize) -> String {
    format!("{section}[{}]", number + 1)
}

fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The known key that looks most like `name`: a typo of one in this section, or the same name elsewhere.
fn nearest(section: &str, name: &str, known: &[(&str, &[&str])]) -> Option<String> {
    let elsewhere = known.iter().find(|(_, keys)| keys.contains(&name)).map(|(other, _)| match *other {
        "" => format!("`{name}` at the top of the file, before any section"),
        other => format!("`{name}` in section `[{other}]`"),
    });
    let here = known.iter().find(|(other, _)| *other == section).map_or(&[][..], |(_, keys)| *keys);
    let typo = here.iter().map(|key| (distance(name, key), *key)).min();
    match typo {
        Some((steps, key)) if steps <= 2.max(1 + name.chars().count() / 4) => {
            Some(format!("`{}`", joined(section, key)))
        }
        _ => elsewhere,
    }
}

/// Levenshtein distance: single-character edits between two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let value = (diagonal + usize::from(from != to)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The field names a struct's derived `Deserialize` asks for.
fn field_names<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe refuses to give a value, so this always fails; the names are what is wanted.
    let _ = T::deserialize(Probe { names: &mut names });
    names
}

/// A deserializer that has no data and only notes which fields are asked for.
struct Probe<'a> {
    names: &'a mut &'static [&'static str],
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("the probe has no data"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.names = fields;
        Err(de::Error::custom("the probe has no data"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_tell_their_field_names() {
        assert_eq!(field_names::<LogConfig>(), ["level", "json"]);
        assert!(field_names::<XmppConfig>().contains(&"publish_original"));
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("port", "port"), 0);
        assert_eq!(distance("prot", "port"), 2);
        assert_eq!(distance("jdi", ""), 3);
        assert_eq!(distance("bnd", "bind"), 1);
    }
}
