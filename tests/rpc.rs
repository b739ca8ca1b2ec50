//! The JSON-RPC server over real sockets, spoken to in raw HTTP: well-behaved clients, clumsy ones and attackers.
#![cfg(feature = "web")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

#[path = "common/fake_control.rs"]
mod fake_control;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitween::component::rpc::methods::{self, dispatch};
use bitween::component::rpc::{Caller, How, RpcError, RpcServer, Scope, ServerOptions, Timing};
use bitween::proto::http::jsonrpc::{Call, Params};
use fake_control::{BOOK, FILM, FakeControl, HOARD, HOARDER, LISTED, SONG};
use serde_json::{Value, json};

struct Fixture {
    server: RpcServer,
    control: Arc<FakeControl>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        change(&mut options);
        let control = Arc::new(FakeControl::default());
        Self { server: RpcServer::start(options, control.clone()).unwrap(), control }
    }

    fn connect(&self) -> TcpStream {
        connect(self.server.address())
    }

    /// Sends raw bytes on a connection of their own; the whole answer comes back.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn post(&self, headers: &str, body: &str) -> String {
        let request = format!(
            "POST /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.raw(request.as_bytes())
    }

    fn get(&self, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        serde_json::from_str(body_of(&self.post("", &body))).unwrap()
    }

    fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params);
        assert_eq!(answer.get("error"), None, "{method}");
        answer["result"].clone()
    }

    fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params);
        let text = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{method}: {answer}"));
        (answer["error"]["code"].as_i64().unwrap(), text.to_owned())
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}

#[test]
fn the_originals_eight_methods_answer_in_its_shapes() {
    let f = Fixture::new();
    assert!(f.result("Api.versions", json!([])).is_object());
    assert_eq!(
        f.result("bt.get_torrents", json!({})),
        json!({"torrents": [{"hash": FILM, "name": "Film", "total_size": 1000, "done": 1000, "files": [{"path": "Film/a.mkv", "size": 1000}]}]})
    );
    assert_eq!(f.result("bt.add_path", json!(["/data/film"])), true);
    assert_eq!(f.result("bt.add_torrent_by_hash", json!([BOOK, "/down"])), true);
    assert_eq!(f.result("bt.del_torrent", json!({"hash": FILM})), true);
    assert_eq!(f.result("xmpp.get_hashes", json!([])), json!({"hashes": {BOOK: [["192.0.2.1", 7]]}}));
    let resources = json!({"r": {"ip_v4": [], "ip_v6": [], "shares": {}, "online": true}});
    assert_eq!(
        f.result("xmpp.get_shares", json!([])),
        json!({"shares": {"carol@localhost": resources, "dave@localhost": resources}})
    );
    assert_eq!(f.result("Api.exit", json!([])), true);
    let log = f.control.log();
    assert_eq!(log[0], "share /data/film");
    assert!(log[1].contains(BOOK) && log[1].contains("/down"), "{}", log[1]);
    assert_eq!(log[2..], [format!("remove {FILM} false"), "exit".to_owned()]);
}

#[test]
fn a_long_list_comes_whole_in_a_batch_too_and_its_length_is_told() {
    let f = Fixture::new();
    let list = |id| json!({"jsonrpc": "2.0", "id": id, "method": "xmpp.list_shares", "params": [HOARDER]});
    let short = json!({"jsonrpc": "2.0", "id": 2, "method": "xmpp.search", "params": ["nothing"]});
    let answer = f.post("", &json!([list(1), short, list(3)]).to_string());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) && body.len() > 500_000, "{head}");
    let answers: Value = serde_json::from_str(body).unwrap();
    for (nth, rows) in [HOARD, 0, HOARD].into_iter().enumerate() {
        let shares = answers[nth]["result"]["shares"].as_array().unwrap();
        assert_eq!((&answers[nth]["id"], shares.len()), (&json!(nth + 1), rows));
        assert!(shares.iter().enumerate().all(|(row, share)| share["name"] == format!("Volume {row}")));
    }
}

