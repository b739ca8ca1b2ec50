//! What follows an answer's head. A long list is written row by row while it is sent, so that its text is never in
//! memory as a whole.

use std::borrow::Cow;
use std::collections::VecDeque;

/// The bytes of an answer, or what makes them.
#[derive(Default)]
pub struct Body {
    /// What is still to be sent.
    parts: VecDeque<Part>,
    /// Bytes of all parts.
    len: usize,
}

enum Part {
    Bytes { bytes: Cow<'static, [u8]>, sent: usize },
    Rows { rows: Rows, next: usize },
}

/// Writes the row with this number, counted from 0.
pub type WriteRow = Box<dyn Fn(usize, &mut Vec<u8>) + Send>;

/// The elements of a JSON list. Each is written twice, first to learn its length, and must be the same both times.
pub struct Rows {
    count: usize,
    len: usize,
    write: WriteRow,
}

impl Rows {
    /// So many rows, each written by `write` as one JSON value.
    #[must_use]
    pub fn new(count: usize, write: WriteRow) -> Self {
        let mut row = Vec::new();
        let lengths = (0..count).map(|number| {
            row.clear();
            write(number, &mut row);
            row.len()
        });
        let separators = count.saturating_sub(1);
        let len = lengths.sum::<usize>() + separators;
        Self { count, len, write }
    }
}

impl Body {
    /// Bytes in all, sent ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there never was a byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: impl Into<Cow<'static, [u8]>>) {
        let bytes = bytes.into();
        self.len += bytes.len();
        self.parts.push_back(Part::Bytes { bytes, sent: 0 });
    }

    /// Adds rows at the end, with commas between them.
    pub fn push_rows(&mut self, rows: Rows) {
        self.len += rows.len;
        self.parts.push_back(Part::Rows { rows, next: 0 });
    }

    /// Adds another body at the end.
    pub fn append(&mut self, mut other: Self) {
        self.len += other.len;
        self.parts.append(&mut other.parts);
    }

    /// Takes the next bytes out, until `out` has at least `enough` or nothing is left. A row is not cut.
    pub fn take(&mut self, out: &mut Vec<u8>, enough: usize) {
        while out.len() < enough
            && let Some(part) = self.parts.front_mut()
        {
            if part.take(out, enough) {
                self.parts.pop_front();
            }
        }
    }

    /// All of it at once.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len);
        self.take(&mut out, usize::MAX);
        out
    }
}

impl Part {
    /// Takes the next bytes out. True if these were the last.
    fn take(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        match self {
            Self::Bytes { bytes, sent } => {
                let rest = bytes.get(*sent..).unwrap_or_default();
                let now = rest.get(..enough.saturating_sub(out.len())).unwrap_or(rest);
                out.extend_from_slice(now);
                *sent += now.len();
                *sent >= bytes.len()
            }
            Self::Rows { rows, next } => {
                while *next < rows.count && out.len() < enough {
                    if *next > 0 {
                        out.push(b',');
                    }
                    (rows.write)(*next, out);
                    *next += 1;
                }
                *next >= rows.count
            }
        }
    }
}

impl<T: Into<Cow<'static, [u8]>>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let mut body = Self::default();
        body.push(bytes);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize) -> Body {
        let mut body = Body::from(&b"["[..]);
        body.push_rows(Rows::new(count, Box::new(|number, out| out.extend(number.to_string().into_bytes()))));
        body.push(&b"]"[..]);
        body
    }

    #[test]
    fn rows_are_separated_and_their_length_is_known_before() {
        for (count, text) in [(0, "[]"), (1, "[0]"), (12, "[0,1,2,3,4,5,6,7,8,9,10,11]")] {
            let body = list(count);
            assert_eq!(body.len(), text.len());
            assert_eq!(body.into_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_taken_in_parts_is_the_same_as_the_whole() {
        for enough in 1..20 {
            let (mut body, mut all, mut out) = (list(12), Vec::new(), Vec::new());
            loop {
                body.take(&mut out, enough);
                if out.is_empty() {
                    break;
                }
                assert!(out.len() < enough + 3, "a row more than asked for at most");
                all.append(&mut out);
            }
            assert_eq!(all, list(12).into_bytes(), "{enough}");
        }
    }

    #[test]
    fn bodies_are_sent_one_after_the_other() {
        let mut body = list(2);
        body.append(list(1));
        assert_eq!((body.len(), body.is_empty()), (8, false));
        assert_eq!(body.into_bytes(), b"[0,1][0]");
        assert!(Body::default().is_empty());
    }
}
