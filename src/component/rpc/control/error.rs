//! Why a call failed: a number for programs and a sentence for people.

/// What can go wrong, as a number that programs can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// An argument has the right type but cannot be used, such as a text that is no JID.
    BadArgument,
    /// No torrent or share with this hash.
    UnknownHash,
    /// A shortened hash fits several.
    AmbiguousHash,
    /// A path that does not exist or may not be used.
    BadPath,
    /// A torrent file or magnet link that cannot be used.
    BadTorrent,
    /// There is no account.
    NoAccount,
    /// The account is not online.
    Offline,
    /// No such contact.
    UnknownContact,
    /// No such job.
    UnknownJob,
    /// It is there already, or in a state that does not allow this.
    Conflict,
    /// Disk or database failed.
    Storage,
    /// No answer in time, or too much at once: try again.
    Busy,
    /// The daemon is stopping.
    Stopping,
    /// The account's data was refused (wrong password, bad certificate, ...).
    AccountRefused,
    /// The caller may not do this.
    Forbidden,
    /// Anything else; a bug.
    Internal,
}

impl ErrorCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::BadArgument,
        Self::UnknownHash,
        Self::AmbiguousHash,
        Self::BadPath,
        Self::BadTorrent,
        Self::NoAccount,
        Self::Offline,
        Self::UnknownContact,
        Self::UnknownJob,
        Self::Conflict,
        Self::Storage,
        Self::Busy,
        Self::Stopping,
        Self::AccountRefused,
        Self::Forbidden,
        Self::Internal,
    ];

    /// The JSON-RPC error code; bitween's own ones lie in the range that the standard leaves to servers.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::BadArgument => -32602,
            Self::UnknownHash => -32001,
            Self::AmbiguousHash => -32002,
            Self::BadPath => -32003,
            Self::BadTorrent => -32004,
            Self::NoAccount => -32005,
            Self::Offline => -32006,
            Self::UnknownContact => -32007,
            Self::UnknownJob => -32008,
            Self::Conflict => -32009,
            Self::Storage => -32010,
            Self::Busy => -32011,
            Self::Stopping => -32012,
            Self::AccountRefused => -32013,
            Self::Forbidden => -32014,
            Self::Internal => -32603,
        }
    }

    /// What it means, for the interface's description.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::BadArgument => "An argument cannot be used.",
            Self::UnknownHash => "No torrent or share has this hash.",
            Self::AmbiguousHash => "The shortened hash fits several; give more digits.",
            Self::BadPath => "The path does not exist or may not be used.",
            Self::BadTorrent => "The torrent file or magnet link cannot be used.",
            Self::NoAccount => "There is no XMPP account; set one first.",
            Self::Offline => "The XMPP account is not online.",
            Self::UnknownContact => "There is no such contact.",
            Self::UnknownJob => "There is no such job.",
            Self::Conflict => "It exists already, or its state does not allow this.",
            Self::Storage => "The disk or the database failed.",
            Self::Busy => "No answer in time; try again.",
            Self::Stopping => "The daemon is stopping.",
            Self::AccountRefused => "The server refused the account.",
            Self::Forbidden => "The caller may not do this; it needs a wider scope.",
            Self::Internal => "Something failed that should not.",
        }
    }
}

/// A call failed. The message is one sentence a person can act on, and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl ControlError {
    /// An error with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a daemon answers that does not know how to do something.
pub(super) fn not_offered<T>() -> Result<T, ControlError> {
    Err(ControlError::new(ErrorCode::Conflict, "this daemon does not offer that"))
}
