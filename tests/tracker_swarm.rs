//! Swarms that find each other through opentracker: 1 seeder and 3 leechers, all of them bitween.
#![cfg(feature = "cli")]

mod common;

use common::bitween::{Bitween, download_folder};
use common::data::Sample;
use common::opentracker::Opentracker;
use common::{TRANSFER_LIMIT, text};

/// Who joins with the torrent file (the rest has only the magnet link, with the tracker in it).
fn swarm(tracker: &Opentracker, url: String, sources: [fn(&Sample) -> String; 3]) {
    let sample = Sample::folder(&[url]);
    tracker.allow(&sample.hash());
    let mut seeder = Bitween::seed(&sample.torrent, &sample.dir, &[]);
    tracker.wait_for_peers(&sample.hash(), 1);
    let mut leechers = sources.map(|source| {
        let (folder, into) = download_folder();
        let leecher = Bitween::download(&source(&sample), &into, &["--seed"]);
        (leecher, folder, into)
    });
    for (leecher, _, into) in &mut leechers {
        leecher.wait_for_line("complete", TRANSFER_LIMIT);
        sample.assert_same_in(into);
    }
    tracker.wait_for_peers(&sample.hash(), 4);
    for (leecher, ..) in &mut leechers {
        assert_eq!(leecher.stop().and_then(|status| status.code()), Some(0));
    }
    assert_eq!(seeder.stop().and_then(|status| status.code()), Some(0));
    // Everybody said goodbye.
    common::wait_for("an empty tracker", TRANSFER_LIMIT, || tracker.scrape(&sample.hash()).filter(|peers| *peers == 0));
}

fn torrent_file(sample: &Sample) -> String {
    text(&sample.torrent).to_owned()
}

#[test]
fn a_seeder_and_three_leechers_meet_over_http() {
    let Some(tracker) = Opentracker::start() else { return };
    swarm(&tracker, tracker.http(), [torrent_file; 3]);
}

#[test]
fn a_seeder_and_three_leechers_meet_over_udp() {
    let Some(tracker) = Opentracker::start() else { return };
    swarm(&tracker, tracker.udp(), [torrent_file; 3]);
}

#[test]
fn leechers_with_only_a_magnet_link_meet_over_http_and_udp() {
    let Some(tracker) = Opentracker::start() else { return };
    swarm(&tracker, tracker.http(), [Sample::magnet, torrent_file, Sample::magnet]);
    swarm(&tracker, tracker.udp(), [Sample::magnet; 3]);
}

#[test]
fn a_tracker_given_by_hand_is_asked() {
    let Some(tracker) = Opentracker::start() else { return };
    let sample = Sample::file(1_000_000, &[]);
    let (_folder, into) = download_folder();
    tracker.allow(&sample.hash());
    let _seeder = Bitween::seed(&sample.torrent, &sample.dir, &["--tracker", &tracker.udp()]);
    tracker.wait_for_peers(&sample.hash(), 1);
    Bitween::download(&sample.hash(), &into, &["--tracker", &tracker.http()]).succeed(TRANSFER_LIMIT);
    sample.assert_same_in(&into);
}