#[test]
fn a_missing_path_is_a_real_error() {
    let (code, text) = Fixture::new().error("bt.add_path", json!({"path": "/missing"}));
    assert_eq!((code, text.as_str()), (-32003, "/missing does not exist"));
}

#[test]
fn parameters_go_by_name_or_position_and_wrong_ones_are_named() {
    let f = Fixture::new();
    assert_eq!(f.result("bt.remove", json!([FILM, true])), true);
    assert_eq!(f.result("bt.remove", json!({"with_data": true, "hash": FILM})), true);
    assert_eq!(f.control.log(), vec![format!("remove {FILM} true"); 2]);
    let wrong = [
        ("bt.remove", json!([]), "`hash` is missing"),
        ("bt.remove", json!([FILM, "yes"]), "`with_data` must be true or false"),
        ("bt.remove", json!([FILM, true, 1]), "at most 2 parameters, 3 were given"),
        ("bt.remove", json!({"hash": FILM, "data": true}), "has no parameter \"data\"; it takes: hash, with_data"),
        ("bt.add_peer", json!([FILM, "nowhere"]), "`address` must be"),
        ("bt.share_progress", json!([-1]), "whole number"),
        ("bt.add_torrent", json!({"torrent": "*"}), "base64"),
        ("bt.add_torrent", json!({}), "exactly one"),
        ("bt.add_torrent", json!({"magnet": "magnet:?", "hash": FILM}), "exactly one"),
        ("bt.add_path", json!([""]), "a path"),
    ];
    for (method, params, part) in wrong {
        let (code, text) = f.error(method, params);
        assert!(code == -32602 && text.contains(part), "{method}: {code} {text}");
    }
    assert_eq!(f.error("bt.nothing", json!([])).0, -32601);
}

#[test]
fn hashes_may_be_shortened_as_long_as_they_are_unique() {
    let f = Fixture::new();
    assert_eq!(f.result("bt.pause", json!(["AAAA00"])), true);
    assert_eq!(f.control.log(), [format!("pause {FILM}")]);
    let (code, text) = f.error("bt.pause", json!(["aaaa"]));
    assert!(code == -32002 && text.contains(FILM) && text.contains(SONG), "{text}");
    assert_eq!(f.error("bt.pause", json!(["bbbb"])).0, -32001, "a contact's share is no own torrent");
    assert_eq!(f.result("bt.add_torrent", json!({"hash": "bbbb"}))["hash"], BOOK);
    let unknown = "c".repeat(40);
    assert_eq!(f.result("bt.add_torrent_by_hash", json!([unknown])), true, "a whole hash need not be known");
    assert_eq!(f.error("bt.resume", json!([unknown])).0, -32001);
    assert_eq!(f.error("bt.resume", json!(["xyz"])).0, -32001);
    assert_eq!(f.error("bt.resume", json!([""])).0, -32001);
}

#[test]
fn long_lists_are_answered_page_by_page() {
    let f = Fixture::new();
    let list = |params: Value| {
        let answer = f.result("xmpp.list_shares", params);
        assert_eq!((&answer["total"], &answer["more"]), (&json!(LISTED), &json!(false)));
        answer["shares"].as_array().unwrap().len()
    };
    assert_eq!(list(json!(["many@localhost"])), 10_000);
    assert_eq!(list(json!({"contact": "many@localhost", "limit": 99_999, "offset": 9_000})), 1_001);
    assert_eq!(list(json!({"contact": "many@localhost", "limit": 3})), 3);
    assert_eq!(f.result("xmpp.search", json!(["book"]))["total"], 1);
    f.result("xmpp.search", json!(["book", 20_000, 5]));
    let log = f.control.log();
    assert!(log[3].ends_with("from 0 at most 1000") && log[4].ends_with("from 5 at most 10000"), "{log:?}");
}

