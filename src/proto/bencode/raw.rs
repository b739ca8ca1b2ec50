//! Where values begin and end, without building anything (BEP 3).
//!
//! An info hash is taken over the exact bytes of a dictionary as they came, so somebody has to know the range. The same
//! scanner reads the tokens for [`Node`](super::Node). Keys may be unsorted or repeated; the first one counts.

use std::ops::Range;

use super::decode::BencodeError;

/// Nesting that is followed. Real torrents need 5 levels, DHT messages 4.
pub const MAX_DEPTH: usize = 32;

/// Length in bytes of the value at the front of `input`; whatever follows it is not looked at.
///
/// # Errors
/// [`BencodeError`] if `input` does not begin with a complete value or nests deeper than [`MAX_DEPTH`].
pub fn value_span(input: &[u8]) -> Result<usize, BencodeError> {
    let mut scanner = Scanner::new(input);
    scanner.skip(MAX_DEPTH)?;
    Ok(scanner.at)
}

/// The range of the value stored under `key` in the dictionary at the front of `input`. `None` if there is no such key
/// or if what comes before it is no well-formed dictionary.
#[must_use]
pub fn dict_entry(input: &[u8], key: &[u8]) -> Option<Range<usize>> {
    let mut scanner = Scanner::new(input);
    if !scanner.open(b'd') {
        return None;
    }
    while !scanner.close() {
        let found = scanner.bytes().ok()? == key;
        let start = scanner.at;
        scanner.skip(MAX_DEPTH - 1).ok()?;
        if found {
            return Some(start..scanner.at);
        }
    }
    None
}

