//! Trackers that a torrent must not make us ask.

use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::NextTimeout;

use super::*;
use crate::component::tracker::guard::Guard;
use crate::proto::tracker::Forbidden;

/// The result of one announce to a tracker that a torrent names.
fn announce_for_torrent(url: &str, allow_loopback: bool) -> Result<Announced, AnnounceError> {
    let (pool, replies) = pool_with(TrackerOptions { allow_loopback, ..TrackerOptions::default() });
    pool.submit(AnnounceRequest { named_by: NamedBy::Torrent, ..request(1, url, None) }).unwrap();
    replies.recv_timeout(SOON).unwrap().result
}

#[test]
fn a_torrent_does_not_make_us_ask_this_machine() {
    let (seen, requests) = crossbeam_channel::unbounded();
    let http = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        http_response("200 OK", PEER)
    });
    let (udp, asked) = udp_tracker("127.0.0.1:0", None).unwrap();
    let port = http.port();
    for url in [
        format!("http://{http}/announce"),
        format!("http://localhost:{port}/announce"),
        format!("http://0.0.0.0:{port}/announce"),
        format!("http://[::ffff:127.0.0.1]:{port}/announce"),
        format!("http://2130706433:{port}/announce"),
        format!("https://{http}/announce"),
        format!("udp://{udp}/announce"),
        format!("udp://localhost:{}/announce", udp.port()),
    ] {
        let refusal = match url.starts_with("https:") && cfg!(not(feature = "https")) {
            true => AnnounceError::NoHttps,
            false => Forbidden::Loopback.into(),
        };
        assert_eq!(announce_for_torrent(&url, false), Err(refusal), "{url}");
    }
    assert!(requests.is_empty() && asked.is_empty(), "not a byte was sent");
}

#[test]
fn where_it_may_be_asked_a_local_service_has_to_look_like_a_tracker() {
    let (seen, requests) = crossbeam_channel::unbounded();
    let http = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        http_response("200 OK", PEER)
    });
    for path in ["/api/exit", "/?cmd=exit", "/exit?x=/announce"] {
        assert_eq!(announce_for_torrent(&format!("http://{http}{path}"), true), Err(Forbidden::NoTracker.into()));
    }
    assert!(requests.is_empty());
    for path in ["/announce", "/secret/announce?x=1", ""] {
        assert_eq!(announce_for_torrent(&format!("http://{http}{path}"), true).unwrap().peers.len(), 1, "{path}");
    }
    let (udp, _asked) = udp_tracker("127.0.0.1:0", None).unwrap();
    assert_eq!(announce_for_torrent(&format!("udp://{udp}/any"), true).unwrap().peers.len(), 1);
}

#[test]
fn a_redirect_from_a_tracker_to_a_local_service_is_not_followed() {
    let (seen, requests) = crossbeam_channel::unbounded();
    let service = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        http_response("200 OK", PEER)
    });
    let tracker = http_tracker(move |_| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: http://{service}/exit\r\n");
        [head.as_bytes(), b"Content-Length: 0\r\nConnection: close\r\n\r\n"].concat()
    });
    assert_eq!(announce_for_torrent(&format!("http://{tracker}/announce"), true), Err(Forbidden::NoTracker.into()));
    assert!(requests.is_empty());
}

#[test]
fn no_redirect_leads_nearer_than_where_it_came_from() {
    let deadline = Deadline::new(SystemClock.now() + SOON, false, Arc::default());
    let hops = |uris: &[&str]| {
        let access = Access { named_by: NamedBy::User, allow_loopback: true };
        let guard = Guard::new(LookUp::default(), access, deadline.clone());
        let config = Config::builder().proxy(None).build();
        let last = uris.iter().map(|uri| {
            let resolved = guard.resolve(&uri.parse().unwrap(), &config, NextTimeout::default());
            resolved.map(|addrs| addrs.len()).map_err(|error| match error {
                Error::Other(error) => *error.downcast::<AnnounceError>().unwrap(),
                other => panic!("{other}"),
            })
        });
        last.last().unwrap()
    };
    let refused = Err(Forbidden::Redirect.into());
    assert_eq!(hops(&["http://198.51.100.1/announce", "https://198.51.100.2/announce"]), Ok(1));
    assert_eq!(hops(&["http://198.51.100.1/announce", "http://10.0.0.1/announce"]), refused);
    assert_eq!(hops(&["http://198.51.100.1/announce", "http://localhost/announce"]), refused);
    assert_eq!(hops(&["http://10.0.0.1/a", "http://198.51.100.1/a", "http://10.0.0.1/a"]), refused);
    assert_eq!(hops(&["http://[::1]/a", "http://[fd00::1]/a"]), Ok(1));
}
