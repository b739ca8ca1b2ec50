//! What becomes of HTTPS trackers in a build without them.

use super::*;

#[test]
fn an_https_tracker_is_refused_with_the_name_of_the_feature() {
    let error = announce("https://localhost:1/announce").unwrap_err();
    assert_eq!(error, AnnounceError::NoHttps);
    assert!(error.to_string().contains("`https`"), "{error}");
}

#[test]
fn a_redirect_to_https_is_refused_the_same_way() {
    let (seen, requests) = crossbeam_channel::unbounded();
    let secure = http_tracker(move |request| {
        seen.send(request.to_owned()).unwrap();
        Vec::new()
    });
    let tracker = http_tracker(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: https://{secure}/\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    assert_eq!(announce(&format!("http://{tracker}/announce")), Err(AnnounceError::NoHttps));
    assert!(requests.try_iter().all(|request| request.is_empty()), "nothing was sent in the clear");
}
