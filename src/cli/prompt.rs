//! Asks for a password at the terminal, without showing it.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::config::Secret;

/// Longest password, in bytes.
const MAX_LEN: usize = 1024;

/// Asks at the terminal, or reads the first line of standard input when that is a pipe.
///
/// # Errors
/// There is nobody to ask, or they pressed Ctrl-C.
pub(super) fn password(question: &str) -> io::Result<Secret> {
    let secret = if io::stdin().is_terminal() {
        let mut terminal = Terminal::open()?;
        terminal.file.write_all(question.as_bytes())?;
        let answer = read_hidden(&mut terminal.file);
        terminal.file.write_all(b"\n")?;
        answer?
    } else {
        let mut text = Zeroizing::new(String::new());
        io::stdin().take(MAX_LEN as u64 + 2).read_to_string(&mut text)?;
        Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
    };
    if secret.is_empty() {
        return Err(io::Error::other("no password was given"));
    }
    Ok(Secret::new(secret.to_string()))
}

/// The controlling terminal, silent until this is dropped.
struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&file)?;
        let mut silent = before.clone();
        // Signals are off as well: Ctrl-C must not leave a terminal behind that shows nothing.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&file, OptionalActions::Flush, &silent)?;
        Ok(Self { file, before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell resets it as well; there is nothing better to do here.
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}

/// Reads a line byte by byte, with the keys that a terminal would have handled.
fn read_hidden(input: &mut impl Read) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LEN));
    let mut byte = [0];
    loop {
        if input.read(&mut byte)? == 0 {
            break;
        }
        match byte {
            [b'\n' | b'\r'] => break,
            // Ctrl-C, Ctrl-D, Ctrl-\.
            [0x03 | 0x04 | 0x1c] => return Err(io::Error::new(io::ErrorKind::Interrupted, "cancelled")),
            [0x15] => line.clear(),
            // Backspace takes a whole character: its continuation bytes, then its first.
            [0x7f | 0x08] => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Others, such as Ctrl-Z, are no part of a password.
            [other] if line.len() < MAX_LEN && !other.is_ascii_control() => line.push(other),
            _ => {}
        }
    }
    std::str::from_utf8(&line).map(|text| Zeroizing::new(text.to_owned())).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> io::Result<String> {
        read_hidden(&mut &*keys).map(|text| text.to_string())
    }

    #[test]
    fn editing_keys_work_while_nothing_is_shown() {
        assert_eq!(typed(b"secret\nrest").unwrap(), "secret");
        assert_eq!(typed("aé\u{7f}b\r".as_bytes()).unwrap(), "ab");
        assert_eq!(typed(b"wrong\x15right\n").unwrap(), "right");
        assert_eq!(typed(b"\x7f\x7fx").unwrap(), "x");
        assert_eq!(typed(b"a\x1ab\t\n").unwrap(), "ab");
        assert_eq!(typed(b"abc\x03").unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
