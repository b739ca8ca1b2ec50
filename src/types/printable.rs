//! Foreign text on a terminal or in a log line.
//!
//! Names, comments and the like come from strangers. A control character in them could drive the terminal, a
//! bidirectional control could make `gpj.exe` look like `exe.jpg`.

use std::fmt;

/// True for characters that do something instead of being seen, the one list for names of files, shares and contacts:
/// controls (C0, DEL, C1), bidirectional controls, line and paragraph separators, spaces and operators without width,
/// annotation marks, the byte order mark and noncharacters (which XML forbids as well). Joiners and tag letters, which
/// emoji and several scripts need, are fine.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0001}')
        || c as u32 & 0xfffe == 0xfffe
}

/// Shows a text with every unprintable character escaped, as in `\n` or `\u{202e}`.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            if is_unprintable(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_escaped_and_the_rest_is_kept() {
        let text = "a\x1b[2Jb\u{9b}\u{202e}gpj\u{2066}\n";
        assert_eq!(Printable(text).to_string(), "a\\u{1b}[2Jb\\u{9b}\\u{202e}gpj\\u{2066}\\n");
        for fine in ["Grüße 日本語 العربية", "👩‍👩‍👧 🏴\u{e0067}\u{e0062}\u{e007f} ok", "back\\slash \"quoted\""]
        {
            assert_eq!(Printable(fine).to_string(), fine);
        }
    }

    #[test]
    fn noncharacters_of_every_plane_are_unprintable() {
        assert!(is_unprintable('\u{ffff}') && is_unprintable('\u{1fffe}') && is_unprintable('\u{10ffff}'));
        assert!(!is_unprintable('\u{fffd}') && !is_unprintable('\u{1f600}'));
    }
}
