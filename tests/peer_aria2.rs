//! bitween and aria2 fetch from each other over loopback; all bytes are compared.
#![cfg(feature = "cli")]

mod common;

use common::aria2::Aria2;
use common::bitween::{Bitween, download_folder};
use common::data::Sample;
use common::opentracker::Opentracker;
use common::{TRANSFER_LIMIT, text};

fn fetch_from_aria2(sample: &Sample, source: &str) {
    let (_folder, into) = download_folder();
    let Some(seeder) = Aria2::seed(&sample.torrent, &sample.dir) else { return };
    let mut leecher = Bitween::download(source, &into, &["--peer", &seeder.address().to_string()]);
    leecher.succeed(TRANSFER_LIMIT);
    sample.assert_same_in(&into);
}

/// aria2 cannot be told where bitween is, so bitween connects to it.
fn serve_aria2(sample: &Sample) {
    let (_folder, into) = download_folder();
    let Some(mut leecher) = Aria2::download(text(&sample.torrent), &into) else { return };
    let _seeder = Bitween::seed(&sample.torrent, &sample.dir, &["--peer", &leecher.address().to_string()]);
    assert!(leecher.program().wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(&into);
}

#[test]
fn a_file_is_downloaded_from_aria2() {
    let sample = Sample::file(5_000_000, &[]);
    fetch_from_aria2(&sample, text(&sample.torrent));
}

#[test]
fn a_folder_is_downloaded_from_aria2() {
    let sample = Sample::folder(&[]);
    fetch_from_aria2(&sample, text(&sample.torrent));
}

#[test]
fn a_magnet_link_is_downloaded_from_aria2() {
    let sample = Sample::folder(&[]);
    fetch_from_aria2(&sample, &sample.magnet());
}

#[test]
fn aria2_downloads_a_file() {
    serve_aria2(&Sample::file(5_000_000, &[]));
}

#[test]
fn aria2_downloads_a_folder() {
    serve_aria2(&Sample::folder(&[]));
}

/// aria2 closes the connection that brought the description and asks the tracker again for the data.
#[test]
fn aria2_downloads_a_magnet_link() {
    let Some(tracker) = Opentracker::start() else { return };
    let sample = Sample::folder(&[tracker.http()]);
    let (_folder, into) = download_folder();
    tracker.allow(&sample.hash());
    let _seeder = Bitween::seed(&sample.torrent, &sample.dir, &[]);
    tracker.wait_for_peers(&sample.hash(), 1);
    let Some(mut leecher) = Aria2::download(&sample.magnet(), &into) else { return };
    assert!(leecher.program().wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(&into);
}