#[test]
fn batches_and_notifications_work_over_http() {
    let f = Fixture::new();
    let one = |id: i32| json!({"jsonrpc": "2.0", "id": id, "method": "bt.resume", "params": [FILM]});
    let batch = json!([one(1), {"jsonrpc": "2.0", "method": "bt.pause", "params": [SONG]}, one(2)]).to_string();
    let answers: Value = serde_json::from_str(body_of(&f.post("", &batch))).unwrap();
    assert_eq!(answers.as_array().unwrap().iter().map(|a| a["id"].clone()).collect::<Vec<_>>(), [json!(1), json!(2)]);
    assert_eq!(f.control.log().len(), 3);
    let silent = f.post("", &json!({"jsonrpc": "2.0", "method": "bt.pause", "params": [SONG]}).to_string());
    assert_eq!((status_of(&silent), body_of(&silent)), (204, ""));
    assert_eq!(f.control.log().len(), 4);
    let huge = format!("[{}1]", "1,".repeat(400_000));
    let answer: Value = serde_json::from_str(body_of(&f.post("", &huge))).unwrap();
    assert_eq!(answer["error"]["code"], -32600);
}

#[test]
fn malformed_json_is_a_parse_error() {
    let f = Fixture::new();
    let deep = "[".repeat(500_000);
    for body in ["{", "", "\u{0}", deep.as_str()] {
        let answer: Value = serde_json::from_str(body_of(&f.post("", body))).unwrap();
        assert_eq!(answer["error"]["code"], -32700);
    }
}

#[test]
fn every_method_is_described_and_can_be_called() {
    let f = Fixture::new();
    let document = f.result("rpc.discover", json!([]));
    let methods = document["methods"].as_array().unwrap();
    assert!(methods.len() > 25);
    for method in methods {
        let name = method["name"].as_str().unwrap();
        let arguments: serde_json::Map<_, _> = method["params"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|param| param["required"] == true)
            .map(|param| {
                let value = match param["name"].as_str().unwrap() {
                    "hash" => json!(FILM),
                    "address" => json!("192.0.2.1:7"),
                    "job" => json!(7),
                    "groups" => json!(["Friends"]),
                    _ => json!("x@y"),
                };
                (param["name"].as_str().unwrap().to_owned(), value)
            })
            .collect();
        let answer = f.call(name, Value::Object(arguments));
        let expected_to_fail = ["xmpp.remove_contact", "bt.add_torrent"].contains(&name);
        assert_eq!(answer.get("error").is_some(), expected_to_fail, "{name}: {answer}");
    }
}

#[test]
fn a_caller_may_call_what_the_scope_allows_and_nothing_else() {
    let scopes = [Scope::View, Scope::Add, Scope::Admin];
    for method in methods::all() {
        for scope in scopes {
            let control = FakeControl::default();
            let caller = Caller { scope, how: How::TokenFile, from: None };
            let params = Params::Positional(vec![Value::Null; method.params.len()]);
            let call = Call { id: None, method: method.name.to_owned(), params };
            let refusal = dispatch(&control, &caller, &call).err().filter(|error| error.code == -32014);
            assert_eq!(refusal.is_some(), scope < method.scope, "{} with {scope:?}", method.name);
            if let Some(refusal) = refusal {
                assert!(refusal.message.contains(method.scope.as_str()), "{}", refusal.message);
                assert!(control.log().is_empty(), "{} was called all the same", method.name);
            }
        }
    }
}

#[test]
fn a_caller_is_told_how_it_is_known() {
    let f = Fixture::new();
    let open = json!({"scope": "admin", "how": "open", "name": null, "expires": null});
    assert_eq!(f.result("Api.whoami", json!([])), open);
    let f = Fixture::with(|o| o.token = Some("s3cret".into()));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.whoami"}).to_string();
    let answer = f.post("Authorization: Bearer s3cret\r\n", &body);
    assert!(body_of(&answer).contains("\"how\":\"token\""), "{answer}");
}

