//! Compares what is on a disk with a torrent, on all cores, and says which files are not all right.
//!
//! Reads only; keeps no state. A running client checks through its own disk threads instead. Blocks the calling thread.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::hashing::{Progress, ReadError, Source, Sources};
use crate::proto::metainfo::{File, Info};
use crate::types::Bitfield;

/// What was found on the disk.
#[derive(Clone, Debug)]
pub struct Report {
    /// Pieces whose hash is right.
    pub good: Bitfield,
    /// One entry per file that is not a pad file, in torrent order.
    pub files: Vec<FileReport>,
}

/// What was found of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Where it was looked for, relative to the folder.
    pub path: PathBuf,
    /// How it is.
    pub state: FileState,
}

/// How a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileState {
    /// Every byte is right.
    Good,
    /// Not there.
    Missing,
    /// Longer or shorter than the torrent says; sizes in bytes.
    WrongSize {
        /// On the disk.
        found: u64,
        /// In the torrent.
        expected: u64,
    },
    /// This many of its pieces have wrong bytes.
    Damaged(u32),
    /// It is there, but shares a piece with a file that could not be read.
    Unverified,
    /// The system refuses to read it, and why.
    Unreadable(String),
}

impl Report {
    /// True if every byte is verified and no file is missing or too long.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.good.is_full() && self.files.iter().all(|file| file.state == FileState::Good)
    }
}

/// Where the torrent's files are or will be, relative to `dir`, with the indices of [`Info::files`].
///
/// That is the safe path, unless the file already exists under the literal name that the torrent gives it: somebody who
/// shares a file called `aux.c` has it under that name.
#[must_use]
pub fn locate(info: &Info, dir: &Path) -> Vec<PathBuf> {
    let existing = |file| {
        let literal: PathBuf = info.literal_path(file)?.iter().map(|raw| OsStr::from_bytes(raw)).collect();
        dir.join(&literal).is_file().then_some(literal)
    };
    let files = info.files.iter().zip(info.file_paths());
    files.map(|(file, safe)| existing(file).unwrap_or(safe)).collect()
}

/// Hashes everything that the torrent should have in `dir`, the folder that holds its top-level name. `None` if
/// `cancel` was set meanwhile.
#[must_use]
pub fn check_files(info: &Info, dir: &Path, progress: &Progress<'_>, cancel: &AtomicBool) -> Option<Report> {
    let paths = locate(info, dir);
    let source = |(path, file): (&PathBuf, &File)| Source { path: dir.join(path), len: file.len, pad: file.pad };
    let sources = Sources::new(paths.iter().zip(&info.files).map(source).collect(), info.geometry);
    let mut states: Vec<FileState> = sources.files().iter().map(state_of).collect();
    let hashes = sources.hash_all(progress, cancel, |_, hash| Ok::<_, std::convert::Infallible>(hash));
    let hashes = hashes.unwrap_or_else(|never| match never {})?;

    let mut good = Bitfield::empty(info.geometry.piece_count());
    for ((piece, expected), hash) in info.geometry.pieces().zip(info.pieces.iter()).zip(hashes) {
        let files = sources.parts(piece).map(|(file, _)| file);
        match hash {
            Ok(hash) if hash == expected => {
                good.insert(piece);
            }
            Ok(_) => files.for_each(|file| update(&mut states, file, damage)),
            Err(ReadError { file, error }) => {
                update(&mut states, file, |state| blame(state, &error));
                files.for_each(|file| update(&mut states, file, doubt));
            }
        }
    }
    let files = paths.into_iter().zip(states).zip(&info.files).filter(|(_, file)| !file.pad);
    Some(Report { good, files: files.map(|((path, state), _)| FileReport { path, state }).collect() })
}

/// What can be said of a file without reading it.
fn state_of(source: &Source) -> FileState {
    match fs::metadata(&source.path) {
        _ if source.pad => FileState::Good,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            FileState::Missing
        }
        Err(error) => FileState::Unreadable(error.to_string()),
        Ok(metadata) if !metadata.is_file() => FileState::Unreadable("not a regular file".to_owned()),
        Ok(metadata) if metadata.len() != source.len => {
            FileState::WrongSize { found: metadata.len(), expected: source.len }
        }
        Ok(_) => FileState::Good,
    }
}

fn update(states: &mut [FileState], file: usize, change: impl Fn(&mut FileState)) {
    if let Some(state) = states.get_mut(file) {
        change(state);
    }
}

