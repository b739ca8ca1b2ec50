//! What the methods answer of those who call: who they are, their tokens and their sessions.

use serde::{Deserialize, Serialize};

/// `Api.whoami`: how the daemon knows the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct WhoAmI {
    /// What they may do: "view", "add" or "admin".
    pub scope: String,
    /// How they are known: "open" (not at all, on this machine), "token", "session", "socket".
    pub how: String,
    /// What the token is called.
    pub name: Option<String>,
    /// When that ends, in Unix seconds.
    pub expires: Option<u64>,
}

/// `Api.tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tokens {
    /// Those that may be used, the oldest first.
    pub tokens: Vec<Token>,
}

/// A token that programs show, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Token {
    /// Number to revoke it with.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// What it allows: "view", "add" or "admin".
    pub scope: String,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it was shown last, to the minute.
    pub last_used: Option<u64>,
    /// From where.
    pub last_from: Option<String>,
}

/// `Api.add_token`. Without `Debug`: it would show the token.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct NewToken {
    /// Number to revoke it with.
    pub id: i64,
    /// The secret; nobody can find it out later.
    pub token: String,
}

/// `Api.sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Sessions {
    /// Browsers that are logged in, the latest first.
    pub sessions: Vec<Session>,
}

/// A browser that is logged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Session {
    /// Number to end it with.
    pub id: i64,
    /// What it allows: "view", "add" or "admin".
    pub scope: String,
    /// When it logged in, in Unix seconds.
    pub created: u64,
    /// When it called last, to the minute.
    pub last_seen: u64,
    /// From where.
    pub from: Option<String>,
    /// What it calls itself.
    pub agent: Option<String>,
    /// Is it the one that asks?
    pub current: bool,
}

/// `Api.login_link`. Without `Debug`: whoever has the link can log in with it.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct LoginLink {
    /// To be opened in a browser, once.
    pub url: String,
    /// When it ends, in Unix seconds.
    pub expires: u64,
}
