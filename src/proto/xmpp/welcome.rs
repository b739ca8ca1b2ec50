//! Whose requests to become a contact the user answers in advance: rules of the configuration. Pure.

use std::str::FromStr;

use jid::BareJid;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Welcome {
    /// This person.
    Person(BareJid),
    /// Everybody with an account of this domain.
    Domain(BareJid),
}

/// A rule that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither name@domain nor *@domain")]
pub struct NoRule;

impl Welcome {
    /// Does the rule speak of this account?
    #[must_use]
    pub fn fits(&self, jid: &BareJid) -> bool {
        match self {
            Self::Person(person) => person == jid,
            Self::Domain(domain) => jid.node().is_some() && domain.domain() == jid.domain(),
        }
    }
}

impl FromStr for Welcome {
    type Err = NoRule;

    /// `name@domain` or `*@domain`; never everybody.
    fn from_str(text: &str) -> Result<Self, NoRule> {
        let jid = |text: &str| BareJid::new(text).map_err(|_| NoRule);
        match text.strip_prefix("*@") {
            Some(domain) => Ok(Self::Domain(
                jid(domain).ok().filter(|jid| jid.node().is_none() && !domain.contains('*')).ok_or(NoRule)?,
            )),
            None => Ok(Self::Person(jid(text).ok().filter(|jid| jid.node().is_some()).ok_or(NoRule)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_person_or_a_domain_and_never_everybody() {
        let fits = |rule: &str, jid: &str| rule.parse::<Welcome>().unwrap().fits(&BareJid::new(jid).unwrap());
        assert!(fits("bob@example.org", "Bob@Example.ORG") && !fits("bob@example.org", "bob@example.net"));
        assert!(fits("*@example.org", "bob@example.org") && !fits("*@example.org", "bob@sub.example.org"));
        assert!(!fits("*@example.org", "example.org"), "a server is nobody's contact");
        for bad in ["*", "*@", "*@*", "@x", "", "example.org", "bob@example.org/phone", "*@a@b"] {
            assert_eq!(bad.parse::<Welcome>(), Err(NoRule), "{bad}");
        }
    }
}
