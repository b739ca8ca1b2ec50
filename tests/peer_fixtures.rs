//! The fixtures among themselves, without bitween: when a test against one of these programs fails while these pass, the
//! fault is ours.

mod common;

use common::TRANSFER_LIMIT;
use common::aria2::Aria2;
use common::data::Sample;
use common::libtorrent::Libtorrent;
use common::opentracker::Opentracker;
use common::transmission::Transmission;
use common::wait_for;

#[test]
fn libtorrent_downloads_from_transmission() {
    let sample = Sample::folder(&[]);
    let into = tempfile::tempdir().unwrap();
    let Some(seeder) = Transmission::start() else { return };
    seeder.seed(&sample.torrent, &sample.dir);
    let peer = ["--peer", &seeder.address().to_string()];
    let Some(mut leecher) = Libtorrent::download(&sample.magnet(), into.path(), &peer) else { return };
    leecher.wait_until_complete();
    sample.assert_same_in(into.path());
}

#[test]
fn transmission_downloads_from_libtorrent() {
    let sample = Sample::folder(&[]);
    let into = tempfile::tempdir().unwrap();
    let Some(leecher) = Transmission::start() else { return };
    leecher.add(common::text(&sample.torrent), into.path());
    let peer = ["--peer", &leecher.address().to_string()];
    let Some(_seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &peer) else { return };
    wait_for("transmission to be complete", TRANSFER_LIMIT, || leecher.is_complete().then_some(()));
    sample.assert_same_but_empty_files_in(into.path());
}

#[test]
fn libtorrent_downloads_from_aria2() {
    let sample = Sample::folder(&[]);
    let into = tempfile::tempdir().unwrap();
    let Some(seeder) = Aria2::seed(&sample.torrent, &sample.dir) else { return };
    let peer = ["--peer", &seeder.address().to_string()];
    let Some(mut leecher) = Libtorrent::download(&sample.magnet(), into.path(), &peer) else { return };
    leecher.wait_until_complete();
    sample.assert_same_in(into.path());
}

#[test]
fn aria2_downloads_from_libtorrent() {
    let sample = Sample::folder(&[]);
    let into = tempfile::tempdir().unwrap();
    let Some(mut leecher) = Aria2::download(common::text(&sample.torrent), into.path()) else { return };
    let peer = ["--peer", &leecher.address().to_string()];
    let Some(_seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &peer) else { return };
    assert!(leecher.program().wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(into.path());
}

#[test]
fn an_http_tracker_brings_libtorrent_and_aria2_together() {
    let Some(tracker) = Opentracker::start() else { return };
    let sample = Sample::folder(&[tracker.http()]);
    let into = tempfile::tempdir().unwrap();
    tracker.allow(&sample.hash());
    let Some(_seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &[]) else { return };
    tracker.wait_for_peers(&sample.hash(), 1);
    let Some(mut leecher) = Aria2::download(&sample.magnet(), into.path()) else { return };
    assert!(leecher.program().wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(into.path());
}

#[test]
fn a_udp_tracker_brings_two_libtorrents_together() {
    let Some(tracker) = Opentracker::start() else { return };
    let sample = Sample::file(1_000_000, &[tracker.udp()]);
    let into = tempfile::tempdir().unwrap();
    tracker.allow(&sample.hash());
    let Some(_seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &[]) else { return };
    tracker.wait_for_peers(&sample.hash(), 1);
    let Some(mut leecher) = Libtorrent::download(&sample.magnet(), into.path(), &[]) else { return };
    leecher.wait_until_complete();
    sample.assert_same_in(into.path());
}
