//! Requests as browsers, curl and attackers send them.

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Option<Request>, RequestError> {
    let mut reader = RequestReader::new(Limits { head: 1024, body: 64 });
    reader.push(bytes);
    reader.next_request()
}

fn post(headers: &str, body: &str) -> Result<Option<Request>, RequestError> {
    read(format!("POST /api?x=1 HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}").as_bytes())
}

#[test]
fn a_request_with_a_body_is_read_whole() {
    let request = post("Content-Length: 2\r\nX-Y:  z \r\n", "{}").unwrap().unwrap();
    assert_eq!((request.method, request.path.as_str(), request.query.as_deref()), (Method::Post, "/api", Some("x=1")));
    assert_eq!((request.body.as_slice(), request.header("x-y")), (&b"{}"[..], Some("z")));
    assert!(request.keep_alive);
    assert!(post("Content-Length: 3\r\n", "{}").unwrap().is_none());
}

#[test]
fn chunks_are_joined_and_extensions_and_trailers_ignored() {
    let request = post("Transfer-Encoding: chunked\r\n", "3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n")
        .unwrap()
        .unwrap();
    assert_eq!(request.body, b"abc0123456789");
}

#[test]
fn what_could_smuggle_a_request_is_refused() {
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length:\r\n",
        "Content-Length : 2\r\n",
        "Content-Length: 2\r\n folded\r\n",
        "Host: b\r\n",
    ] {
        assert!(matches!(post(headers, "{}"), Err(RequestError::Malformed(_))), "{headers:?}");
    }
    for coding in ["gzip", "chunked, chunked", "identity", "xchunked", "chunked\r\nTransfer-Encoding: chunked"] {
        assert_eq!(post(&format!("Transfer-Encoding: {coding}\r\n"), "").unwrap_err(), RequestError::UnknownCoding);
    }
    for chunks in ["-1\r\n", "3\r\nabcd\r\n", "g\r\n", "\r\n", "ffffffffffffffffff\r\n"] {
        assert!(post("Transfer-Encoding: chunked\r\n", chunks).is_err(), "{chunks:?}");
    }
    assert!(read(b"POST /api HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
}

#[test]
fn limits_hold_before_anything_is_stored() {
    assert_eq!(post("Content-Length: 65\r\n", "").unwrap_err().status(), 413);
    assert_eq!(post("Content-Length: 99999999999999999999999\r\n", "").unwrap_err().status(), 413);
    assert_eq!(post("Transfer-Encoding: chunked\r\n", "41\r\n").unwrap_err().status(), 413);
    let long = format!("A: {}\r\n", "x".repeat(2000));
    assert_eq!(post(&long, "").unwrap_err().status(), 431);
    assert_eq!(read(&vec![b'G'; 1025]).unwrap_err().status(), 431);
    assert_eq!(post(&"A: b\r\n".repeat(65), "").unwrap_err().status(), 431);
}

#[test]
fn an_endless_trailer_is_refused() {
    let trailer = "T: x\r\n".repeat(1000);
    assert!(post("Transfer-Encoding: chunked\r\n", &format!("0\r\n{trailer}")).is_err());
}

#[test]
fn only_paths_are_targets() {
    for line in
        ["GET http://evil/ HTTP/1.1", "CONNECT a:80 HTTP/1.1", "OPTIONS * HTTP/1.1", "GET  HTTP/1.1", "GET / HTTP/2.0"]
    {
        assert!(read(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).is_err(), "{line}");
    }
    assert!(read(b"GET / HTTP/1.1\r\n\r\n").is_err(), "no Host");
    assert!(read(b"\x16\x03\x01\x02\x00 TLS").is_err());
}

#[test]
fn the_connection_stays_only_if_both_can() {
    let keep = |text: &str| read(text.as_bytes()).unwrap().unwrap().keep_alive;
    assert!(!keep("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"));
    assert!(!keep("GET / HTTP/1.0\r\n\r\n"));
    assert!(keep("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn a_client_that_waits_for_permission_is_noticed_once() {
    let mut reader = RequestReader::new(Limits::default());
    reader.push(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    assert!(reader.next_request().unwrap().is_none());
    assert!(reader.take_continue() && !reader.take_continue());
    reader.push(b"x");
    assert_eq!(reader.next_request().unwrap().unwrap().body, b"x");
    assert!(!reader.is_mid_request());
}

proptest! {
    #[test]
    fn two_requests_survive_any_split(cut in 0_usize..200, body in "[a-z]{0,20}") {
        let one = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let two = "\r\nPOST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let both = format!("{one}{two}").into_bytes();
        let (left, right) = both.split_at(cut.min(both.len()));
        let mut reader = RequestReader::new(Limits::default());
        let mut found = Vec::new();
        for part in [left, right] {
            reader.push(part);
            while let Some(request) = reader.next_request().unwrap() {
                found.push((request.path, request.body));
            }
        }
        prop_assert_eq!(found, vec![("/a".to_owned(), body.into_bytes()), ("/b".to_owned(), b"hello".to_vec())]);
        prop_assert!(!reader.is_mid_request());
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = post("Transfer-Encoding: chunked\r\n", &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn empty_lines_are_no_request_that_has_begun() {
    let mut reader = RequestReader::new(Limits::default());
    reader.push(b"\r\n\r\n");
    assert!(!reader.is_mid_request(), "or they would keep a connection open");
    reader.push(b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n");
    assert!(reader.is_mid_request());
    assert!(reader.next_request().unwrap().is_some());
    assert!(reader.next_request().unwrap().is_none() && !reader.is_mid_request());
}

#[test]
fn a_coding_with_a_blank_that_is_none_in_http_is_another_coding() {
    let mut reader = RequestReader::new(Limits::default());
    reader.push("POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\u{a0}\r\n\r\n0\r\n\r\n".as_bytes());
    assert!(matches!(reader.next_request(), Err(RequestError::UnknownCoding)));
}
