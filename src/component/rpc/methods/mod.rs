//! The tables of all methods: dispatch, `rpc.discover` and `/api/browse` are made from it.
//!
//! A method here names its parameters with their kinds, so arguments are checked and hashes resolved before it runs;
//! what it does is one call of [`Interface`]. The eight methods of the original keep their names, parameters and results.

mod api;
mod args;
mod bt;
mod discover;
mod xmpp;

use crate::proto::http::jsonrpc::{Call, ErrorObject, METHOD_NOT_FOUND};
use crate::proto::http::{Body, Rows};
use crate::share::Page;
use serde::Serialize;

use super::access::{Caller, Scope};
use super::control::{ControlError, ErrorCode, Interface, List, Members, Paged};

pub use args::{Args, Kind, Param};
pub use discover::document;

/// One method.
pub struct Method {
    /// Name, such as `bt.pause`.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// Parameters, in their order; required ones first.
    pub params: &'static [Param],
    /// What comes back, in words and shape.
    pub result: &'static str,
    /// Who may call it.
    pub scope: Scope,
    run: fn(&dyn Interface, &Args<'_>) -> Outcome,
}

/// The JSON of the result.
type Outcome = Result<Body, ControlError>;

/// All methods: those of one table by name, one table after another.
pub fn all() -> impl Iterator<Item = &'static Method> {
    [api::TABLE, bt::TABLE, discover::TABLE, xmpp::TABLE].into_iter().flatten()
}

/// Runs one call.
///
/// # Errors
/// What is to be answered: unknown method, not allowed, wrong parameters, or the daemon's own error.
pub fn dispatch(control: &dyn Interface, caller: &Caller, call: &Call) -> Result<Body, ErrorObject> {
    let Some(method) = all().find(|method| method.name == call.method) else {
        let name: String = call.method.chars().take(60).collect();
        return Err(ErrorObject::new(
            METHOD_NOT_FOUND,
            format!("there is no method {name:?}; see rpc.discover or /api/browse"),
        ));
    };
    if caller.scope < method.scope {
        let (needed, given) = (method.scope.as_str(), caller.scope.as_str());
        let text = format!("{} needs the scope {needed:?}; this caller has {given:?}", method.name);
        return Err(ControlError::new(ErrorCode::Forbidden, text).into());
    }
    let args = Args::check(method, caller, &call.params, control)?;
    (method.run)(control, &args).map_err(ErrorObject::from)
}

impl From<ControlError> for ErrorObject {
    fn from(error: ControlError) -> Self {
        Self::new(error.code.number(), error.message)
    }
}

/// Writes down what the daemon answered.
fn value<T: Serialize>(result: Result<T, ControlError>) -> Outcome {
    let bytes = serde_json::to_vec(&result?);
    bytes.map(Body::from).map_err(|e| ControlError::new(ErrorCode::Internal, format!("the answer is no JSON: {e}")))
}

/// Answers with an object that has one list, of which every row is written when it is sent.
fn list<T: Serialize + 'static>(key: &str, rows: Result<List<T>, ControlError>) -> Outcome {
    Ok(body(key, rows?, "]}".to_owned()))
}

/// As [`list`], of one page, and how long the whole list is.
fn page<T: Serialize + 'static>(key: &str, page: Result<Paged<T>, ControlError>) -> Outcome {
    let Paged { rows, total, more } = page?;
    Ok(body(key, rows, format!("],\"total\":{total},\"more\":{more}}}")))
}

/// An object that begins with a list and ends with `rest`.
fn body<T: Serialize + 'static>(key: &str, List { len, row }: List<T>, rest: String) -> Body {
    let write = move |number: usize, out: &mut Vec<u8>| {
        // Rows are strings, numbers and lists of them: nothing that JSON lacks.
        let _ = serde_json::to_writer(out, &row(number));
    };
    let mut body = Body::from(format!("{{\"{key}\":[").into_bytes());
    body.push_rows(Rows::new(len, Box::new(write)));
    body.push(rest.into_bytes());
    body
}

/// Answers with an object that has one object, of which every member is written when it is sent.
fn members<T: Serialize + 'static>(key: &str, members: Result<Members<T>, ControlError>) -> Outcome {
    let List { len, row } = members?;
    let write = move |number: usize, out: &mut Vec<u8>| {
        let Some((name, value)) = row(number) else { return };
        // As in a list: nothing that JSON lacks.
        let _ = serde_json::to_writer(&mut *out, &name);
        out.push(b':');
        let _ = serde_json::to_writer(out, &value);
    };
    let mut body = Body::from(format!("{{\"{key}\":{{").into_bytes());
    body.push_rows(Rows::new(len, Box::new(write)));
    body.push(&b"}}"[..]);
    Ok(body)
}

/// Which page of a list is asked for. `usual` rows unless the caller says how many.
fn wanted(args: &Args<'_>, usual: usize) -> Page {
    let number = |name| args.optional_number(name).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    Page { offset: number("offset").unwrap_or(0), limit: number("limit").unwrap_or(usual).min(MAX_ROWS) }
}

/// The answer of methods that only do something, as in the original.
fn done(result: Result<(), ControlError>) -> Outcome {
    value(result.map(|()| true))
}

const fn param(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param { name, kind, required: true, doc }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Param {
    Param { name, kind, required: false, doc }
}

/// Rows of one answer at most.
const MAX_ROWS: usize = 10_000;
const OFFSET: Param = optional("offset", Kind::Number, "Rows to leave out at the beginning; 0 unless told.");
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_methods_are_documented_once_and_have_required_parameters_first() {
        let names: BTreeSet<_> = all().map(|method| method.name).collect();
        assert_eq!(names.len(), all().count(), "a name stands twice");
        for table in [api::TABLE, bt::TABLE, xmpp::TABLE] {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
        }
        for method in all() {
            assert!(method.doc.ends_with('.') && !method.result.is_empty(), "{}", method.name);
            assert!(method.params.is_sorted_by_key(|param| !param.required), "{}", method.name);
            assert!(method.params.iter().all(|param| param.doc.ends_with('.')), "{}", method.name);
        }
    }

    #[test]
    fn the_originals_methods_are_there_with_their_parameters() {
        let original: [(&str, &[&str]); 8] = [
            ("Api.versions", &[]),
            ("Api.exit", &[]),
            ("bt.get_torrents", &[]),
            ("bt.add_path", &["path"]),
            ("bt.add_torrent_by_hash", &["hash", "save_path"]),
            ("bt.del_torrent", &["hash"]),
            ("xmpp.get_hashes", &[]),
            ("xmpp.get_shares", &[]),
        ];
        for (name, params) in original {
            let method = all().find(|method| method.name == name).unwrap();
            assert_eq!(method.params.iter().map(|p| p.name).collect::<Vec<_>>(), params, "{name}");
        }
    }
}