#[test]
fn pages_are_served_and_wrong_methods_and_paths_refused() {
    let f = Fixture::new();
    assert!(f.get("/").contains("This is a bitween daemon"));
    assert!(f.get("/api/browse?x").contains("bt.add_torrent_by_hash"));
    assert_eq!(body_of(&f.get("/healthz")), "ok\n");
    assert_eq!(status_of(&f.get("/style.css")), 200);
    assert_eq!(status_of(&f.get("/etc/passwd")), 404);
    assert_eq!(status_of(&f.get("/api")), 405);
    let head = f.raw(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((status_of(&head), body_of(&head)), (200, ""));
    assert_eq!(status_of(&f.raw(b"DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")), 405);
}

#[test]
fn rebinding_and_cross_site_calls_are_refused_and_do_nothing() {
    let f = Fixture::with(|o| o.allowed_hosts = vec!["box.lan".into()]);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.exit"}).to_string();
    let send = |host: &str, more: &str| {
        let len = body.len();
        f.raw(
            format!(
                "POST /api HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len}\r\n{more}\r\n{body}"
            )
            .as_bytes(),
        )
    };
    let answer = send("evil.example:5000", "");
    assert!(status_of(&answer) == 403 && answer.contains("allowed_hosts"), "{answer}");
    assert_eq!(status_of(&send("localhost", "Origin: http://evil.example\r\n")), 403);
    assert_eq!(status_of(&send("localhost", "Origin: null\r\n")), 403);
    assert_eq!(f.control.log(), Vec::<String>::new());
    assert_eq!(status_of(&send("box.lan", "")), 200);
    assert_eq!(status_of(&send("localhost", "Origin: http://localhost\r\n")), 200);
}

#[test]
fn the_token_is_needed_where_others_can_reach_the_server() {
    let options = ServerOptions::new("0.0.0.0:0".parse().unwrap());
    let refused = RpcServer::start(options, Arc::new(FakeControl::default()));
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("token_file"), "{text}");

    let f = Fixture::with(|o| o.token = Some("s3cret".into()));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.status"}).to_string();
    let without = f.post("", &body);
    assert!(status_of(&without) == 401 && without.contains("WWW-Authenticate: Bearer"), "{without}");
    assert_eq!(status_of(&f.post("Authorization: Bearer wrong\r\n", &body)), 401);
    assert_eq!(status_of(&f.post("Authorization: Bearer s3cret\r\n", &body)), 200);
    assert_eq!(status_of(&f.get("/healthz")), 200);
    assert_eq!(status_of(&f.get("/metrics")), 401, "numbers are for those who may look");
    let get = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let shown = f.raw(format!("{get}Authorization: Bearer s3cret\r\n\r\n").as_bytes());
    assert_eq!((status_of(&shown), body_of(&shown)), (200, "bitween_peers 3\n"));
    assert_eq!(status_of(&f.raw(format!("{get}Origin: http://evil.example\r\n\r\n").as_bytes())), 403);
}

#[test]
fn no_body_is_taken_from_who_may_not_call() {
    let fixture = Fixture::with(|options| options.token = Some("s3cret".into()));
    let head = "POST /api HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n";
    for (headers, status) in [("Host: evil.example", 403), ("Host: localhost\r\nAuthorization: Bearer wrong", 401)] {
        // The body never comes; the answer does, and it is not "go on".
        let mut stream = fixture.connect();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "{head}{headers}\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("HTTP/1.1 {status}"));
    }
}

#[test]
fn a_taken_port_is_named() {
    let f = Fixture::new();
    let again = RpcServer::start(ServerOptions::new(f.server.address()), Arc::new(FakeControl::default()));
    let Err(error @ RpcError::Listen { .. }) = again else { panic!("it listens twice") };
    assert!(
        error.to_string().contains(&f.server.address().to_string()) && error.to_string().contains("--port"),
        "{error}"
    );
}

#[test]
fn one_connection_carries_many_calls_pipelined_too() {
    let f = Fixture::new();
    let mut stream = f.connect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.versions"}).to_string();
    let request = format!("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.repeat(50).as_bytes()).unwrap();
    let mut answers = String::new();
    let mut buffer = [0; 4096];
    while answers.matches("\"bitween\"").count() < 50 {
        let len = stream.read(&mut buffer).unwrap();
        assert_ne!(len, 0, "closed after {answers}");
        answers.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
    }
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 50);
}

