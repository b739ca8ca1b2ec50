//! Which login to use of those a server offers, so that nobody between can choose a weaker one. Pure.
//!
//! The list of mechanisms is read before anything proves who sent it: whoever holds a certificate for the domain can
//! shorten it. Three things stand against that. The login is bound to the channel where both sides can (`-PLUS`, the
//! types of XEP-0440; a server that announces none is tried with what there is, one that announces only types unknown
//! here has to sign that). The strongest login that ever succeeded is remembered, and a weaker one refused. And where the server signs its list (XEP-0474), the list is
//! checked: that also lets a server that really offers less now be believed.

use super::sasl::{ChannelBinding, Mechanism, SaslError};
use super::stream::Features;
use crate::types::sort;

/// What separates two names in the text that the server signs, and the two lists (XEP-0474 section 4).
const NAME_END: &str = "\u{1e}";
const LIST_END: &str = "\u{1f}";

/// What a TLS connection has that a login can be bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// Keying material of this connection (RFC 9266).
    pub exporter: Option<[u8; 32]>,
    /// The hash of the server's certificate (RFC 5929 section 4.1).
    pub end_point: Option<Vec<u8>>,
}

impl Channel {
    /// The ways to bind to it, best first: keys are of this connection only, a certificate is of all.
    fn bindings(&self) -> impl Iterator<Item = ChannelBinding> {
        let exporter = self.exporter.map(ChannelBinding::Exporter);
        exporter.into_iter().chain(self.end_point.clone().map(ChannelBinding::EndPoint))
    }
}

/// What the server says that it offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Names of mechanisms.
    pub mechanisms: Vec<String>,
    /// Types of channel binding (XEP-0440), if it says which.
    pub bindings: Option<Vec<String>>,
}

impl Offer {
    /// Reads it from the features of a stream.
    pub fn of(features: &Features) -> Self {
        Self { mechanisms: features.mechanisms(), bindings: features.channel_bindings() }
    }

    /// The text whose hash the server signs (XEP-0474 section 4).
    fn signed_text(&self) -> String {
        let joined = |names: &[String]| {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            sort(&mut names);
            names.join(NAME_END)
        };
        let mechanisms = joined(&self.mechanisms);
        self.bindings
            .as_ref()
            .map_or_else(|| mechanisms.clone(), |kinds| mechanisms.clone() + LIST_END + &joined(kinds))
    }

    fn has(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.iter().any(|name| name == mechanism.name())
    }
}

/// What the user and earlier logins say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// PLAIN may be used, inside TLS to a verified server.
    pub allow_plain: bool,
    /// The strongest mechanism that this account ever logged in with.
    pub seen: Option<Mechanism>,
    /// Types of channel binding that the server did not know although it announced none.
    pub unknown_bindings: Vec<&'static str>,
}

/// A login to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// What it is bound to.
    pub binding: ChannelBinding,
    /// The offer, as a server signs it; `None`: not looked at.
    pub offered: Option<String>,
    /// It is weaker than both sides should be able to do: why not to go on unless the server signs the offer.
    pub unless_signed: Option<SaslError>,
}

impl From<Mechanism> for Choice {
    /// This mechanism, bound to nothing.
    fn from(mechanism: Mechanism) -> Self {
        Self { mechanism, binding: ChannelBinding::Unsupported, offered: None, unless_signed: None }
    }
}

