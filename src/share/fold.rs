//! Texts as they are compared when something is looked for: in lower case and composed.

use unicode_normalization::UnicodeNormalization;

/// Appends `text` as it is compared. What reads the same is the same then, whether an accent is a character of its own
/// (as systems differ in it) or not.
pub(super) fn push_folded(all: &mut String, text: &str) {
    if !text.is_ascii() {
        // Each character by itself: in a whole text the last sigma of a word becomes another letter than the one before
        // a dot, and a word of a query ends elsewhere than the same one in a name.
        let lower = text.nfc().flat_map(char::to_lowercase);
        return all.extend(lower.map(|c| if c == 'ς' { 'σ' } else { c }));
    }
    let start = all.len();
    all.push_str(text);
    if let Some(added) = all.get_mut(start..) {
        added.make_ascii_lowercase();
    }
}

/// A text as it is compared.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    push_folded(&mut folded, text);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_the_same_is_the_same() {
        for (a, b) in [
            ("Film", "FILM"),
            ("ΣΟΦΟΣ.mkv", "σοφος.mkv"),
            ("ΣΟΦΟΣ", "σοφοσ"),
            ("U\u{308}ber", "über"),
            ("CAFE\u{301}", "café"),
        ] {
            assert_eq!(folded(a), folded(b));
        }
        let mut all = "x".to_owned();
        push_folded(&mut all, "Ä B");
        assert_eq!(all, "xä b");
    }
}
