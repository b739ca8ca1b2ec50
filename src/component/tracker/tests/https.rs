//! Trackers over HTTPS.

use super::*;

/// One HTTPS server with a certificate of its own for `localhost`; returns its address and the certificate.
fn https_tracker() -> (SocketAddr, Vec<u8>) {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = key.cert.der().clone();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            if read_request(&mut stream).is_empty() {
                continue; // it did not trust us
            }
            stream.write_all(&http_response("200 OK", PEER)).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (addr, certificate.to_vec())
}

#[test]
fn https_trackers_must_have_a_trusted_certificate() {
    let (addr, certificate) = https_tracker();
    let url = format!("https://localhost:{}/announce", addr.port());
    let (pool, replies) = pool_with(TrackerOptions { roots: Roots::Only(vec![certificate]), ..Default::default() });
    pool.submit(request(1, &url, None)).unwrap();
    assert_eq!(replies.recv_timeout(SOON).unwrap().result.unwrap().peers.len(), 1);
    assert!(matches!(announce(&url), Err(AnnounceError::Tls(_))), "the system does not know the certificate");
}
