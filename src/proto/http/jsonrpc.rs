//! JSON-RPC 2.0 (jsonrpc.org/specification): bodies to calls, results to bodies.
//!
//! Knows nothing of methods: [`respond`] hands each call to a closure. Depth is limited by serde_json (128), the length
//! of a batch by [`MAX_BATCH`], the body by whoever read it.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::Body;

/// Most calls in one batch.
pub const MAX_BATCH: usize = 100;

/// The body is no JSON.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is no call.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters do not fit the method.
pub const INVALID_PARAMS: i64 = -32602;
/// The method failed in a way it should not.
pub const INTERNAL_ERROR: i64 = -32603;

/// An error as it stands in an answer (section 5.1).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ErrorObject {
    /// Standard code or one of the server's own.
    pub code: i64,
    /// One sentence for a person.
    pub message: String,
    /// More for a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl ErrorObject {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// The arguments of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Params {
    /// In the method's order; also what a call without any has.
    Positional(Vec<Value>),
    /// By name.
    Named(Map<String, Value>),
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// A number, a text or null; `None` = notification, nobody wants the answer.
    pub id: Option<Value>,
    /// Name of the method.
    pub method: String,
    /// Its arguments.
    pub params: Params,
}

impl Call {
    /// Understands one request object. The error comes with the id to answer under, null if there was no usable one.
    fn parse(value: Value) -> Result<Self, (Value, ErrorObject)> {
        let invalid = |text: &str| ErrorObject::new(INVALID_REQUEST, text);
        let Value::Object(mut object) = value else {
            return Err((Value::Null, invalid("a call is a JSON object")));
        };
        let id = match object.remove("id") {
            id @ (None | Some(Value::Null | Value::Number(_) | Value::String(_))) => id,
            Some(_) => return Err((Value::Null, invalid("`id` must be a number, a text or null"))),
        };
        let fail = |text| Err((id.clone().unwrap_or_default(), invalid(text)));
        if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return fail("`jsonrpc` must be \"2.0\"");
        }
        let Some(Value::String(method)) = object.remove("method") else {
            return fail("`method` must be a text");
        };
        let params = match object.remove("params") {
            None => Params::Positional(Vec::new()),
            Some(Value::Array(list)) => Params::Positional(list),
            Some(Value::Object(map)) => Params::Named(map),
            Some(_) => return fail("`params` must be a list or an object"),
        };
        Ok(Self { id, method, params })
    }
}

/// Answers a whole body. `None` = there were only notifications, so nothing is to be sent. `handle` answers a call with
/// the JSON of its result.
///
/// Calls of a batch run one after the other, in their order.
pub fn respond(body: &[u8], mut handle: impl FnMut(&Call) -> Result<Body, ErrorObject>) -> Option<Body> {
    let mut one = |value: Value| match Call::parse(value) {
        Err((id, error)) => Some(answer(&id, Err(error))),
        Ok(call) => {
            let result = handle(&call);
            call.id.map(|id| answer(&id, result))
        }
    };
    let fail = |code, text: String| Some(answer(&Value::Null, Err(ErrorObject::new(code, text))));
    match serde_json::from_slice(body) {
        Ok(Calls::Single(value)) => one(value),
        Ok(Calls::Batch(calls)) if calls.is_empty() => fail(INVALID_REQUEST, "the batch is empty".to_owned()),
        Ok(Calls::Batch(calls)) => batch(calls.into_iter().filter_map(one)),
        Ok(Calls::TooLong) => fail(INVALID_REQUEST, format!("a batch has at most {MAX_BATCH} calls; send several")),
        Err(e) => fail(PARSE_ERROR, format!("this is no JSON: {e}")),
    }
}

/// The answers as one list; `None` without any.
fn batch(answers: impl Iterator<Item = Body>) -> Option<Body> {
    let mut all = Body::default();
    for answer in answers {
        all.push(if all.is_empty() { &b"["[..] } else { &b","[..] });
        all.append(answer);
    }
    if all.is_empty() {
        return None;
    }
    all.push(&b"]"[..]);
    Some(all)
}

fn answer(id: &Value, result: Result<Body, ErrorObject>) -> Body {
    let (key, value) = match result {
        Ok(result) => ("result", result),
        Err(error) => ("error", json!(error).to_string().into_bytes().into()),
    };
    // Put together by hand: the result is not to be parsed and written once more.
    let mut answer = Body::from(format!("{{\"id\":{id},\"jsonrpc\":\"2.0\",\"{key}\":").into_bytes());
    answer.append(value);
    answer.push(&b"}"[..]);
    answer
}

/// The body of one call by name, for clients.
#[must_use]
pub fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().into_bytes()
}

/// What a server answered to one call, for clients.
///
/// # Errors
/// The inner error is the server's; the outer says that the body is no answer.
pub fn parse_answer(body: &[u8]) -> Result<Result<Value, ErrorObject>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        result: Value,
        error: Option<ErrorObject>,
    }
    let answer: Answer = serde_json::from_slice(body)?;
    Ok(answer.error.map_or(Ok(answer.result), Err))
}

/// The outermost value. A batch is given up at its first call too many, so a million of them cost nothing.
enum Calls {
    Single(Value),
    Batch(Vec<Value>),
    TooLong,
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CallsVisitor;

