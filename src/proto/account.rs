//! When two texts name the same XMPP account. Servers prepare JIDs (RFC 7622), users write them as they like.

/// Whether both name the same account, whatever the resource and however it is written.
#[must_use]
pub fn is_same_account(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|jid| jid.split_once('/').map_or(jid, |(bare, _)| bare));
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one == other || prepared(one) == prepared(other)
}

/// As a server has it.
#[cfg(feature = "xmpp")]
fn prepared(bare: &str) -> String {
    jid::BareJid::new(bare).map_or_else(|_| bare.to_owned(), |jid| jid.to_string())
}

/// Nobody logs in, so that this is near enough.
#[cfg(not(feature = "xmpp"))]
fn prepared(bare: &str) -> String {
    bare.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_is_written_in_many_ways() {
        for (one, other) in [
            ("alice@example.org/box", "Alice@Example.org"),
            ("Ü@x", "ü@x/r"),
            // Composed, and decomposed as some systems write it.
            #[cfg(feature = "xmpp")]
            ("u\u{308}@x", "\u{dc}@x"),
            #[cfg(feature = "xmpp")]
            ("straße@x", "STRASSE@x"),
            ("alice@x", "alice@x"),
        ] {
            assert!(is_same_account(one, other) && is_same_account(other, one), "{one} {other}");
        }
        for (one, other) in [("ü@x", "u@x"), ("ü@x", "ü@y"), ("alice@x", "bob@x"), ("@ü", "")] {
            assert!(!is_same_account(one, other), "{one} {other}");
        }
    }
}
