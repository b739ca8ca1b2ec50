//! What holds for every torrent file.
#![allow(clippy::expect_used, reason = "a broken promise ends the run")]

use bitween::proto::metainfo::Metainfo;

/// Whether it is one.
pub fn metainfo(input: &[u8]) -> bool {
    let Ok(metainfo) = Metainfo::parse(input) else { return false };
    let again = Metainfo::parse(&metainfo.to_bytes()).expect("what was written can be read");
    assert_eq!((again.info_hash, &again.info), (metainfo.info_hash, &metainfo.info));
    let from_peers = Metainfo::from_info(metainfo.raw_info().clone(), metainfo.info_hash, Vec::new());
    assert_eq!(from_peers.expect("peers send the same").info, metainfo.info);
    for path in metainfo.info.file_paths() {
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
    }
    true
}
