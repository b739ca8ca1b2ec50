//! `rpc.discover`: the method table as an OpenRPC 1.3 document (spec.open-rpc.org).

use serde_json::{Value, json};

use super::super::control::ErrorCode;
use super::{Method, Scope, all, value};
use crate::types::gather;

/// The one method that is about the others.
pub(super) static TABLE: &[Method] = &[Method {
    name: "rpc.discover",
    doc: "Describes all methods (OpenRPC).",
    params: &[],
    result: "an OpenRPC document",
    scope: Scope::View,
    run: |_, _| value(Ok(document())),
}];

/// Describes all methods.
#[must_use]
pub fn document() -> Value {
    let entry = |code: ErrorCode| (format!("{code:?}"), json!({"code": code.number(), "message": code.meaning()}));
    let errors: serde_json::Map<String, Value> = gather(ErrorCode::ALL.into_iter().map(entry));
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "bitween",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shares files with XMPP contacts over BitTorrent. Hashes are info hashes in hexadecimal and may be shortened to a unique prefix.",
        },
        "methods": all().map(describe).collect::<Vec<_>>(),
        "components": {"errors": errors},
    })
}

fn describe(method: &Method) -> Value {
    let params: Vec<_> = method
        .params
        .iter()
        .map(|param| {
            json!({
                "name": param.name,
                "description": param.doc,
                "required": param.required,
                "schema": param.kind.schema(),
            })
        })
        .collect();
    json!({
        "name": method.name,
        "summary": method.doc,
        "paramStructure": "either",
        "params": params,
        "result": {"name": "result", "description": method.result, "schema": {}},
        "x-scope": method.scope.as_str(),
    })
}