/// The strongest login that both sides have.
///
/// # Errors
/// [`SaslError::NoMechanism`] if nothing fits; [`SaslError::Weaker`] or [`SaslError::UnknownBindings`] if only PLAIN is
/// left where better was to be expected, since a server cannot sign anything then.
pub fn choose(offer: &Offer, channel: &Channel, policy: &Policy) -> Result<Choice, SaslError> {
    let offers_bound = Mechanism::ALL.into_iter().any(|mechanism| mechanism.is_bound() && offer.has(mechanism));
    let bound = channel.bindings().find(|binding| {
        let known = |kind| !policy.unknown_bindings.contains(&kind);
        let announced = |kind| offer.bindings.as_ref().is_none_or(|kinds| kinds.iter().any(|offered| offered == kind));
        binding.kind().is_some_and(|kind| known(kind) && announced(kind))
    });
    // To a server that does offer it, "y" would say that somebody has taken the offer away, and the login would fail.
    let unbound = match channel.bindings().next() {
        Some(_) if !offers_bound => ChannelBinding::NotOffered,
        _ => ChannelBinding::Unsupported,
    };
    let usable = |mechanism: &Mechanism| match mechanism {
        Mechanism::Plain => policy.allow_plain,
        Mechanism::Scram(_) => true,
        Mechanism::ScramPlus(_) => bound.is_some(),
    };
    let Some(mechanism) = Mechanism::ALL.into_iter().rev().filter(usable).find(|mechanism| offer.has(*mechanism))
    else {
        return Err(SaslError::no_mechanism(&offer.mechanisms));
    };
    let weaker = policy.seen.filter(|seen| mechanism < *seen).map(|_| SaslError::Weaker(mechanism.name()));
    let unless_signed = weaker.or_else(|| {
        // Whoever holds a certificate could announce a type that nobody knows, and would have an unbound login.
        let kinds = offer.bindings.as_ref().filter(|_| offers_bound && bound.is_none())?;
        channel.bindings().next().map(|_| SaslError::unknown_bindings(kinds))
    });
    if let Some(error) = unless_signed.as_ref().filter(|_| mechanism == Mechanism::Plain) {
        return Err(error.clone());
    }
    let binding = if mechanism.is_bound() { bound.unwrap_or(unbound) } else { unbound };
    Ok(Choice { mechanism, binding, offered: Some(offer.signed_text()), unless_signed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xmpp::sasl::HashKind;

    const PLUS_256: Mechanism = Mechanism::ScramPlus(HashKind::Sha256);

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn offer(mechanisms: &[&str]) -> Offer {
        Offer { mechanisms: names(mechanisms), bindings: None }
    }

    fn channel() -> Channel {
        Channel { exporter: Some([7; 32]), end_point: Some(vec![8; 32]) }
    }

    fn seen(mechanism: Mechanism) -> Policy {
        Policy { allow_plain: true, seen: Some(mechanism), ..Policy::default() }
    }

    fn chosen(offer: &Offer, channel: &Channel) -> (Mechanism, ChannelBinding) {
        let choice = choose(offer, channel, &Policy { allow_plain: true, ..Policy::default() }).unwrap();
        (choice.mechanism, choice.binding)
    }

    #[test]
    fn a_bound_login_is_better_than_a_longer_hash() {
        let all: Vec<&str> = Mechanism::ALL.map(Mechanism::name).into();
        let mut left = offer(&all);
        let order = ["SHA-512-PLUS", "SHA-256-PLUS", "SHA-1-PLUS", "SHA-512", "SHA-256", "SHA-1"];
        for name in order {
            let (mechanism, _) = chosen(&left, &channel());
            assert_eq!(mechanism.name(), format!("SCRAM-{name}"));
            left.mechanisms.retain(|offered| offered != mechanism.name());
        }
        assert_eq!(chosen(&left, &channel()).0, Mechanism::Plain);
    }

    #[test]
    fn plain_is_used_only_when_allowed_and_unknown_names_never() {
        let error = choose(&offer(&["PLAIN", "DIGEST-MD5\u{1b}"]), &channel(), &Policy::default()).unwrap_err();
        assert_eq!(error, SaslError::NoMechanism { offered: "PLAIN, DIGEST-MD5".into(), plain_refused: true });
        assert!(error.to_string().contains("not allowed by the configuration"));
        for nothing in [offer(&[]), offer(&["scram-sha-256", "X-OAUTH2"])] {
            assert!(choose(&nothing, &channel(), &seen(Mechanism::Plain)).is_err());
        }
    }

    #[test]
    fn the_binding_is_one_that_both_sides_know() {
        let both = |kinds: Option<&[&str]>| Offer {
            mechanisms: names(&["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]),
            bindings: kinds.map(names),
        };
        let (exporter, end_point) = (ChannelBinding::Exporter([7; 32]), ChannelBinding::EndPoint(vec![8; 32]));
        assert_eq!(chosen(&both(None), &channel()), (PLUS_256, exporter.clone()));
        assert_eq!(chosen(&both(Some(&["tls-server-end-point", "tls-exporter"])), &channel()), (PLUS_256, exporter));
        assert_eq!(chosen(&both(Some(&["tls-server-end-point"])), &channel()), (PLUS_256, end_point));
        let unbound = Mechanism::Scram(HashKind::Sha256);
        let with_tls_12 = Channel { exporter: None, ..channel() };
        assert_eq!(chosen(&both(None), &with_tls_12), (PLUS_256, ChannelBinding::EndPoint(vec![8; 32])));
        assert_eq!(chosen(&both(None), &Channel::default()), (unbound, ChannelBinding::Unsupported));
    }

    #[test]
    fn nobody_is_talked_out_of_binding_by_types_that_nobody_knows() {
        let announcing =
            |mechanisms: &[&str], kinds: &[&str]| Offer { mechanisms: names(mechanisms), bindings: Some(names(kinds)) };
        let both = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
        for kinds in [&["tls-foo", "tls-\u{1b}"][..], &["tls-unique"], &[]] {
            let choice = choose(&announcing(&both, kinds), &channel(), &Policy::default()).unwrap();
            assert_eq!(choice.binding, ChannelBinding::Unsupported, "it does offer it");
            let error = choice.unless_signed.unwrap().to_string();
            assert!(error.contains("only in ways that are not known here") && !error.contains('\u{1b}'), "{error}");
            // Where there is nothing to bind to, nothing is lost.
            let choice = choose(&announcing(&both, kinds), &Channel::default(), &Policy::default()).unwrap();
            assert_eq!(choice.unless_signed, None);
            // PLAIN could not be signed.
            let policy = Policy { allow_plain: true, ..Policy::default() };
            let error = choose(&announcing(&["PLAIN", "SCRAM-SHA-1-PLUS"], kinds), &channel(), &policy).unwrap_err();
            assert!(matches!(error, SaslError::UnknownBindings(_)), "{error}");
        }
        // One that is known is enough, and a server that binds to nothing may announce what it likes.
        for (mechanisms, kinds) in [(&both[..], &["tls-foo", "tls-exporter"][..]), (&["SCRAM-SHA-256"], &["tls-foo"])] {
            let choice = choose(&announcing(mechanisms, kinds), &channel(), &Policy::default()).unwrap();
            assert_eq!(choice.unless_signed, None);
        }
    }

    #[test]
    fn a_server_that_offers_no_binding_hears_that_it_could_have() {
        let (_, binding) = chosen(&offer(&["SCRAM-SHA-1"]), &channel());
        assert_eq!(binding, ChannelBinding::NotOffered);
        let (_, binding) = chosen(&offer(&["SCRAM-SHA-1"]), &Channel::default());
        assert_eq!(binding, ChannelBinding::Unsupported);
    }

    #[test]
    fn types_that_turned_out_to_be_unknown_are_not_tried_again() {
        let offer = offer(&["SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"]);
        let mut policy = Policy { unknown_bindings: vec!["tls-exporter"], ..Policy::default() };
        let choice = choose(&offer, &channel(), &policy).unwrap();
        assert_eq!(choice.binding.kind(), Some("tls-server-end-point"));
        policy.unknown_bindings.push("tls-server-end-point");
        let choice = choose(&offer, &channel(), &policy).unwrap();
        assert_eq!((choice.mechanism.name(), choice.binding), ("SCRAM-SHA-1", ChannelBinding::Unsupported));
    }

    #[test]
    fn what_is_weaker_than_before_needs_the_servers_signature_and_plain_can_have_none() {
        let weak = offer(&["PLAIN", "SCRAM-SHA-1"]);
        let unless_signed =
            |offer, before| choose(offer, &channel(), &seen(Mechanism::named(before).unwrap())).unwrap().unless_signed;
        assert_eq!(unless_signed(&weak, "SCRAM-SHA-1"), None);
        assert_eq!(unless_signed(&weak, "SCRAM-SHA-256"), Some(SaslError::Weaker("SCRAM-SHA-1")));
        let stripped = offer(&["SCRAM-SHA-512"]);
        assert_eq!(unless_signed(&stripped, "SCRAM-SHA-1-PLUS"), Some(SaslError::Weaker("SCRAM-SHA-512")));
        let error = choose(&offer(&["PLAIN"]), &channel(), &seen(Mechanism::Scram(HashKind::Sha1))).unwrap_err();
        assert_eq!(error, SaslError::Weaker("PLAIN"));
    }

    #[test]
    fn the_signed_text_is_that_of_the_xep() {
        let mut offer = offer(&["SCRAM-SHA-256", "PLAIN", "SCRAM-SHA-1"]);
        assert_eq!(offer.signed_text(), "PLAIN\u{1e}SCRAM-SHA-1\u{1e}SCRAM-SHA-256");
        offer.bindings = Some(names(&["tls-server-end-point", "tls-exporter"]));
        assert!(offer.signed_text().ends_with("SCRAM-SHA-256\u{1f}tls-exporter\u{1e}tls-server-end-point"));
    }
}
