//! What a machine of the local network calls itself: `user@machine` (XEP-0174 section 3).

use std::fmt;

use jid::BareJid;

/// Bytes of a DNS label, and so of an instance's name, at most.
const MAX_LABEL: usize = 63;

/// What makes a name a JID that no server can have: `.local` belongs to the link (RFC 6762 section 3).
const SUFFIX: &str = ".local";

/// A name that can be a contact's, in lower case and normalised as JIDs are. It is a claim: who is meant is decided by
/// the certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalName(String);

impl LocalName {
    /// A name made of whatever the system says; what does not fit in a name becomes `-`.
    #[must_use]
    pub fn made_of(user: &str, machine: &str) -> Self {
        let tidy = |text: &str, most: usize, otherwise: &str| {
            let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
            let text: String = text.chars().map(|c| fits(c).to_ascii_lowercase()).take(most).collect();
            let text = text.trim_matches('-').to_owned();
            if text.is_empty() { otherwise.to_owned() } else { text }
        };
        // A machine's name may be a domain: the first label says enough here.
        let machine = machine.split('.').next().unwrap_or_default().replace('_', "-");
        Self(format!("{}@{}", tidy(user, 24, "somebody"), tidy(&machine, 32, "machine")))
    }

    /// Reads `user@machine`, or `user@machine.local`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix(SUFFIX).unwrap_or(text);
        if text.len() > MAX_LABEL {
            return None;
        }
        let jid = BareJid::new(&format!("{text}{SUFFIX}")).ok()?;
        jid.node()?;
        Some(Self(jid.as_str().strip_suffix(SUFFIX)?.to_owned()))
    }

    /// The same with a number behind the user, for a network in which the name is taken: `user-1@machine`.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let (user, machine) = self.0.split_once('@').unwrap_or((&self.0, "machine"));
        Self(format!("{user}-{number}@{machine}"))
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands among other contacts: a bare JID.
    #[must_use]
    pub fn jid(&self) -> String {
        format!("{}{SUFFIX}", self.0)
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_system_says_becomes_a_name() {
        for (user, machine, name) in [
            ("alice", "box", "alice@box"),
            ("Alice Liddell", "Box.example.org", "alice-liddell@box"),
            ("", "", "somebody@machine"),
            ("ålice", "my_box", "lice@my-box"),
        ] {
            let made = LocalName::made_of(user, machine);
            assert_eq!(made.as_str(), name);
            assert_eq!(LocalName::parse(made.as_str()), Some(made), "it can be read");
        }
    }

    #[test]
    fn names_are_those_that_can_be_jids() {
        let parse = |text: &str| LocalName::parse(text).map(|name| name.jid());
        assert_eq!(parse("alice@box").as_deref(), Some("alice@box.local"));
        assert_eq!(parse("Alice@Box.local").as_deref(), Some("alice@box.local"));
        for bad in ["", "box", "@box", "alice@", "a b@box", "alice@box/pc", "alice@box\u{202e}", &"a@b".repeat(40)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(LocalName::parse("alice@box").unwrap().numbered(2).as_str(), "alice-2@box");
    }
}
