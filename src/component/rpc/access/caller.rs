//! Somebody who calls a method: known how, and allowed what.

use std::net::IpAddr;

/// What a caller may do. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    View,
    /// Add torrents and shares.
    Add,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Add => "add",
            Self::Admin => "admin",
        }
    }
}

/// How a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum How {
    /// Not at all: the interface is open to everybody who can reach it, which is this machine alone.
    Open,
    /// By the token in `token_file` of the configuration.
    TokenFile,
}

impl How {
    /// The word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::TokenFile => "token",
        }
    }
}

/// Who makes a call. Made by the guard alone, from the head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub scope: Scope,
    /// How they are known.
    pub how: How,
    /// Where they call from, if the system tells.
    pub from: Option<IpAddr>,
}