/// Reads one token after the other.
pub(super) struct Scanner<'a> {
    input: &'a [u8],
    /// Bytes read so far; never beyond the input.
    pub(super) at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// The next byte, not consumed.
    pub(super) fn peek(&self) -> Result<u8, BencodeError> {
        self.input.get(self.at).copied().ok_or(BencodeError::UnexpectedEnd)
    }

    /// Consumes the next byte if it is `byte`.
    pub(super) fn open(&mut self, byte: u8) -> bool {
        let found = self.input.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Consumes the end of a list or dictionary if it comes next.
    pub(super) fn close(&mut self) -> bool {
        self.open(b'e')
    }

    /// A byte string.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BencodeError> {
        let start = self.at;
        let digits = self.digits()?;
        if !self.open(b':') {
            return Err(self.unexpected());
        }
        // No input is longer than `usize`, so a length that does not parse lies beyond the end as well.
        let len: usize = digits.parse().map_err(|_| BencodeError::StringTooLong(start))?;
        let end = self.at.checked_add(len).ok_or(BencodeError::StringTooLong(start))?;
        let bytes = self.input.get(self.at..end).ok_or(BencodeError::StringTooLong(start))?;
        self.at = end;
        Ok(bytes)
    }

    /// An integer, `i` and `e` included.
    pub(super) fn int(&mut self) -> Result<i64, BencodeError> {
        let start = self.at;
        if !self.open(b'i') {
            return Err(self.unexpected());
        }
        let negative = self.open(b'-');
        let digits = self.digits()?;
        if negative && digits == "0" {
            return Err(BencodeError::Number(start));
        }
        if !self.open(b'e') {
            return Err(self.unexpected());
        }
        // i64::MIN has no positive twin: parse wider than the result.
        let value: i128 = digits.parse().map_err(|_| BencodeError::IntegerRange(start))?;
        i64::try_from(if negative { -value } else { value }).map_err(|_| BencodeError::IntegerRange(start))
    }

    /// Consumes one whole value that nests at most `depth` levels.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), BencodeError> {
        match self.peek()? {
            b'i' => self.int().map(drop),
            b'l' => {
                let depth = self.enter(depth)?;
                while !self.close() {
                    self.skip(depth)?;
                }
                Ok(())
            }
            b'd' => {
                let depth = self.enter(depth)?;
                while !self.close() {
                    self.bytes()?;
                    self.skip(depth)?;
                }
                Ok(())
            }
            _ => self.bytes().map(drop),
        }
    }

    /// Consumes the `l` or `d` that was seen; the depth that is left for what is inside.
    pub(super) fn enter(&mut self, depth: usize) -> Result<usize, BencodeError> {
        let left = depth.checked_sub(1).ok_or(BencodeError::TooDeep(self.at))?;
        self.at += 1;
        Ok(left)
    }

    /// Decimal digits without leading zeros.
    fn digits(&mut self) -> Result<&'a str, BencodeError> {
        let start = self.at;
        let rest = self.input.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = rest.get(..count).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or_default();
        if digits.is_empty() {
            return Err(self.unexpected());
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(BencodeError::Number(start));
        }
        self.at += count;
        Ok(digits)
    }

    /// The error for a byte that cannot stand here.
    fn unexpected(&self) -> BencodeError {
        match self.input.get(self.at) {
            Some(byte) => BencodeError::UnexpectedByte { byte: *byte, at: self.at },
            None => BencodeError::UnexpectedEnd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_where_the_first_value_ends() {
        assert_eq!(value_span(b"i42e"), Ok(4));
        assert_eq!(value_span(b"3:abcdef"), Ok(5));
        assert_eq!(value_span(b"d8:msg_typei1ee\x00\x01raw data"), Ok(15));
        assert_eq!(value_span(b"ld1:ali0eeeei1e"), Ok(12));
    }

    #[test]
    fn entries_are_found_among_unsorted_and_repeated_keys() {
        let input = b"d4:zeta1:x4:infod1:bi1e1:ai2ee4:infoi9e3:endlee";
        let range = dict_entry(input, b"info").unwrap();
        assert_eq!(&input[range], b"d1:bi1e1:ai2ee");
        assert_eq!(dict_entry(input, b"a"), None);
        assert_eq!(dict_entry(b"l4:infoi1ee", b"info"), None);
        assert_eq!(dict_entry(b"d4:info3:ab", b"info"), None);
    }

    #[test]
    fn broken_values_are_refused() {
        for (input, error) in [
            (&b""[..], BencodeError::UnexpectedEnd),
            (b"l", BencodeError::UnexpectedEnd),
            (b"i12", BencodeError::UnexpectedEnd),
            (b"i-0e", BencodeError::Number(0)),
            (b"i01e", BencodeError::Number(1)),
            (b"01:a", BencodeError::Number(0)),
            (b"ie", BencodeError::UnexpectedByte { byte: b'e', at: 1 }),
            (b"i-e", BencodeError::UnexpectedByte { byte: b'e', at: 2 }),
            (b"i1x", BencodeError::UnexpectedByte { byte: b'x', at: 2 }),
            (b"di1ei2ee", BencodeError::UnexpectedByte { byte: b'i', at: 1 }),
            (b"d1:ae", BencodeError::UnexpectedByte { byte: b'e', at: 4 }),
            (b"e", BencodeError::UnexpectedByte { byte: b'e', at: 0 }),
            (b"5:abcd", BencodeError::StringTooLong(0)),
            (b"18446744073709551615:a", BencodeError::StringTooLong(0)),
            (b"99999999999999999999999:a", BencodeError::StringTooLong(0)),
            (b"i9223372036854775808e", BencodeError::IntegerRange(0)),
        ] {
            assert_eq!(value_span(input), Err(error), "{}", input.escape_ascii());
        }
        assert_eq!(value_span(b"i-9223372036854775808e"), Ok(22));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        assert_eq!(value_span(&nested(MAX_DEPTH)), Ok(2 * MAX_DEPTH));
        assert_eq!(value_span(&nested(MAX_DEPTH + 1)), Err(BencodeError::TooDeep(MAX_DEPTH)));
        assert_eq!(value_span(&b"d1:a".repeat(1_000_000)), Err(BencodeError::TooDeep(4 * MAX_DEPTH)));
    }
}