#[test]
fn chunked_bodies_and_expect_continue_are_understood() {
    let f = Fixture::new();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.versions"}).to_string();
    let head = "POST /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let answer =
        f.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
    assert_eq!(status_of(&answer), 200);

    let mut stream = f.connect();
    write!(stream, "{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 200);
}

#[test]
fn smuggling_and_oversized_requests_are_refused_with_a_readable_answer() {
    let f = Fixture::new();
    let both =
        "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status_of(&f.raw(both.as_bytes())), 400);
    let announced = f.raw(b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n");
    assert!(status_of(&announced) == 413 && announced.contains("max_body"), "{announced}");
    // The client goes on sending, as clients do; it must still get to read why.
    let mut sent = b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n".to_vec();
    sent.resize(sent.len() + 3_000_000, b'x');
    assert_eq!(status_of(&f.raw(&sent)), 413);
    let header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    assert_eq!(status_of(&f.raw(header.as_bytes())), 431);
    assert_eq!(status_of(&f.raw(b"\x16\x03\x01 hello TLS\r\n\r\n")), 400);
}

#[test]
fn a_slow_request_times_out() {
    let f = Fixture::with(|o| o.timing = Timing { request: Duration::from_millis(200), ..Timing::default() });
    let mut stream = f.connect();
    stream.write_all(b"POST /api HTTP/1.1\r\n").unwrap();
    let start = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 408);
    assert!(start.elapsed() < Duration::from_secs(3));
    let mut silent = f.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "a connection that never says anything is closed");
}

#[test]
fn a_thousand_slow_connections_lock_nobody_out() {
    let f = Fixture::with(|o| o.max_connections = 16);
    let slow: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = f.connect();
            let _ = stream.write_all(b"POST /api HTTP/1.1\r\nHost: localhost\r\nX");
            stream
        })
        .collect();
    assert!(f.result("Api.status", json!([])).is_object());
    drop(slow);
}

#[test]
fn a_slow_call_does_not_delay_the_others() {
    let f = Fixture::with(|o| o.workers = 2);
    let mut slow = f.connect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "bt.share", "params": ["/slow"]}).to_string();
    write!(slow, "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let start = Instant::now();
    f.result("Api.status", json!([]));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_call_that_panics_costs_only_its_caller() {
    let f = Fixture::with(|o| o.workers = 1);
    for _ in 0..3 {
        assert_eq!(f.error("bt.share", json!(["/panic"])).0, -32603);
    }
    assert!(f.result("Api.status", json!([])).is_object());
}

#[test]
fn stopping_is_quick_and_frees_the_port_even_with_a_call_under_way() {
    let mut f = Fixture::new();
    let mut idle = f.connect();
    let mut slow = f.connect();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "bt.share", "params": ["/slow"]}).to_string();
    write!(slow, "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    while f.control.log().is_empty() {
        std::thread::yield_now();
    }
    let address = f.server.address();
    let start = Instant::now();
    f.server.stop();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err());
    f.server.stop();
}

#[test]
fn the_answer_to_the_last_call_is_still_sent() {
    let mut f = Fixture::new();
    let address = f.server.address();
    let caller = std::thread::spawn(move || {
        let mut stream = connect(address);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "Api.exit"}).to_string();
        write!(stream, "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    while f.control.log().is_empty() {
        std::thread::yield_now();
    }
    f.server.stop();
    assert!(caller.join().unwrap().contains("\"result\":true"));
}

#[test]
fn large_calls_together_are_bounded_and_small_ones_still_get_through() {
    let f = Fixture::with(|options| {
        options.limits.body = 200_000;
        options.workers = 1;
    });
    let begin = |len: usize| {
        let mut stream = connect(f.server.address());
        let head =
            "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; len]).unwrap();
        stream
    };
    let (mut larger, mut smaller) = (begin(150_000), begin(100_000));
    let mut answer = String::new();
    larger.read_to_string(&mut answer).unwrap();
    assert_eq!(status_of(&answer), 503, "{answer}");
    assert_eq!(f.result("bt.pause", json!([FILM])), true);
    // What may stay is still answered.
    smaller.write_all(&[b' '; 100_000]).unwrap();
    let mut first = [0; 12];
    smaller.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}
