//! JSON over HTTP: how most clients are steered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::trouble::Trouble;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The header by which Transmission keeps other web pages out.
const SESSION: &str = "X-Transmission-Session-Id";

/// Sends a body, gets JSON. `session` is sent as Transmission's token, and renewed when refused.
pub fn post(url: &str, body: &[u8], session: &mut String) -> Result<Value, Trouble> {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(Some(LIMIT));
    let agent: ureq::Agent = config.build().into();
    for _ in 0..2 {
        let request = agent.post(url).header("Content-Type", "application/json").header(SESSION, session.as_str());
        let mut answer = request.send(body).map_err(Trouble::failed)?;
        if answer.status() == 409 {
            let token = answer.headers().get(SESSION).and_then(|token| token.to_str().ok());
            *session = token.unwrap_or_default().to_owned();
            continue;
        }
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().map_err(Trouble::failed)?;
        return serde_json::from_str(&text).map_err(|error| Trouble::failed(format!("{url}: {error}: {text}")));
    }
    Err(Trouble::failed(format!("{url} refuses its own token")))
}

/// Asks for JSON.
pub fn get(url: &str) -> Result<Value, Trouble> {
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(LIMIT));
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent.get(url).call().map_err(Trouble::failed)?;
    let text = answer.body_mut().read_to_string().map_err(Trouble::failed)?;
    serde_json::from_str(&text).map_err(|error| Trouble::failed(format!("{url}: {error}: {text}")))
}

/// Calls a method by JSON-RPC 2.0.
pub fn call(url: &str, method: &str, params: &Value) -> Result<Value, Trouble> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut answer = post(url, body.as_bytes(), &mut String::new())?;
    if answer["error"].is_null() {
        Ok(answer["result"].take())
    } else {
        Err(Trouble::failed(format!("{method}: {}", answer["error"])))
    }
}
