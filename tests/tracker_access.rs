//! A torrent that names a tracker on this machine: who may make us ask it, and what the user gets to read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bitween::component::bt::BtOptions;
use bitween::component::event::{NewTorrent, TorrentSource};
use common::data::Sample;
use common::node::Node;

/// A service that reports the first line of each request. Its address.
fn service() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 2048];
            let len = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..len]).into_owned();
            if sender.send(text.lines().next().unwrap_or_default().to_owned()).is_err() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nde").unwrap();
        }
    });
    (address, lines)
}

fn add(node: &Node, sample: &Sample, trackers: Vec<String>) {
    let source = TorrentSource::Metainfo(sample.metainfo.clone().into());
    node.engine.add(NewTorrent { trackers, ..NewTorrent::download(source, node.dir()) }).unwrap();
}

#[test]
fn a_torrents_own_tracker_on_this_machine_is_refused_with_the_reason() {
    let (address, lines) = service();
    let sample = Sample::file(1000, &[format!("http://{address}/announce")]);
    let node = Node::start();
    add(&node, &sample, Vec::new());
    let warned = node.wait_until("the reason is shown", sample.metainfo.info_hash, |status| status.warning.is_some());
    let warning = warned.warning.clone().unwrap();
    assert!(warning.contains("tracker on this machine") && warning.contains("allow_loopback_peers"), "{warning}");
    drop(node);
    assert!(lines.try_recv().is_err(), "it was asked nevertheless");
}

#[test]
fn one_that_the_user_names_or_allows_is_asked() {
    let soon = Duration::from_secs(20);
    let (address, lines) = service();
    let url = format!("http://{address}/announce");
    let sample = Sample::file(1000, std::slice::from_ref(&url));
    let by_hand = Node::start();
    add(&by_hand, &sample, vec![url]);
    assert!(lines.recv_timeout(soon).unwrap().starts_with("GET /announce?info_hash="));
    drop(by_hand);
    assert!(lines.recv_timeout(soon).unwrap().contains("event=stopped"));
    let allowing = Node::with(BtOptions { allow_loopback_trackers: true, ..BtOptions::default() });
    add(&allowing, &sample, Vec::new());
    assert!(lines.recv_timeout(soon).unwrap().contains("event=started"));
}
