//! Shortened hashes: the one place where a prefix becomes an info hash.

use std::ops::RangeInclusive;

use crate::types::InfoHash;

use super::control::{ErrorCode, HashScope};
use super::{Control, ControlError};

/// Hashes that a prefix may fit before they are no longer counted.
const MAX_COUNTED: usize = 100;

/// Finds the hash that `text` begins. A whole hash (40 digits) among all hashes need not be known to anybody.
///
/// # Errors
/// [`ErrorCode::UnknownHash`] or [`ErrorCode::AmbiguousHash`], with a sentence that says what to type.
pub fn resolve_hash(control: &dyn Control, scope: HashScope, text: &str) -> Result<InfoHash, ControlError> {
    let prefix = text.trim().to_ascii_lowercase();
    if prefix.is_empty() || prefix.len() > 2 * InfoHash::LEN || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        let shown: String = text.chars().take(60).collect();
        let text = format!("{shown:?} is not an info hash: that is 40 hexadecimal digits, or enough of the first ones");
        return Err(ControlError::new(ErrorCode::UnknownHash, text));
    }
    if let (HashScope::All, Ok(hash)) = (scope, prefix.parse()) {
        return Ok(hash);
    }
    let found = control.hashes(scope, &begun_by(&prefix)?, MAX_COUNTED);
    match found.as_slice() {
        [hash] => Ok(*hash),
        [] => {
            let what = if scope == HashScope::Own { "torrent" } else { "torrent or share" };
            Err(ControlError::new(ErrorCode::UnknownHash, format!("there is no {what} with hash {prefix}")))
        }
        [first, second, ..] => Err(ControlError::new(
            ErrorCode::AmbiguousHash,
            format!("{prefix} fits {} hashes, such as {first} and {second}: give more digits", counted(found.len())),
        )),
    }
}

/// All hashes that begin with these digits.
fn begun_by(prefix: &str) -> Result<RangeInclusive<InfoHash>, ControlError> {
    let filled = |digit: &str| {
        let missing = (2 * InfoHash::LEN).saturating_sub(prefix.len());
        format!("{prefix}{}", digit.repeat(missing)).parse()
    };
    match (filled("0"), filled("f")) {
        (Ok(first), Ok(last)) => Ok(first..=last),
        _ => Err(ControlError::new(ErrorCode::UnknownHash, format!("{prefix} is not an info hash"))),
    }
}

fn counted(number: usize) -> String {
    if number < MAX_COUNTED { number.to_string() } else { format!("{MAX_COUNTED} or more") }
}
