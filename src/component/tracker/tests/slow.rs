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

#[cfg(feature = "https")]
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
