//! The chunked transfer coding (RFC 9112 section 7.1), reading only.
//!
//! Extensions and trailers are skipped and bounded. Resumable at every byte.

use std::collections::VecDeque;

/// Longest line (chunk size with extensions, or trailer) in bytes.
const MAX_LINE: usize = 256;
/// Most trailer lines.
const MAX_TRAILERS: usize = 16;
/// Most hexadecimal digits of a chunk size: 32 bits, far over any body limit.
const MAX_SIZE_DIGITS: usize = 8;

/// The body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkedError {
    /// Not the format.
    Malformed,
    /// Over the body limit.
    TooLarge,
}

/// Where in the body we are.
#[derive(Debug, Default)]
pub(super) enum Chunked {
    /// A line with a chunk's size comes next.
    #[default]
    Size,
    /// This many bytes of the chunk are missing.
    Data(usize),
    /// The line end behind a chunk comes next.
    DataEnd,
    /// The last chunk was seen; this many trailer lines too.
    Trailer(usize),
}

impl Chunked {
    /// Moves decoded bytes from `input` to `body`. `Ok(true)` = the body is complete.
    pub(super) fn read(
        &mut self,
        input: &mut VecDeque<u8>,
        body: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, ChunkedError> {
        loop {
            match self {
                Self::Data(missing) => {
                    let take = (*missing).min(input.len());
                    body.extend(input.drain(..take));
                    *missing -= take;
                    if *missing > 0 {
                        return Ok(false);
                    }
                    *self = Self::DataEnd;
                }
                Self::Size => {
                    let Some(line) = take_line(input)? else { return Ok(false) };
                    let size = parse_size(&line)?;
                    if size > limit.saturating_sub(body.len()) {
                        return Err(ChunkedError::TooLarge);
                    }
                    *self = if size == 0 { Self::Trailer(0) } else { Self::Data(size) };
                }
                Self::DataEnd => match take_line(input)? {
                    Some(line) if line.is_empty() => *self = Self::Size,
                    Some(_) => return Err(ChunkedError::Malformed),
                    None => return Ok(false),
                },
                Self::Trailer(seen) => match take_line(input)? {
                    Some(line) if line.is_empty() => return Ok(true),
                    Some(_) if *seen < MAX_TRAILERS => *seen += 1,
                    Some(_) => return Err(ChunkedError::Malformed),
                    None => return Ok(false),
                },
            }
        }
    }
}

/// One line without its CRLF, or `None` if it is not complete.
fn take_line(input: &mut VecDeque<u8>) -> Result<Option<Vec<u8>>, ChunkedError> {
    let Some(end) = input.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if input.len() < MAX_LINE { Ok(None) } else { Err(ChunkedError::Malformed) };
    };
    let mut line: Vec<u8> = input.drain(..=end).collect();
    line.pop();
    // A bare line feed is where proxies and servers disagree.
    if line.pop() != Some(b'\r') || line.contains(&b'\r') {
        return Err(ChunkedError::Malformed);
    }
    Ok(Some(line))
}

fn parse_size(line: &[u8]) -> Result<usize, ChunkedError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > MAX_SIZE_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(ChunkedError::Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| ChunkedError::Malformed)?;
    usize::from_str_radix(text, 16).map_err(|_| ChunkedError::Malformed)
}
