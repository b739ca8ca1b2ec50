//! Keep-alives and time-outs on virtual time.

use super::*;
use crate::proto::peer::Command;

/// An established session that has said all it owes.
fn quiet(now: Instant) -> Session {
    let mut session = established(now, Some(geometry()), Features::OURS);
    session.flush(now, &mut Vec::new());
    session
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_unfinished_handshake_times_out_after_twenty_seconds() {
    let start = Instant::now();
    let mut incoming = Session::responder(start);
    assert_eq!(incoming.poll_timeout(), start + 20 * SECOND);
    assert_eq!(incoming.step(start + 15 * SECOND, b"\x13BitTorrent"), Ok(Step::NeedMore(HANDSHAKE_LEN)));
    assert_eq!(incoming.handle_timeout(start + 19 * SECOND, &mut Vec::new()), Ok(()));
    let late = incoming.handle_timeout(start + 20 * SECOND, &mut Vec::new());
    assert_eq!(late, Err(WireError::HandshakeTimeout));
}

#[test]
fn a_session_nobody_accepts_times_out_too() {
    let start = Instant::now();
    let mut incoming = Session::responder(start);
    let mut hello = Vec::new();
    let _ = Session::initiator(start, INFO_HASH, options(None), &mut hello);
    incoming.step(start, &hello).unwrap();
    assert_eq!(incoming.handle_timeout(start + 20 * SECOND, &mut Vec::new()), Err(WireError::HandshakeTimeout));
}

#[test]
fn a_keep_alive_follows_a_hundred_seconds_of_our_silence() {
    let start = Instant::now();
    let mut session = quiet(start);
    let mut out = Vec::new();
    session.send(start + 30 * SECOND, &Command::Interested, &mut out);
    out.clear();
    assert_eq!(session.poll_timeout(), start + 130 * SECOND);
    assert_eq!(session.handle_timeout(start + 129 * SECOND, &mut out), Ok(()));
    assert_eq!(out, b"");
    assert_eq!(session.handle_timeout(start + 130 * SECOND, &mut out), Ok(()));
    assert_eq!(out, [0, 0, 0, 0]);
    assert_eq!(session.poll_timeout(), start + 150 * SECOND, "now the peer's silence is next");
}

#[test]
fn a_peer_silent_for_a_hundred_and_fifty_seconds_is_dead() {
    let start = Instant::now();
    let mut session = quiet(start);
    session.step(start + 60 * SECOND, &[0, 0, 0, 0]).unwrap();
    let mut out = Vec::new();
    assert_eq!(session.handle_timeout(start + 209 * SECOND, &mut out), Ok(()));
    assert_eq!(session.handle_timeout(start + 210 * SECOND, &mut out), Err(WireError::Silent));
}

#[test]
fn a_session_driven_by_its_timeouts_lives_as_long_as_the_peer_speaks() {
    let start = Instant::now();
    let mut session = quiet(start);
    let mut keep_alives = 0;
    let mut now = start;
    while now < start + 1_000 * SECOND {
        now = session.poll_timeout();
        let mut out = Vec::new();
        session.handle_timeout(now, &mut out).unwrap();
        keep_alives += usize::from(!out.is_empty());
        session.step(now, &[0, 0, 0, 0]).unwrap();
    }
    assert_eq!(keep_alives, 10);
}

#[test]
fn the_extended_handshake_is_due_at_once() {
    let start = Instant::now();
    let mut session = established(start, Some(geometry()), Features::OURS);
    assert!(session.poll_timeout() <= start);
    let mut out = Vec::new();
    session.handle_timeout(start, &mut out).unwrap();
    assert_eq!(out[4..6], [20, 0]);
    assert_eq!(session.poll_timeout(), start + 100 * SECOND);
}
