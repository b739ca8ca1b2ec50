//! Who gets in when places are scarce.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A torrent with two places, both taken by strangers.
fn full() -> Bench {
    let mut bench = Bench::with(4, &[0, 1], TorrentOptions { max_peers: 2, ..TorrentOptions::default() });
    bench.join(1, FAST);
    bench.now += Duration::from_secs(1);
    bench.join(2, FAST);
    bench
}

fn is_closed(actions: &[Action], slot: u32, why: CloseReason) -> bool {
    actions.contains(&closed(slot, why))
}

fn someone(slot: u32, at: &str) -> PeerInfo {
    let peer_id = PeerId::new([u8::try_from(slot).unwrap(); 20]);
    PeerInfo { addr: at.parse().unwrap(), incoming: true, peer_id, features: FAST, known: false }
}

fn enter(bench: &mut Bench, slot: u32, info: PeerInfo) -> Vec<Action> {
    bench.torrent.peer_joined(bench.now, key(slot), info);
    bench.actions()
}

fn present(bench: &Bench) -> Vec<u32> {
    bench.torrent.peers(bench.now).iter().map(|peer| peer.key.slot).collect()
}

#[test]
fn useless_strangers_do_not_fill_a_torrent_for_ever() {
    for wants in [false, true] {
        let mut bench = Bench::new(4, &[0, 1]);
        for slot in 1..=60 {
            bench.join(slot, FAST);
            if wants {
                bench.say(slot, &Event::Interested);
            }
            bench.wait(Duration::from_millis(10));
        }
        assert_eq!(bench.join(61, FAST), [closed(61, CloseReason::TooManyPeers)], "they have just come");
        bench.wait(if wants { 10 * MINUTE } else { 3 * MINUTE });
        for (slot, leaves) in [(61, 1), (62, 2)] {
            assert!(is_closed(&bench.join(slot, FAST), leaves, CloseReason::Replaced), "the oldest first");
            assert!(present(&bench).contains(&slot) && !present(&bench).contains(&leaves));
        }
        assert_eq!(present(&bench).len(), 60);
    }
}

#[test]
fn who_gives_or_takes_keeps_its_place() {
    let mut bench = full();
    bench.say(2, &Event::Interested);
    bench.wait(9 * MINUTE);
    let bits = bench.bits(&[2]);
    bench.say(1, &Event::Bitfield(bits));
    bench.say(1, &Event::Unchoked);
    bench.opened(2);
    bench.arrive(1, bench.block(2, 0));
    bench.torrent.block_sent(bench.now, key(2), BLOCK_LEN);
    bench.wait(2 * MINUTE);
    assert_eq!(bench.join(3, FAST), [closed(3, CloseReason::TooManyPeers)]);
    let unasked = bench.block(3, 0);
    assert_eq!(bench.arrive(1, unasked).0, BlockVerdict::Discard);
    bench.wait(8 * MINUTE);
    assert!(is_closed(&bench.join(3, FAST), 1, CloseReason::Replaced), "what nobody asked for is no gift");
}

#[test]
fn an_address_waits_until_somebody_has_been_useless_for_long_enough() {
    let mut bench = full();
    bench.torrent.add_candidates(bench.now, &[addr(9)], Source::Tracker);
    assert_eq!(bench.actions(), []);
    assert!(bench.torrent.poll_timeout().is_some_and(|at| at > bench.now), "no busy waiting");
    let dialled = |actions: Vec<Action>| actions.contains(&Action::Connect(addr(9)));
    assert!(!dialled(bench.wait(2 * MINUTE)));
    assert!(dialled(bench.wait(MINUTE)));
    assert_eq!(present(&bench), [1, 2], "nobody leaves before the handshake is done");
    let actions = enter(&mut bench, 3, PeerInfo { incoming: false, ..someone(3, "10.0.0.9:6881") });
    assert!(is_closed(&actions, 1, CloseReason::Replaced), "{actions:?}");
    assert_eq!(present(&bench), [2, 3]);
}

#[test]
fn whom_the_user_knows_goes_before_strangers() {
    let mut bench = full();
    let friend = |slot, at| PeerInfo { known: true, ..someone(slot, at) };
    let actions = enter(&mut bench, 3, friend(3, "10.1.1.1:1"));
    assert!(is_closed(&actions, 1, CloseReason::Replaced), "{actions:?}");
    bench.torrent.add_candidates(bench.now, &[addr(8)], Source::Tracker);
    bench.torrent.add_candidates(bench.now, &[addr(9)], Source::Contact);
    assert_eq!(bench.actions(), [Action::Connect(addr(9))], "an address of a contact does not wait");
    let actions = enter(&mut bench, 4, PeerInfo { incoming: false, ..someone(4, "10.0.0.9:6881") });
    assert!(is_closed(&actions, 2, CloseReason::Replaced), "{actions:?}");
    assert_eq!(enter(&mut bench, 5, friend(5, "10.1.1.2:1")), [closed(5, CloseReason::TooManyPeers)]);
    bench.wait(4 * MINUTE);
    let actions = enter(&mut bench, 5, friend(5, "10.1.1.2:1"));
    assert!(is_closed(&actions, 3, CloseReason::Replaced), "a useless friend leaves too: {actions:?}");
}

#[test]
fn one_host_gets_only_so_many_places() {
    let options = || TorrentOptions { max_peers_per_host: 2, ..TorrentOptions::default() };
    for (first, last, other) in
        [("10.0.0.1:1", "10.0.0.1:3", "10.0.0.2:1"), ("[2001:db8::1]:1", "[2001:db8::1:2:3]:1", "[2001:db8:0:1::1]:1")]
    {
        let mut bench = Bench::with(4, &[0], options());
        enter(&mut bench, 1, someone(1, first));
        enter(&mut bench, 2, someone(2, first));
        assert_eq!(enter(&mut bench, 3, someone(3, last)), [closed(3, CloseReason::CrowdedHost)]);
        enter(&mut bench, 4, someone(4, other));
        enter(&mut bench, 5, PeerInfo { known: true, ..someone(5, last) });
        assert_eq!(present(&bench), [1, 2, 4, 5]);
        bench.wait(3 * MINUTE);
        let actions = enter(&mut bench, 6, someone(6, last));
        assert!(is_closed(&actions, 1, CloseReason::Replaced), "its own useless one makes room: {actions:?}");
    }
    let mut bench = Bench::with(4, &[0], options());
    for slot in 1..=5 {
        enter(&mut bench, slot, someone(slot, "127.0.0.1:1"));
    }
    assert_eq!(present(&bench).len(), 5, "many peers live on this machine");
}
