//! Tests against tiny trackers on the loopback interface.
#![allow(clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use super::*;
use crate::proto::tracker::http::HttpReplyError;
use crate::proto::tracker::{Announce, NamedBy, UrlError};
use crate::types::TorrentKey;
use crate::types::{InfoHash, PeerId};

const SOON: Duration = Duration::from_secs(10);
const PEER: &[u8] = b"d8:intervali900e5:peers6:\x0a\x00\x00\x01\x00\x50e";

/// An HTTP server that answers each request, given as text, with what `answer` makes of it.
fn http_tracker(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read_request(&mut stream);
            // The client may have gone, as when a reply is longer than it reads.
            let _ = stream.write_all(&answer(&request));
        }
    });
    addr
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn http_response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A server that accepts connections and never answers. Reports when a request has arrived.
fn hung_tracker() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (arrived, arrivals) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        let mut held: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            held.push(stream);
            let _ = arrived.send(());
        }
    });
    (addr, arrivals)
}

/// What a UDP tracker was asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Connect,
    Announce(Vec<u8>),
}

/// A tracker as in BEP 15 that knows one peer. With `refusal`, announces are answered with that error.
fn udp_tracker(bind: &str, refusal: Option<&'static str>) -> io::Result<(SocketAddr, Receiver<Asked>)> {
    let socket = UdpSocket::bind(bind)?;
    let addr = socket.local_addr()?;
    let (report, asked) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let packet = &buffer[..len];
            let transaction = &packet[12..16];
            let connection_id = u64::from(from.port()).to_be_bytes();
            let reply = if packet[8..12] == [0; 4] && len == 16 {
                report.send(Asked::Connect).unwrap();
                [&[0; 4], transaction, &connection_id].concat()
            } else if packet[..8] != connection_id {
                [&[0, 0, 0, 3], transaction, b"unknown connection"].concat()
            } else {
                report.send(Asked::Announce(packet.to_vec())).unwrap();
                let peer: &[u8] = if addr.is_ipv4() {
                    &[10, 0, 0, 1, 0, 80]
                } else {
                    &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80]
                };
                match refusal {
                    Some(reason) => [&[0, 0, 0, 3], transaction, reason.as_bytes()].concat(),
                    None => [&[0, 0, 0, 1], transaction, &[0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2], peer].concat(),
                }
            };
            socket.send_to(&reply, from).unwrap();
        }
    });
    Ok((addr, asked))
}

fn pool_with(options: TrackerOptions) -> (TrackerPool, Receiver<AnnounceReply>) {
    let (sender, replies) = crossbeam_channel::unbounded();
    let deliver: Deliver = Arc::new(move |reply| drop(sender.send(reply)));
    (TrackerPool::start(options, deliver).unwrap(), replies)
}

fn pool() -> (TrackerPool, Receiver<AnnounceReply>) {
    pool_with(TrackerOptions::default())
}

fn request(torrent: u64, url: &str, event: Option<AnnounceEvent>) -> AnnounceRequest {
    let announce = Announce::new(InfoHash::new([0xAB; 20]), PeerId::ours([b'x'; 12]), 6881, 100);
    let announce = Announce { event, ..announce };
    AnnounceRequest { torrent: TorrentKey(torrent), url: url.into(), named_by: NamedBy::User, announce }
}

/// The result of one announce.
fn announce(url: &str) -> Result<Announced, AnnounceError> {
    let (pool, replies) = pool();
    pool.submit(request(1, url, None)).unwrap();
    let reply = replies.recv_timeout(SOON).unwrap();
    assert_eq!((reply.torrent, &*reply.url, reply.event), (TorrentKey(1), url, None));
    reply.result
}

#[test]
fn an_http_tracker_is_asked_and_its_peers_come_back() {
    let (seen, requests) = crossbeam_channel::unbounded();
    let addr = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        http_response("200 OK", PEER)
    });
    let reply = announce(&format!("http://{addr}/announce?pass=1")).unwrap();
    assert_eq!(reply.peers, ["10.0.0.1:80".parse().unwrap()]);
    assert_eq!(reply.interval, Duration::from_secs(900));
    let request = requests.recv_timeout(SOON).unwrap();
    let expected =
        format!("GET /announce?pass=1&info_hash={}&peer_id=-BW0100-xxxxxxxxxxxx&port=6881&", "%AB".repeat(20));
    assert!(request.starts_with(&expected), "{request}");
    let agent = format!("user-agent: bitween/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(request.to_lowercase().contains(&agent), "{request}");
}

