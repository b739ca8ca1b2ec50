//! Test data: files with known bytes, folders with awkward names, torrents of them, and comparing what arrived.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bitween::proto::metainfo::Metainfo;
use bitween::storage::create::{CreateOptions, create_torrent};

/// Bytes that look random and are the same each time.
pub fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// Writes a file of [`random_bytes`], with the folders it lies in.
pub fn write_file(path: &Path, len: usize, seed: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, random_bytes(len, seed)).unwrap();
}

/// Something to share, and its torrent.
pub struct Sample {
    _folder: tempfile::TempDir,
    /// Folder that holds the top-level name: what `--dir` wants.
    pub dir: PathBuf,
    /// The file or folder itself.
    pub path: PathBuf,
    /// The torrent file.
    pub torrent: PathBuf,
    /// The torrent, parsed.
    pub metainfo: Metainfo,
}

impl Sample {
    /// One file of `len` bytes.
    pub fn file(len: usize, trackers: &[String]) -> Self {
        Self::new("one file.bin", trackers, |path| write_file(path, len, 1))
    }

    /// One file of `len` bytes with this name.
    pub fn named(name: &str, len: usize) -> Self {
        Self::new(name, &[], |path| write_file(path, len, 1))
    }

    /// A folder of so many files of one byte, with names that make a long description.
    pub fn with_long_names(name: &str, files: usize) -> Self {
        Self::new(name, &[], |path| {
            for nth in 0..files {
                write_file(&path.join(format!("{nth:0220}")), 1, nth as u64);
            }
        })
    }

    /// A folder: nested folders, an empty file, Unicode names, files smaller than a piece and of several pieces.
    pub fn folder(trackers: &[String]) -> Self {
        Self::new("Ordner ünïcode 文件夹", trackers, |path| {
            write_file(&path.join("large.bin"), 3_000_001, 1);
            write_file(&path.join("empty.txt"), 0, 2);
            write_file(&path.join("one byte"), 1, 3);
            write_file(&path.join("a/b/c/deep.dat"), 70_000, 4);
            write_file(&path.join("a/b/Grüße aus Köln.txt"), 16_384, 5);
            write_file(&path.join("музыка/песня №1.ogg"), 262_144, 6);
            for nth in 0..40 {
                write_file(&path.join(format!("many/{nth:02}.txt")), nth * 777, nth as u64);
            }
        })
    }

    /// The same files in pieces of another length.
    pub fn in_pieces_of(mut self, piece_length: u32) -> Self {
        let options = CreateOptions { piece_length: Some(piece_length), ..CreateOptions::default() };
        let bytes = create_torrent(&self.path, &options, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        fs::write(&self.torrent, &bytes).unwrap();
        self.metainfo = Metainfo::parse(&bytes).unwrap();
        self
    }

    fn new(name: &str, trackers: &[String], write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("bitween-data").tempdir().unwrap();
        let dir = folder.path().join("data");
        let path = dir.join(name);
        write(&path);
        // Small pieces, so that there are many.
        let options = CreateOptions {
            piece_length: Some(32 * 1024),
            trackers: trackers.iter().map(|url| vec![url.clone()]).collect(),
            ..CreateOptions::default()
        };
        let bytes = create_torrent(&path, &options, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        let torrent = folder.path().join("sample.torrent");
        fs::write(&torrent, &bytes).unwrap();
        Self { dir, path, torrent, metainfo: Metainfo::parse(&bytes).unwrap(), _folder: folder }
    }

    /// 40 hexadecimal digits.
    pub fn hash(&self) -> String {
        self.metainfo.info_hash.to_string()
    }

    /// A magnet link with the sample's trackers.
    pub fn magnet(&self) -> String {
        let mut link = format!("magnet:?xt=urn:btih:{}", self.hash());
        for url in self.metainfo.about.trackers.iter().flatten() {
            link.push_str("&tr=");
            for byte in url.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => link.push(char::from(byte)),
                    _ => link.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        link
    }

    /// Fails unless `dir` holds the same top-level name with the same files, byte by byte, and no others.
    pub fn assert_same_in(&self, dir: &Path) {
        let name = self.path.file_name().unwrap();
        assert_same(&self.path, &dir.join(name));
    }

    /// As [`Sample::assert_same_in`], for clients some versions of which do not create files without bytes.
    pub fn assert_same_but_empty_files_in(&self, dir: &Path) {
        let filled = |path: &Path| {
            let mut files = contents(path);
            files.retain(|_, bytes| !bytes.is_empty());
            files
        };
        compare(&filled(&self.path), &filled(&dir.join(self.path.file_name().unwrap())));
    }

    /// Whether all of it has arrived in `dir`.
    pub fn is_complete_in(&self, dir: &Path) -> bool {
        contents(&self.path) == contents(&dir.join(self.path.file_name().unwrap()))
    }
}

/// Fails unless both files, or all files below both folders, have the same names and bytes.
pub fn assert_same(expected: &Path, found: &Path) {
    compare(&contents(expected), &contents(found));
}

fn compare(expected: &BTreeMap<PathBuf, Vec<u8>>, found: &BTreeMap<PathBuf, Vec<u8>>) {
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "the names differ");
    for (name, bytes) in expected {
        let other = &found[name];
        assert_eq!(bytes.len(), other.len(), "sizes of {}", name.display());
        if bytes != other {
            let differs = bytes.iter().zip(other).position(|(a, b)| a != b);
            panic!("{} differs from byte {differs:?} on", name.display());
        }
    }
}

/// All files below `path`, by name relative to it. Notes that clients leave beside their downloads do not count.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(next) = open.pop() {
        if next.is_dir() {
            open.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
        } else if next.extension().is_none_or(|extension| extension != "aria2")
            && let Ok(bytes) = fs::read(&next)
        {
            files.insert(next.strip_prefix(path).unwrap().to_owned(), bytes);
        }
    }
    files
}
