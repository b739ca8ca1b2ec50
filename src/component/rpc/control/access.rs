//! What the interface asks about those who call.

use super::super::access::{Caller, Scope};
use super::super::types::{LoginLink, NewToken, Sessions, Tokens, WhoAmI};
use super::{ControlError, not_offered};

/// The part of the daemon that knows passwords, tokens and sessions. An implementation offers what it defines itself.
///
/// # Errors
/// As [`Control`](super::Control)'s.
pub trait Access: Send + Sync {
    /// `Api.whoami`.
    fn who_am_i(&self, caller: &Caller) -> Result<WhoAmI, ControlError> {
        let (scope, how) = (caller.scope.as_str().to_owned(), caller.how.as_str().to_owned());
        Ok(WhoAmI { scope, how, name: None, expires: None })
    }
    /// `Api.set_password`: ends all other sessions. `old` is needed unless the caller came by a link or the socket.
    fn set_password(&self, caller: &Caller, password: &str, old: Option<&str>) -> Result<(), ControlError> {
        let _ = (caller, password, old);
        not_offered()
    }
    /// `Api.tokens`.
    fn tokens(&self) -> Result<Tokens, ControlError> {
        not_offered()
    }
    /// `Api.add_token`.
    fn add_token(&self, name: &str, scope: Scope) -> Result<NewToken, ControlError> {
        let _ = (name, scope);
        not_offered()
    }
    /// `Api.revoke_token`. `false` = there was none.
    fn revoke_token(&self, id: i64) -> Result<bool, ControlError> {
        let _ = id;
        not_offered()
    }
    /// `Api.sessions`, seen by the one that asks.
    fn sessions(&self, caller: &Caller) -> Result<Sessions, ControlError> {
        let _ = caller;
        not_offered()
    }
    /// `Api.end_session`. `false` = there was none.
    fn end_session(&self, id: i64) -> Result<bool, ControlError> {
        let _ = id;
        not_offered()
    }
    /// `Api.login_link`.
    fn login_link(&self) -> Result<LoginLink, ControlError> {
        not_offered()
    }
}