#[test]
fn refusals_and_http_errors_are_told_apart() {
    let refusing = http_tracker(|_| http_response("403 Forbidden", b"d14:failure reason6:go off8:retry ini5ee"));
    let error = announce(&format!("http://{refusing}/secret")).unwrap_err();
    assert_eq!(error.to_string(), "the tracker refused: go off");
    assert_eq!(error.retry_in(), Some(Duration::from_secs(300)));
    let broken = http_tracker(|_| http_response("502 Bad Gateway", b"<html>"));
    assert_eq!(announce(&format!("http://{broken}/")), Err(AnnounceError::Status(502)));
    let page = http_tracker(|_| http_response("200 OK", b"<html>"));
    assert!(matches!(
        announce(&format!("http://{page}/")),
        Err(AnnounceError::HttpReply(HttpReplyError::Malformed(_)))
    ));
}

#[test]
fn a_reply_without_end_is_cut_off() {
    let len = usize::try_from(MAX_REPLY_LEN).unwrap() + 1;
    let addr = http_tracker(move |_| http_response("200 OK", &vec![b'l'; len]));
    assert_eq!(announce(&format!("http://{addr}/")), Err(AnnounceError::TooLarge(MAX_REPLY_LEN)));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let target = http_tracker(|_| http_response("200 OK", PEER));
    let redirect = |to: String| {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let once = http_tracker(move |_| redirect(format!("http://{target}/new")));
    assert_eq!(announce(&format!("http://{once}/")).unwrap().peers.len(), 1);
    let circle = http_tracker(move |_| redirect("/again".into()));
    assert_eq!(announce(&format!("http://{circle}/")), Err(AnnounceError::Http("too many redirects")));
}

#[test]
fn nobody_there_is_noticed_at_once() {
    let free_tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(announce(&format!("http://{free_tcp}/secret")), Err(AnnounceError::Unreachable(_))));
    let free_udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = announce(&format!("udp://{free_udp}/secret")).unwrap_err();
    assert_eq!(error.to_string(), "the tracker cannot be reached: connection refused");
}

#[test]
fn unusable_urls_are_refused_before_anything_is_queued() {
    let (pool, _replies) = pool();
    assert_eq!(pool.submit(request(1, "ws://x/", None)), Err(AnnounceError::Url(UrlError::Scheme)));
    pool.stop();
    assert_eq!(pool.submit(request(1, "http://x/", None)), Err(AnnounceError::Stopped));
}

#[test]
fn a_udp_tracker_is_asked_and_the_connection_is_used_again() {
    let (addr, asked) = udp_tracker("127.0.0.1:0", None).unwrap();
    let (pool, replies) = pool();
    for event in [Some(AnnounceEvent::Started), None] {
        pool.submit(request(1, &format!("udp://{addr}/secret"), event)).unwrap();
        let reply = replies.recv_timeout(SOON).unwrap().result.unwrap();
        assert_eq!(reply.peers, ["10.0.0.1:80".parse().unwrap()]);
        assert_eq!((reply.seeders, reply.leechers), (Some(2), Some(1)));
    }
    assert_eq!(asked.recv(), Ok(Asked::Connect));
    let Ok(Asked::Announce(first)) = asked.recv() else { panic!("an announce must follow") };
    assert_eq!(first[16..36], [0xAB; 20]);
    assert_eq!(first[80..84], [0, 0, 0, 2]);
    assert_eq!(first[98..], *b"\x02\x07/secret\x00");
    let Ok(Asked::Announce(second)) = asked.recv() else { panic!("no second connect request") };
    assert_eq!(second[80..84], [0; 4]);
}

