//! Peer ids and the client prefix in them (BEP 20).

use std::fmt;

/// The 20 bytes with which a client names itself in the handshake (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId([u8; 20]);

/// Azureus-style prefix of bitween: `-BW`, version 0.1.0, `-` (BEP 20).
const PREFIX: &[u8; 8] = b"-BW0100-";

impl PeerId {
    /// Wraps the raw bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// A peer id of bitween with the given random tail.
    #[must_use]
    pub fn ours(random: [u8; 12]) -> Self {
        let mut bytes = [0; 20];
        for (to, from) in bytes.iter_mut().zip(PREFIX.iter().chain(random.iter())) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The raw bytes, as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    /// The client prefix if it is printable, else hex of the first 8 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.0.iter().take(8);
        if prefix.clone().all(u8::is_ascii_graphic) {
            prefix.copied().try_for_each(|byte| write!(f, "{}", char::from(byte)))
        } else {
            prefix.copied().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}
