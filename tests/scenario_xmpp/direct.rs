//! TLS from the first byte (XEP-0368), and certificates that are not to be trusted.

use crate::common::prosody::{Prosody, ProsodyOptions, installed};
use crate::common::text;
use crate::common::user::User;
use crate::{PATIENCE, SOON, daemon, file, online, server, server_with, until};

/// Somebody whose configuration says `tls = "direct"`.
fn direct(server: &Prosody, user: &str) -> User {
    let person = daemon(server, user);
    let with_tls = format!("{}\"\ntls = \"direct", server.direct_tls_server());
    person.edit_config(&server.server(), &with_tls);
    person
}

fn refusal(person: &User) -> String {
    until("it is refused", PATIENCE, || person.account().0 == "offline");
    let error = person.account().1;
    assert_eq!(error.lines().count(), 1);
    error
}

#[test]
fn a_share_travels_over_direct_tls() {
    if !installed() {
        return;
    }
    let server = server();
    let alice = direct(&server, "alice").started();
    alice.wait_online();
    let [bob] = online(&server, ["bob"]);
    let hash = alice.share(&file(&alice, "film.mkv", 100_000));
    until("bob sees it", SOON, || bob.can_get(&hash));
    bob.ok_within(PATIENCE, &["get", &hash, "--wait"]);
    assert!(server.log().contains("c2s_direct_tls"));
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused_with_the_reason() {
    if !installed() {
        return;
    }
    let server = server();
    let [unknown, unencrypted] = [direct(&server, "alice"), direct(&server, "bob")];
    // The system's authorities do not know this one.
    unknown.edit_config(&format!("ca_file = \"{}\"", text(&server.ca_file())), "");
    // A port that expects STARTTLS is no server for direct TLS.
    unencrypted.edit_config(&server.direct_tls_server(), &server.server());
    let (unknown, unencrypted) = (unknown.started(), unencrypted.started());
    let error = refusal(&unknown);
    assert!(error.contains("not signed by an authority known here") && error.contains("ca_file"), "{error}");
    assert!(!refusal(&unencrypted).is_empty());

    let other = server_with(ProsodyOptions { certificate_name: "other.example", ..ProsodyOptions::default() });
    let error = refusal(&direct(&other, "alice").started());
    assert!(error.contains("other.example") && error.contains("localhost"), "{error}");
    for log in [server.log(), other.log()] {
        assert!(!log.contains("Authenticated as"), "no login");
    }
}
