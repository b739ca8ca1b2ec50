//! bitween and Transmission fetch from each other over loopback; all bytes are compared.
#![cfg(feature = "cli")]

mod common;

use common::bitween::{Bitween, download_folder};
use common::data::Sample;
use common::transmission::Transmission;
use common::{TRANSFER_LIMIT, text, wait_for};

fn fetch_from_transmission(sample: &Sample, source: &str) {
    let (_folder, into) = download_folder();
    let Some(seeder) = Transmission::start() else { return };
    seeder.seed(&sample.torrent, &sample.dir);
    let mut leecher = Bitween::download(source, &into, &["--peer", &seeder.address().to_string()]);
    leecher.succeed(TRANSFER_LIMIT);
    sample.assert_same_in(&into);
}

/// Transmission cannot be told where bitween is, so bitween connects to it.
fn serve_transmission(sample: &Sample, source: &str) {
    let (_folder, into) = download_folder();
    let Some(leecher) = Transmission::start() else { return };
    leecher.add(source, &into);
    let mut seeder = Bitween::seed(&sample.torrent, &sample.dir, &["--peer", &leecher.address().to_string()]);
    wait_for("transmission to be complete", TRANSFER_LIMIT, || {
        assert!(seeder.program().ended().is_none(), "the seeder ended");
        leecher.is_complete().then_some(())
    });
    assert_eq!(leecher.corrupt_bytes(), 0);
    sample.assert_same_but_empty_files_in(&into);
}

#[test]
fn a_file_is_downloaded_from_transmission() {
    let sample = Sample::file(5_000_000, &[]);
    fetch_from_transmission(&sample, text(&sample.torrent));
}

#[test]
fn a_folder_is_downloaded_from_transmission() {
    let sample = Sample::folder(&[]);
    fetch_from_transmission(&sample, text(&sample.torrent));
}

#[test]
fn a_magnet_link_is_downloaded_from_transmission() {
    let sample = Sample::folder(&[]);
    fetch_from_transmission(&sample, &sample.magnet());
}

#[test]
fn transmission_downloads_a_file() {
    let sample = Sample::file(5_000_000, &[]);
    serve_transmission(&sample, text(&sample.torrent));
}

#[test]
fn transmission_downloads_a_folder() {
    let sample = Sample::folder(&[]);
    serve_transmission(&sample, text(&sample.torrent));
}

#[test]
fn transmission_downloads_a_magnet_link() {
    let sample = Sample::folder(&[]);
    serve_transmission(&sample, &sample.magnet());
}
