//! Arguments of a call, checked against the method's parameters before it runs.
//!
//! By position or by name; null is as good as absent for an optional one. Each kind becomes its typed value here, once:
//! hashes are resolved, addresses and base64 parsed, paths made absolute.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::proto::http::jsonrpc::{ErrorObject, INVALID_PARAMS, Params};
use crate::types::{InfoHash, SortedMap};

use super::super::access::Caller;
use super::super::control::{Control, ControlError, ErrorCode, HashScope};
use super::super::resolve::resolve_hash;
use super::Method;

/// Most peers in one call.
const MAX_ADDRESSES: usize = 200;

/// Most texts in a list.
const MAX_TEXTS: usize = 16;

/// One parameter of a method.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Must it be given?
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A path on the daemon's machine.
    Path,
    /// The hash of an own torrent, may be shortened.
    OwnHash,
    /// Any info hash; may be shortened if it is an own one or a contact shares it.
    AnyHash,
    /// true or false.
    Flag,
    /// A whole number, not negative.
    Number,
    /// "ip:port".
    Address,
    /// A list of "ip:port".
    Addresses,
    /// Bytes in base64.
    Base64,
}

impl Kind {
    /// Its JSON schema.
    #[must_use]
    pub fn schema(self) -> Value {
        match self {
            Self::Text | Self::Path => json!({"type": "string"}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}, "maxItems": MAX_TEXTS}),
            Self::OwnHash | Self::AnyHash => json!({"type": "string", "pattern": "^[0-9a-fA-F]{1,40}$"}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Number => json!({"type": "integer", "minimum": 0}),
            Self::Address => json!({"type": "string", "description": "ip:port"}),
            Self::Addresses => json!({"type": "array", "items": {"type": "string"}, "maxItems": MAX_ADDRESSES}),
            Self::Base64 => json!({"type": "string", "contentEncoding": "base64"}),
        }
    }

    fn parse(self, value: &Value, control: &dyn Control) -> Result<Arg, Wrong> {
        let text = || value.as_str().ok_or(Wrong::Type("a text"));
        Ok(match self {
            Self::Text => Arg::Text(text()?.to_owned()),
            Self::Texts => {
                let list = value.as_array().filter(|list| list.len() <= MAX_TEXTS);
                let texts = list.and_then(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect());
                Arg::Texts(texts.ok_or(Wrong::Type("a list of at most 16 texts"))?)
            }
            Self::Path => Arg::Path(absolute(text()?)?),
            Self::OwnHash => Arg::Hash(resolve_hash(control, HashScope::Own, text()?)?),
            Self::AnyHash => Arg::Hash(resolve_hash(control, HashScope::All, text()?)?),
            Self::Flag => Arg::Flag(value.as_bool().ok_or(Wrong::Type("true or false"))?),
            Self::Number => Arg::Number(value.as_u64().ok_or(Wrong::Type("a whole number"))?),
            Self::Address => Arg::Addresses(vec![address(value)?]),
            Self::Addresses => {
                let list = value.as_array().filter(|list| list.len() <= MAX_ADDRESSES);
                let list = list.ok_or(Wrong::Type("a list of at most 200 texts \"ip:port\""))?;
                Arg::Addresses(list.iter().map(address).collect::<Result<_, _>>()?)
            }
            Self::Base64 => Arg::Bytes(STANDARD.decode(text()?).map_err(|_| Wrong::Type("base64"))?),
        })
    }
}

fn address(value: &Value) -> Result<SocketAddr, Wrong> {
    let parsed = value.as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    parsed.filter(|address| address.port() != 0).ok_or(Wrong::Type("\"ip:port\", IPv6 addresses in brackets"))
}

/// Relative paths count from the daemon's working folder, as in the original.
fn absolute(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::Type("a path"));
    }
    std::path::absolute(text).map_err(|e| Wrong::Said(ControlError::new(ErrorCode::BadPath, format!("{text:?}: {e}"))))
}

/// Why a value does not fit.
enum Wrong {
    /// It should be this.
    Type(&'static str),
    /// The daemon has a better sentence.
    Said(ControlError),
}

impl From<ControlError> for Wrong {
    fn from(error: ControlError) -> Self {
        Self::Said(error)
    }
}

#[derive(Debug)]
enum Arg {
    Text(String),
    Texts(Vec<String>),
    Path(PathBuf),
    Hash(InfoHash),
    Flag(bool),
    Number(u64),
    Addresses(Vec<SocketAddr>),
    Bytes(Vec<u8>),
}

/// The checked arguments of one call, and who makes it.
#[derive(Debug)]
pub struct Args<'a> {
    caller: &'a Caller,
    values: SortedMap<&'static str, Arg>,
}

