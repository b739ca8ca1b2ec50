//! Shortened hashes: the one place where a prefix becomes an info hash.

use crate::types::InfoHash;

use super::control::{ErrorCode, HashScope};
use super::{Control, ControlError};

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
    let mut found: Vec<_> = control.hashes(scope).into_iter().filter(|h| h.to_string().starts_with(&prefix)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [hash] => Ok(*hash),
        [] => {
            let what = if scope == HashScope::Own { "torrent" } else { "torrent or share" };
            Err(ControlError::new(ErrorCode::UnknownHash, format!("there is no {what} with hash {prefix}")))
        }
        [first, second, ..] => Err(ControlError::new(
            ErrorCode::AmbiguousHash,
            format!("{prefix} fits {} hashes, such as {first} and {second}: give more digits", found.len()),
        )),
    }
}
