//! What holds for everything that is sent to the JSON-RPC interface: the same requests however the input is cut, and
//! nothing over the limits.

use bitween::proto::http::{Limits, Request, RequestReader};

const LIMITS: Limits = Limits { head: 1024, body: 256 };

/// Whether it is a sequence of whole requests, at least one, with nothing behind them.
pub fn http_request(input: &[u8]) -> bool {
    let whole = requests(input, input.len().max(1));
    for step in [1, 3, 64] {
        assert_eq!(requests(input, step), whole, "in pieces of {step}");
    }
    let (requests, end) = whole;
    assert!(requests.iter().all(|request| request.body.len() <= LIMITS.body && request.path.len() <= LIMITS.head));
    !requests.is_empty() && end == End::Idle
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Idle,
    Unfinished,
    Refused,
}

fn requests(input: &[u8], step: usize) -> (Vec<Request>, End) {
    let mut reader = RequestReader::new(LIMITS);
    let mut found = Vec::new();
    for part in input.chunks(step) {
        reader.push(part);
        loop {
            match reader.next_request() {
                Ok(Some(request)) => found.push(request),
                Ok(None) => break,
                Err(_) => return (found, End::Refused),
            }
        }
    }
    (found, if reader.is_mid_request() { End::Unfinished } else { End::Idle })
}