        impl<'de> Visitor<'de> for CallsVisitor {
            type Value = Calls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call or a list of calls")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Calls, A::Error> {
                Map::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|map| Calls::Single(Value::Object(map)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Calls, A::Error> {
                let mut calls = Vec::new();
                while calls.len() < MAX_BATCH {
                    match seq.next_element()? {
                        Some(call) => calls.push(call),
                        None => return Ok(Calls::Batch(calls)),
                    }
                }
                let mut more = false;
                while seq.next_element::<de::IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(if more { Calls::TooLong } else { Calls::Batch(calls) })
            }

            // A bare number, text, ... is JSON, but no call.
            fn visit_unit<E>(self) -> Result<Calls, E> {
                Ok(Calls::Single(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Calls, E> {
                Ok(Calls::Single(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Calls, E> {
                Ok(Calls::Single(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Calls, E> {
                Ok(Calls::Single(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Calls, E> {
                Ok(Calls::Single(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Calls, E> {
                Ok(Calls::Single(value.into()))
            }
        }
        deserializer.deserialize_any(CallsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond_to(body: &str) -> Option<Value> {
        let sum = |numbers: i64| Ok(numbers.to_string().into_bytes().into());
        let answer = respond(body.as_bytes(), |call| match (call.method.as_str(), &call.params) {
            ("sum", Params::Positional(list)) => sum(list.iter().filter_map(Value::as_i64).sum()),
            ("sum", Params::Named(map)) => sum(map.values().filter_map(Value::as_i64).sum()),
            _ => Err(ErrorObject::new(METHOD_NOT_FOUND, "no")),
        });
        answer.map(|answer| serde_json::from_slice(&answer.into_bytes()).unwrap())
    }

    fn code(body: &str) -> i64 {
        respond_to(body).unwrap()["error"]["code"].as_i64().unwrap()
    }

    #[test]
    fn calls_are_answered_under_their_id_whatever_its_type() {
        for id in ["1", "\"a\"", "null", "1.5"] {
            let answer =
                respond_to(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"sum","params":[1,2]}}"#)).unwrap();
            assert_eq!(
                answer,
                json!({"jsonrpc": "2.0", "result": 3, "id": serde_json::from_str::<Value>(id).unwrap()})
            );
        }
        let answer = respond_to(r#"{"jsonrpc":"2.0","id":1,"method":"sum","params":{"a":4,"b":5}}"#).unwrap();
        assert_eq!(answer["result"], 9);
    }

    #[test]
    fn the_standard_errors_are_told_apart() {
        assert_eq!(code("{"), PARSE_ERROR);
        assert_eq!(code(""), PARSE_ERROR);
        for body in ["5", "\"x\"", "null", "true", "{}", "[]", r#"{"jsonrpc":"1.0","method":"sum","id":1}"#] {
            assert_eq!(code(body), INVALID_REQUEST, "{body}");
        }
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":1,"id":1}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"sum","params":"x","id":1}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"sum","id":[1]}"#), INVALID_REQUEST);
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"nope","id":1}"#), METHOD_NOT_FOUND);
    }

    #[test]
    fn a_wrong_call_is_answered_under_its_own_id_where_it_has_one() {
        assert_eq!(respond_to(r#"{"jsonrpc":"2.0","method":1,"id":"x"}"#).unwrap()["id"], "x");
        assert_eq!(respond_to(r#"{"jsonrpc":"2.0","method":1}"#).unwrap()["id"], Value::Null);
    }

    #[test]
    fn notifications_get_no_answer() {
        assert_eq!(respond_to(r#"{"jsonrpc":"2.0","method":"sum","params":[1]}"#), None);
        assert_eq!(respond_to(r#"{"jsonrpc":"2.0","method":"nope"}"#), None);
        assert_eq!(respond_to(r#"[{"jsonrpc":"2.0","method":"sum"}]"#), None);
    }

    #[test]
    fn batches_are_answered_in_order_without_the_notifications() {
        let answer = respond_to(
            r#"[{"jsonrpc":"2.0","method":"sum","params":[1],"id":1}, {"jsonrpc":"2.0","method":"sum"}, 7,
                {"jsonrpc":"2.0","method":"sum","params":[2],"id":2}]"#,
        )
        .unwrap();
        let ids: Vec<_> = answer.as_array().unwrap().iter().map(|a| a["id"].clone()).collect();
        assert_eq!(ids, [json!(1), Value::Null, json!(2)]);
    }

    #[test]
    fn a_batch_over_the_limit_is_refused_whole() {
        let call = r#"{"jsonrpc":"2.0","method":"sum","id":1}"#;
        let batch = |n: usize| format!("[{}]", vec![call; n].join(","));
        assert_eq!(respond_to(&batch(MAX_BATCH)).unwrap().as_array().unwrap().len(), MAX_BATCH);
        assert_eq!(code(&batch(MAX_BATCH + 1)), INVALID_REQUEST);
        assert_eq!(code(&format!("[{}1]", "1,".repeat(100_000))), INVALID_REQUEST);
    }

    #[test]
    fn deep_json_is_an_error_and_no_crash() {
        assert_eq!(code(&"[".repeat(100_000)), PARSE_ERROR);
        let deep =
            format!(r#"{{"jsonrpc":"2.0","method":"sum","id":1,"params":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(code(&deep), PARSE_ERROR);
    }

    #[test]
    fn a_client_reads_results_and_errors_back() {
        let body = request(7, "sum", &json!([1, 2]));
        let answer = respond(&body, |_| Ok(Body::from(&b"3"[..]))).unwrap().into_bytes();
        assert_eq!(parse_answer(&answer).unwrap(), Ok(json!(3)));
        let answer = respond(&body, |_| Err(ErrorObject::new(5, "x"))).unwrap().into_bytes();
        assert_eq!(parse_answer(&answer).unwrap(), Err(ErrorObject::new(5, "x")));
        assert!(parse_answer(b"<html>").is_err());
    }
}