impl<'a> Args<'a> {
    /// Checks a call's arguments against the method's parameters.
    pub(super) fn check(
        method: &Method,
        caller: &'a Caller,
        params: &Params,
        control: &dyn Control,
    ) -> Result<Self, ErrorObject> {
        let wrong = |text: String| ErrorObject::new(INVALID_PARAMS, format!("{}: {text}", method.name));
        match params {
            Params::Positional(list) if list.len() > method.params.len() => {
                let (most, given) = (method.params.len(), list.len());
                return Err(wrong(format!("takes at most {most} parameters, {given} were given")));
            }
            Params::Named(map) => {
                if let Some(name) = map.keys().find(|name| method.params.iter().all(|p| p.name != name.as_str())) {
                    let known: Vec<_> = method.params.iter().map(|p| p.name).collect();
                    let name: String = name.chars().take(60).collect();
                    return Err(wrong(format!("has no parameter {name:?}; it takes: {}", known.join(", "))));
                }
            }
            Params::Positional(_) => {}
        }
        let mut values = SortedMap::new();
        for (at, param) in method.params.iter().enumerate() {
            let given = match params {
                Params::Positional(list) => list.get(at),
                Params::Named(map) => map.get(param.name),
            };
            match given.filter(|value| !value.is_null()) {
                None if param.required => return Err(wrong(format!("`{}` is missing", param.name))),
                None => {}
                Some(value) => {
                    let arg = param.kind.parse(value, control).map_err(|e| match e {
                        Wrong::Type(expected) => wrong(format!("`{}` must be {expected}", param.name)),
                        Wrong::Said(error) => error.into(),
                    })?;
                    values.insert(param.name, arg);
                }
            }
        }
        Ok(Self { caller, values })
    }

    /// Who calls.
    pub(super) fn caller(&self) -> &Caller {
        self.caller
    }

    /// A required text.
    pub(super) fn text(&self, name: &str) -> Result<&str, ControlError> {
        self.optional_text(name).ok_or_else(|| lost(name))
    }

    /// A text that may be absent.
    pub(super) fn optional_text(&self, name: &str) -> Option<&str> {
        match self.values.get(name)? {
            Arg::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list of texts; empty if it is absent.
    pub(super) fn texts(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Arg::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// A required path.
    pub(super) fn path(&self, name: &str) -> Result<&Path, ControlError> {
        self.optional_path(name).ok_or_else(|| lost(name))
    }

    /// A path that may be absent.
    pub(super) fn optional_path(&self, name: &str) -> Option<&Path> {
        match self.values.get(name)? {
            Arg::Path(path) => Some(path),
            _ => None,
        }
    }

    /// A required hash.
    pub(super) fn hash(&self, name: &str) -> Result<InfoHash, ControlError> {
        self.optional_hash(name).ok_or_else(|| lost(name))
    }

    /// A hash that may be absent.
    pub(super) fn optional_hash(&self, name: &str) -> Option<InfoHash> {
        match self.values.get(name)? {
            Arg::Hash(hash) => Some(*hash),
            _ => None,
        }
    }

    /// A flag; absent is false.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Arg::Flag(true)))
    }

    /// A required number.
    pub(super) fn number(&self, name: &str) -> Result<u64, ControlError> {
        self.optional_number(name).ok_or_else(|| lost(name))
    }

    /// A number that may be absent.
    pub(super) fn optional_number(&self, name: &str) -> Option<u64> {
        match self.values.get(name) {
            Some(Arg::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Addresses; absent is none.
    pub(super) fn addresses(&self, name: &str) -> &[SocketAddr] {
        match self.values.get(name) {
            Some(Arg::Addresses(list)) => list,
            _ => &[],
        }
    }

    /// One required address.
    pub(super) fn address(&self, name: &str) -> Result<SocketAddr, ControlError> {
        self.addresses(name).first().copied().ok_or_else(|| lost(name))
    }

    /// Bytes that may be absent.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.values.get(name)? {
            Arg::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// The method asks for a parameter that its own table does not require with that kind: a bug, told as one.
fn lost(name: &str) -> ControlError {
    ControlError::new(ErrorCode::Internal, format!("parameter `{name}` was lost on the way"))
}
