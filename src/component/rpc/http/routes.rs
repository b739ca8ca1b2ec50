//! From request to response: which path means what. Requests are refused on the server's thread, as soon as their heads
//! are there, and answered on the worker threads.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::proto::http::jsonrpc::{self, ErrorObject, INTERNAL_ERROR};
use crate::proto::http::{Method, Request, Response};

use super::super::access::Caller;
use super::super::control::Interface;
use super::super::{methods, pages};
use super::guard::{Guard, Refusal};

/// The daemon in numbers, for Prometheus.
const METRICS: &str = "/metrics";

/// Who makes this request, by its head alone; nobody in particular where everybody may look. `local` is the address the
/// client reached, `from` its own.
///
/// # Errors
/// The answer, if the request may not be made.
pub(super) fn admit(
    guard: &Guard,
    head: &Request,
    local: IpAddr,
    from: Option<IpAddr>,
) -> Result<Option<Caller>, Response> {
    if let Err(refusal) = guard.check_source(head, local) {
        log::warn!("refused a call: {refusal}");
        return Err(refusal.response());
    }
    let tells = head.path == METRICS || head.path == "/api" && head.method == Method::Post;
    if !tells {
        return Ok(None);
    }
    guard.caller(head, from).map(Some).map_err(|refusal| refusal.response())
}

/// Answers one request that was not refused.
pub(super) fn answer(control: &dyn Interface, caller: Option<&Caller>, request: &Request) -> Response {
    let reads = matches!(request.method, Method::Get | Method::Head);
    match request.path.as_str() {
        "/api" if request.method == Method::Post => match caller {
            Some(caller) => call(control, caller, &request.body),
            None => Refusal::Token.response(),
        },
        "/api" => Response::text(405, "POST JSON-RPC 2.0 here; GET /api/browse shows the methods")
            .with_header("Allow", "POST"),
        "/" | "/style.css" | "/api/browse" | "/healthz" | METRICS if !reads => {
            Response::text(405, "this can only be read").with_header("Allow", "GET, HEAD")
        }
        "/" => pages::home(),
        "/style.css" => pages::style(),
        "/api/browse" => pages::browse(),
        "/healthz" => Response::text(200, "ok"),
        METRICS => match caller {
            Some(_) => metrics(control),
            None => Refusal::Token.response(),
        },
        _ => Response::text(404, "there is nothing here; the interface is POST /api"),
    }
}

/// Everybody who may look at all may look at the numbers.
fn metrics(control: &dyn Interface) -> Response {
    let mut text = String::new();
    match control.metrics(&mut text) {
        Ok(()) => Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()),
        Err(error) => Response::text(503, &error.message),
    }
}

fn call(control: &dyn Interface, caller: &Caller, body: &[u8]) -> Response {
    let answer = jsonrpc::respond(body, |call| {
        debug!("call of {:?}", call.method);
        // A method that panics must cost its caller an error, not everybody a worker.
        let outcome = catch_unwind(AssertUnwindSafe(|| methods::dispatch(control, caller, call)));
        outcome.unwrap_or_else(|_| {
            log::error!("{:?} panicked", call.method);
            Err(ErrorObject::new(INTERNAL_ERROR, "this call hit a bug; the daemon's log says more"))
        })
    });
    answer.map_or_else(Response::empty, Response::json)
}
