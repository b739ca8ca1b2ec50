//! Who may do what: a [`Caller`] is known by the head of a request, and every method says which [`Scope`] it needs.

mod caller;

pub use caller::{Caller, How, Scope};
