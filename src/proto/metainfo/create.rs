//! Writes torrent files (BEP 3, 12, 27) from names, lengths and piece hashes.
//!
//! Pure: walking folders and hashing files is done in [`crate::storage`]. The result is canonical, so the same files make
//! the same info hash everywhere; creation date and comment stand outside the info dictionary and do not change it.

use super::{Metainfo, MetainfoError};
use crate::proto::bencode::Node;
use crate::types::PieceHash;

/// Smallest piece length that is chosen, in bytes.
const MIN_PIECE_LENGTH: u32 = 16 * 1024;

/// Largest piece length that is chosen, in bytes. Beyond it a bad piece costs too much, and clients refuse it.
const MAX_PIECE_LENGTH: u32 = 16 * 1024 * 1024;

/// Pieces that a torrent should have at most. Taste: 40 KB of hashes, fetched in three messages when there is only a
/// magnet link, and pieces small enough to be passed on soon.
const WANTED_PIECES: u64 = 2000;

/// A piece length for files of `total` bytes: a power of two from 16 KiB to 16 MiB that makes about 1,000 to 2,000
/// pieces.
#[must_use]
pub fn choose_piece_length(total: u64) -> u32 {
    let mut length = MIN_PIECE_LENGTH;
    while length < MAX_PIECE_LENGTH && total.div_ceil(u64::from(length)) > WANTED_PIECES {
        length *= 2;
    }
    length
}

/// A file that goes into a new torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Components below the torrent's name, as the disk has them. Not used for a single file.
    pub path: Vec<Vec<u8>>,
    /// Length in bytes.
    pub len: u64,
}

/// Everything in a torrent file but the piece hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builder {
    /// Name of the file or folder, as the disk has it.
    pub name: Vec<u8>,
    /// The files in torrent order.
    pub files: Vec<NewFile>,
    /// One file without a folder around it.
    pub single_file: bool,
    /// Bytes per piece.
    pub piece_length: u32,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// For whoever reads it.
    pub comment: Option<String>,
    /// Trackers in tiers.
    pub trackers: Vec<Vec<String>>,
    /// Program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

impl Builder {
    /// The torrent with these piece hashes; [`Metainfo::to_bytes`] gives the file.
    ///
    /// # Errors
    /// [`MetainfoError`] if the parts do not make a torrent that could be read again: no files, an empty path, a number
    /// of hashes that does not fit the lengths.
    pub fn build(&self, hashes: &[PieceHash]) -> Result<Metainfo, MetainfoError> {
        let pieces: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let mut info = vec![
            (&b"name"[..], Node::Bytes(&self.name)),
            (b"piece length", self.piece_length.into()),
            (b"pieces", Node::Bytes(&pieces)),
        ];
        if self.private {
            info.push((b"private", Node::Int(1)));
        }
        match self.files.as_slice() {
            [file] if self.single_file => info.push((b"length", length(file)?)),
            files => {
                let files = files.iter().map(file_node).collect::<Result<_, _>>()?;
                info.push((b"files", Node::List(files)));
            }
        }
        let raw_info = Node::Dict(info).encode();
        // Read by the same eyes that will read it elsewhere.
        let raw_file = [b"d4:info", raw_info.as_slice(), b"e"].concat();
        let mut metainfo = Metainfo::parse(&raw_file)?;
        metainfo.about.trackers.clone_from(&self.trackers);
        metainfo.about.comment.clone_from(&self.comment);
        metainfo.about.created_by.clone_from(&self.created_by);
        metainfo.about.creation_date = self.creation_date;
        Ok(metainfo)
    }
}

fn file_node(file: &NewFile) -> Result<Node<'_>, MetainfoError> {
    let path = file.path.iter().map(|component| Node::Bytes(component)).collect();
    Ok(Node::dict([("length", length(file)?), ("path", Node::List(path))]))
}

fn length(file: &NewFile) -> Result<Node<'static>, MetainfoError> {
    i64::try_from(file.len).map(Node::Int).map_err(|_| MetainfoError::TotalLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_files() -> Builder {
        let file = |name: &[u8], len| NewFile { path: vec![b"sub".to_vec(), name.to_vec()], len };
        Builder {
            name: b"folder".to_vec(),
            files: vec![file(b"a", 16 * 1024), file(b"\xe9", 1)],
            piece_length: 16 * 1024,
            comment: Some("hello".to_owned()),
            trackers: vec![vec!["http://a/".to_owned()], vec!["udp://b".to_owned()]],
            created_by: Some("bitween".to_owned()),
            creation_date: Some(1_700_000_000),
            ..Builder::default()
        }
    }

    #[test]
    fn a_built_torrent_is_read_again() {
        let built = two_files().build(&[PieceHash::new([1; 20]), PieceHash::new([2; 20])]).unwrap();
        let read = Metainfo::parse(&built.to_bytes()).unwrap();
        assert_eq!(read.info, built.info);
        assert_eq!(read.info_hash, built.info_hash);
        assert_eq!(read.about.trackers, two_files().trackers);
        let made = (&read.about.comment, &read.about.created_by, read.about.creation_date);
        assert_eq!(made, (&two_files().comment, &two_files().created_by, Some(1_700_000_000)));
        assert_eq!(&*read.info.files[1].path, "sub/\u{fffd}");
        let literal = read.info.literal_path(&read.info.files[1]).unwrap();
        assert_eq!(literal, [b"folder".to_vec(), b"sub".to_vec(), b"\xe9".to_vec()]);
        assert_eq!(read.info.literal_path(&read.info.files[0]), None);
    }

    #[test]
    fn only_what_is_shared_changes_the_info_hash() {
        let hashes = [PieceHash::new([1; 20]), PieceHash::new([2; 20])];
        let first = two_files().build(&hashes).unwrap().info_hash;
        let plain = Builder { comment: None, trackers: vec![], creation_date: None, ..two_files() };
        assert_eq!(plain.build(&hashes).unwrap().info_hash, first);
        let private = Builder { private: true, ..two_files() };
        assert_ne!(private.build(&hashes).unwrap().info_hash, first);
    }

    #[test]
    fn a_single_file_has_no_folder() {
        let builder = Builder {
            name: b"x.iso".to_vec(),
            files: vec![NewFile { path: vec![], len: 5 }],
            single_file: true,
            piece_length: 16 * 1024,
            ..Builder::default()
        };
        let info = builder.build(&[PieceHash::new([0; 20])]).unwrap().info;
        assert!(info.single_file);
        assert_eq!(info.file_paths(), [std::path::PathBuf::from("x.iso")]);
        assert_eq!(builder.build(&[]).unwrap_err(), MetainfoError::PieceCount { expected: 1, found: 0 });
    }

    #[test]
    fn piece_lengths_grow_with_the_size() {
        assert_eq!(choose_piece_length(0), 16 * 1024);
        assert_eq!(choose_piece_length(200 << 20), 128 * 1024);
        assert_eq!(choose_piece_length(4 << 30), 4 << 20);
        assert_eq!(choose_piece_length(u64::MAX), 16 << 20);
    }
}
