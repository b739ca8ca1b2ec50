//! Trackers that take their time, or send more than anybody asked for.

use super::*;

/// Fills a listener's queue of connections, so that further ones hang while they are being made.
fn tracker_that_takes_no_connections() -> (SocketAddr, Vec<TcpStream>, socket2::Socket) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let connect = || TcpStream::connect_timeout(&addr, Duration::from_millis(200));
    let filling = std::iter::from_fn(|| connect().ok()).take(16).collect();
    (addr, filling, listener)
}

/// A server that begins an answer and then sends a byte now and then.
fn dripping_tracker() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (arrived, arrivals) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        let _ = arrived.send(());
        let mut part: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nd";
        while stream.write_all(part).is_ok() {
            part = b"0";
            thread::sleep(Duration::from_millis(30));
        }
    });
    (addr, arrivals)
}

/// Stops a pool and checks that this is quick and leaves no thread behind.
fn stop_and_count(pool: TrackerPool, replies: &Receiver<AnnounceReply>) {
    let began = Instant::now();
    pool.stop();
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    drop(pool);
    // Each thread holds the pool's function, and with it the sender.
    while replies.recv_timeout(Duration::from_millis(1)).is_ok() {}
    assert_eq!(replies.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected), "a thread is left behind");
}

#[test]
fn stopping_joins_the_threads_of_trackers_that_hang_at_any_point() {
    let (hung, hung_arrivals) = hung_tracker();
    let (dripping, dripping_arrivals) = dripping_tracker();
    let (full, _filling, _listener) = tracker_that_takes_no_connections();
    let (pool, replies) = pool();
    for addr in [hung, dripping, full] {
        pool.submit(request(1, &format!("http://{addr}/"), None)).unwrap();
    }
    hung_arrivals.recv_timeout(SOON).unwrap();
    dripping_arrivals.recv_timeout(SOON).unwrap();
    stop_and_count(pool, &replies);
}

#[test]
fn a_tls_handshake_that_hangs_is_broken_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (pool, replies) = pool();
    pool.submit(request(1, &format!("https://{}/", listener.local_addr().unwrap()), None)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    stop_and_count(pool, &replies);
}

#[test]
fn a_reply_that_drips_in_is_given_up_in_time() {
    let (dripping, _arrivals) = dripping_tracker();
    let timeout = Duration::from_millis(500);
    let (pool, replies) = pool_with(TrackerOptions { timeout, ..TrackerOptions::default() });
    pool.submit(request(1, &format!("http://{dripping}/"), None)).unwrap();
    let began = Instant::now();
    assert_eq!(replies.recv_timeout(SOON).unwrap().result, Err(AnnounceError::Timeout));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn an_address_that_swallows_packets_is_given_up_in_time() {
    let (full, _filling, _listener) = tracker_that_takes_no_connections();
    let timeout = Duration::from_millis(500);
    let (pool, replies) = pool_with(TrackerOptions { timeout, ..TrackerOptions::default() });
    pool.submit(request(1, &format!("http://{full}/"), None)).unwrap();
    assert_eq!(replies.recv_timeout(SOON).unwrap().result, Err(AnnounceError::Timeout));
}

/// Bits in the order of RFC 1951.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= u8::from(bit) << (self.used % 8);
        self.used += 1;
    }

    /// A Huffman code: the highest bit first.
    fn code(&mut self, code: u16, len: u16) {
        (0..len).rev().for_each(|bit| self.push(code >> bit & 1 == 1));
    }
}

/// A gzip file (RFC 1952) of `repeats` times 258 `l`, in 13 bits each; its end is missing.
fn gzip_bomb(repeats: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    [true, true, false].into_iter().for_each(|bit| bits.push(bit)); // last block, fixed codes
    bits.code(0b0011_0000 + u16::from(b'l'), 8);
    for _ in 0..repeats {
        bits.code(0b1100_0101, 8); // length 258
        bits.code(0, 5); // distance 1
    }
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &bits.bytes[..]].concat()
}

#[test]
fn a_reply_that_swells_when_it_is_unpacked_is_cut_off() {
    let bomb = gzip_bomb(1_000_000);
    assert!(bomb.len() < 2_000_000, "{}", bomb.len());
    let addr = http_tracker(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        [head.as_bytes(), &bomb].concat()
    });
    assert_eq!(announce(&format!("http://{addr}/")), Err(AnnounceError::TooLarge(MAX_REPLY_LEN)));
}
