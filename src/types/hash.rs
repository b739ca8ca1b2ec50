//! Hashes that name torrents and pieces. Shown and parsed as lower-case hex.

use std::fmt;
use std::str::FromStr;

/// A text that should have been a hash was not one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashParseError {
    /// The number of characters is wrong.
    Length {
        /// Characters that a hash of this kind has.
        expected: usize,
        /// Characters that were found.
        found: usize,
    },
    /// A character is no hexadecimal digit.
    Digit(char),
}

impl fmt::Display for HashParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => write!(f, "a hash has {expected} characters, this has {found}"),
            Self::Digit(c) => write!(f, "{c:?} is not a hexadecimal digit"),
        }
    }
}

impl std::error::Error for HashParseError {}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps the raw bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes, as they stand on the wire.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // At once: a text that grows digit by digit is moved in memory several times.
                let mut digits = [0; 2 * $len];
                f.pad(write_hex(&self.0, &mut digits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = HashParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $len];
                parse_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

hash_type!(
    /// SHA-1 over the raw bytes of a torrent's info dictionary: the torrent's name on every wire (BEP 3).
    InfoHash, 20
);
hash_type!(
    /// SHA-256 over the raw bytes of a version 2 info dictionary (BEP 52).
    InfoHashV2, 32
);
hash_type!(
    /// SHA-1 over one piece's bytes (BEP 3, `pieces`).
    PieceHash, 20
);

/// The bytes as lower-case hex, in `digits`, which has twice their length.
fn write_hex<'a>(bytes: &[u8], digits: &'a mut [u8]) -> &'a str {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + (half - 10) };
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

fn parse_hex(text: &str, out: &mut [u8]) -> Result<(), HashParseError> {
    let expected = out.len() * 2;
    let found = text.chars().count();
    if found != expected {
        return Err(HashParseError::Length { expected, found });
    }
    let mut digits = text.chars().map(|c| c.to_digit(16).ok_or(HashParseError::Digit(c)));
    for byte in out {
        let high = digits.next().unwrap_or(Ok(0))?;
        let low = digits.next().unwrap_or(Ok(0))?;
        // Both digits are below 16, so the sum is below 256.
        *byte = u8::try_from(high * 16 + low).unwrap_or(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_ignores_case() {
        let text = "0123456789abcdef0123456789ABCDEF01234567";
        let hash: InfoHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text.to_lowercase());
        assert_eq!(hash.as_bytes()[..3], [0x01, 0x23, 0x45]);
    }

    #[test]
    fn wrong_texts_are_named() {
        assert_eq!("abc".parse::<InfoHash>(), Err(HashParseError::Length { expected: 40, found: 3 }));
        assert_eq!("g".repeat(40).parse::<InfoHash>(), Err(HashParseError::Digit('g')));
        assert_eq!("é".repeat(40).parse::<InfoHash>(), Err(HashParseError::Digit('é')));
    }
}
