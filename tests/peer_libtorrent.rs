//! bitween and libtorrent (qBittorrent, Deluge) fetch from each other over loopback; all bytes are compared.
#![cfg(feature = "cli")]

mod common;

use common::TRANSFER_LIMIT;
use common::bitween::{Bitween, download_folder};
use common::data::Sample;
use common::libtorrent::Libtorrent;
use common::text;

fn fetch_from_libtorrent(sample: &Sample, source: &str) {
    let (_folder, into) = download_folder();
    let Some(seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &[]) else { return };
    let mut leecher = Bitween::download(source, &into, &["--peer", &seeder.address().to_string()]);
    leecher.succeed(TRANSFER_LIMIT);
    sample.assert_same_in(&into);
}

/// libtorrent is told where bitween listens and connects to it.
fn serve_libtorrent(sample: &Sample, source: &str) {
    let (_folder, into) = download_folder();
    let mut seeder = Bitween::seed(&sample.torrent, &sample.dir, &[]);
    let peer = ["--peer", &seeder.address().to_string()];
    let Some(mut leecher) = Libtorrent::download(source, &into, &peer) else { return };
    leecher.wait_until_complete();
    sample.assert_same_in(&into);
    assert_eq!(seeder.stop().and_then(|status| status.code()), Some(0), "an interrupted seeder ends well");
}

#[test]
fn a_file_is_downloaded_from_libtorrent() {
    let sample = Sample::file(5_000_000, &[]);
    fetch_from_libtorrent(&sample, text(&sample.torrent));
}

#[test]
fn a_folder_is_downloaded_from_libtorrent() {
    let sample = Sample::folder(&[]);
    fetch_from_libtorrent(&sample, text(&sample.torrent));
}

#[test]
fn a_magnet_link_is_downloaded_from_libtorrent() {
    let sample = Sample::folder(&[]);
    fetch_from_libtorrent(&sample, &sample.magnet());
}

#[test]
fn a_bare_info_hash_is_downloaded_from_libtorrent() {
    let sample = Sample::file(1_000_000, &[]);
    fetch_from_libtorrent(&sample, &sample.hash());
}

#[test]
fn a_leecher_that_only_listens_is_served_by_libtorrent() {
    let sample = Sample::folder(&[]);
    let (_folder, into) = download_folder();
    let mut leecher = Bitween::download(text(&sample.torrent), &into, &[]);
    let peer = ["--peer", &leecher.address().to_string()];
    let Some(_seeder) = Libtorrent::seed(&sample.torrent, &sample.dir, &peer) else { return };
    leecher.succeed(TRANSFER_LIMIT);
    sample.assert_same_in(&into);
}

#[test]
fn libtorrent_downloads_a_file() {
    let sample = Sample::file(5_000_000, &[]);
    serve_libtorrent(&sample, text(&sample.torrent));
}

#[test]
fn libtorrent_downloads_a_folder() {
    let sample = Sample::folder(&[]);
    serve_libtorrent(&sample, text(&sample.torrent));
}

#[test]
fn libtorrent_downloads_a_magnet_link() {
    let sample = Sample::folder(&[]);
    serve_libtorrent(&sample, &sample.magnet());
}

#[test]
fn a_seeder_connects_to_libtorrent_when_told_to() {
    let sample = Sample::folder(&[]);
    let (_folder, into) = download_folder();
    let Some(mut leecher) = Libtorrent::download(text(&sample.torrent), &into, &[]) else { return };
    let _seeder = Bitween::seed(&sample.torrent, &sample.dir, &["--peer", &leecher.address().to_string()]);
    leecher.wait_until_complete();
    sample.assert_same_in(&into);
}

#[test]
fn a_finished_download_goes_on_as_a_seeder() {
    let sample = Sample::file(2_000_000, &[]);
    let (_first, into) = download_folder();
    let (_second, further) = download_folder();
    let Some(mut origin) = Libtorrent::seed(&sample.torrent, &sample.dir, &[]) else { return };
    let mut middle = Bitween::download(&sample.magnet(), &into, &["--seed", "--peer", &origin.address().to_string()]);
    middle.wait_for_line("complete", TRANSFER_LIMIT);
    sample.assert_same_in(&into);
    origin.program().kill();

    let peer = ["--peer", &middle.address().to_string()];
    let Some(mut last) = Libtorrent::download(&sample.magnet(), &further, &peer) else { return };
    last.wait_until_complete();
    sample.assert_same_in(&further);
}