/// A piece of the file has wrong bytes.
fn damage(state: &mut FileState) {
    match state {
        FileState::Good | FileState::Unverified => *state = FileState::Damaged(1),
        FileState::Damaged(pieces) => *pieces = pieces.saturating_add(1),
        _ => {}
    }
}

/// The file could not be read, although nothing seemed to be wrong with it.
fn blame(state: &mut FileState, error: &io::Error) {
    if matches!(state, FileState::Good | FileState::Unverified) {
        *state = FileState::Unreadable(error.to_string());
    }
}

/// Another file of one of its pieces could not be read.
fn doubt(state: &mut FileState) {
    if *state == FileState::Good {
        *state = FileState::Unverified;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::metainfo::Metainfo;
    use crate::storage::create::{CreateOptions, scan};

    /// Four files in pieces of 16 KiB: `a` fills 2 pieces and a bit, `b` is the rest of the third and more.
    fn torrent(dir: &Path) -> Metainfo {
        let top = dir.join("top");
        fs::create_dir(&top).unwrap();
        for (name, len) in [("a", 40_000), ("b", 20_000), ("c", 0), ("d", 30_000)] {
            fs::write(top.join(name), name.repeat(len)).unwrap();
        }
        let options = CreateOptions { piece_length: Some(16_384), ..CreateOptions::default() };
        scan(&top).unwrap().hash(&options, &|_, _| (), &AtomicBool::new(false)).unwrap()
    }

    fn check(metainfo: &Metainfo, dir: &Path) -> Report {
        check_files(&metainfo.info, dir, &|_, _| (), &AtomicBool::new(false)).unwrap()
    }

    fn states(report: &Report) -> Vec<FileState> {
        report.files.iter().map(|file| file.state.clone()).collect()
    }

    #[test]
    fn an_untouched_folder_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let metainfo = torrent(dir.path());
        let report = check(&metainfo, dir.path());
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.good.count_ones(), 6);
    }

    #[test]
    fn every_kind_of_harm_is_told_apart() {
        use FileState::{Damaged, Good, Missing, Unverified, WrongSize};
        let dir = tempfile::tempdir().unwrap();
        let metainfo = torrent(dir.path());
        let top = dir.path().join("top");
        fs::remove_file(top.join("c")).unwrap();
        let mut bytes = fs::read(top.join("d")).unwrap();
        bytes[29_999] = b'x';
        fs::write(top.join("d"), &bytes).unwrap();
        let report = check(&metainfo, dir.path());
        assert_eq!(states(&report), [Good, Good, Missing, Damaged(1)]);
        assert_eq!(report.good.count_ones(), 5);

        fs::write(top.join("b"), "b").unwrap();
        let report = check(&metainfo, dir.path());
        let short = WrongSize { found: 1, expected: 20_000 };
        assert_eq!(states(&report), [Unverified, short, Missing, Damaged(1)]);
        assert_eq!(report.good.count_ones(), 3);

        fs::remove_dir_all(&top).unwrap();
        let report = check(&metainfo, dir.path());
        assert_eq!(states(&report), [Missing, Missing, Missing, Missing]);
        assert_eq!(report.good.count_ones(), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_all_right() {
        let dir = tempfile::tempdir().unwrap();
        let metainfo = torrent(dir.path());
        fs::write(dir.path().join("top/c"), "x").unwrap();
        let report = check(&metainfo, dir.path());
        assert!(report.good.is_full() && !report.is_complete());
        assert_eq!(states(&report)[2], FileState::WrongSize { found: 1, expected: 0 });
    }

    #[test]
    fn files_with_names_that_are_made_safe_are_found_under_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("con");
        fs::create_dir(&top).unwrap();
        let names =
            [OsStr::from_bytes(b"caf\xe9"), OsStr::new("README"), OsStr::new("readme"), OsStr::new("a\\b\u{202e}")];
        for name in names {
            fs::write(top.join(name), name.as_bytes()).unwrap();
        }
        let metainfo =
            scan(&top).unwrap().hash(&CreateOptions::default(), &|_, _| (), &AtomicBool::new(false)).unwrap();
        assert_eq!(&*metainfo.info.name, "_con");
        let report = check(&metainfo, dir.path());
        assert!(report.is_complete(), "{report:?}");
        // Elsewhere they get safe names.
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(locate(&metainfo.info, elsewhere.path()), metainfo.info.file_paths());
    }
}