#[test]
fn a_udp_tracker_may_refuse() {
    let (addr, _asked) = udp_tracker("127.0.0.1:0", Some("unregistered torrent")).unwrap();
    let error = announce(&format!("udp://{addr}")).unwrap_err();
    assert_eq!(error.to_string(), "the tracker refused: unregistered torrent");
}

#[test]
fn a_udp_tracker_may_have_an_ipv6_address() {
    let Ok((addr, _asked)) = udp_tracker("[::1]:0", None) else {
        println!("SKIPPED: this machine has no IPv6 loopback");
        return;
    };
    assert_eq!(announce(&format!("udp://{addr}")).unwrap().peers, ["[2001:db8::1]:80".parse().unwrap()]);
}

#[test]
fn a_hung_tracker_takes_one_thread_and_what_waits_behind_it_shares_its_fate() {
    let (hung, arrivals) = hung_tracker();
    let good = http_tracker(|_| http_response("200 OK", PEER));
    let (pool, replies) =
        pool_with(TrackerOptions { threads: 2, timeout: Duration::from_secs(1), ..Default::default() });
    for torrent in 0..20 {
        pool.submit(request(torrent, &format!("http://{hung}/{torrent}"), None)).unwrap();
    }
    arrivals.recv_timeout(SOON).unwrap();
    pool.submit(request(99, &format!("http://{good}/"), None)).unwrap();
    let first = replies.recv_timeout(SOON).unwrap();
    assert_eq!(first.torrent, TorrentKey(99));
    assert!(first.result.is_ok());
    let began = Instant::now();
    for torrent in 0..20 {
        let reply = replies.recv_timeout(SOON).unwrap();
        assert_eq!((reply.torrent, reply.result), (TorrentKey(torrent), Err(AnnounceError::Timeout)));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "not one second each");
    assert_eq!(arrivals.len(), 0, "the others were not even tried");
}

#[test]
fn stopping_does_not_wait_for_hung_trackers_and_still_says_goodbye() {
    let hung: Vec<_> = (0..3).map(|_| hung_tracker()).collect();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (udp, asked) = udp_tracker("127.0.0.1:0", None).unwrap();
    let (seen, requests) = crossbeam_channel::unbounded();
    let http = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        http_response("200 OK", b"de")
    });
    let (pool, _replies) = pool();
    for (addr, arrivals) in &hung {
        pool.submit(request(1, &format!("http://{addr}/"), None)).unwrap();
        arrivals.recv_timeout(SOON).unwrap();
    }
    // All threads are busy for the next twenty seconds now.
    let stopped = Some(AnnounceEvent::Stopped);
    pool.submit(request(1, &format!("http://{http}/never"), None)).unwrap();
    pool.submit(request(1, &format!("http://{}/", hung[0].0), stopped)).unwrap();
    pool.submit(request(1, &format!("udp://{}", silent.local_addr().unwrap()), stopped)).unwrap();
    pool.submit(request(1, &format!("udp://{udp}"), stopped)).unwrap();
    pool.submit(request(1, &format!("http://{http}/bye"), stopped)).unwrap();
    let began = Instant::now();
    pool.stop();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(asked.try_recv(), Ok(Asked::Connect));
    let Ok(Asked::Announce(bye)) = asked.try_recv() else { panic!("no good-bye over UDP") };
    assert_eq!(bye[80..84], [0, 0, 0, 3]);
    let bye = requests.try_recv().unwrap();
    assert!(bye.contains("/bye?") && bye.contains("event=stopped"), "{bye}");
    assert!(requests.try_recv().is_err(), "nothing but good-byes is sent");
}

#[test]
fn stopping_an_idle_pool_is_immediate_and_interrupts_udp() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (pool, replies) = pool();
    pool.submit(request(1, &format!("udp://{}", silent.local_addr().unwrap()), None)).unwrap();
    silent.recv(&mut [0; 64]).unwrap();
    let began = Instant::now();
    pool.stop();
    pool.stop();
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    drop(pool);
    assert_eq!(replies.iter().count(), 1, "all threads have let go of the channel");
}

mod access;
#[cfg(feature = "https")]
mod gzip;
#[cfg(feature = "https")]
mod https;
#[cfg(not(feature = "https"))]
mod no_https;
mod slow;
