//! Makes a torrent of a file or folder on the disk: walk, hash, write (BEP 3).
//!
//! The walk is in sorted order, so that the same folder makes the same info hash everywhere. Links are followed, but
//! never into a folder that the walk is already in; sockets, devices and pipes are skipped and reported. A file that
//! cannot be read, or that changes while it is hashed, is an error: the torrent would be one that nobody can seed.
//! Empty folders are lost, torrents have none. Blocks the calling thread.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use super::hashing::{Progress, ReadError, Source, Sources};
use crate::proto::metainfo::{Builder, MAX_PATH_DEPTH, Metainfo, MetainfoError, NewFile, choose_piece_length};
use crate::types::{Geometry, GeometryError, sort};

/// Files in one torrent at most. Its torrent file would have some 40 MB.
const MAX_FILES: usize = 500_000;

/// Why no torrent could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The path ends in nothing that could be a name.
    #[error("{} has no name that the torrent could have", .0.display())]
    NoName(PathBuf),
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    NotAFile(PathBuf),
    /// A folder without files.
    #[error("there is no file in {}", .0.display())]
    NoFiles(PathBuf),
    /// More than half a million files.
    #[error("there are more than {MAX_FILES} files in {}", .0.display())]
    TooManyFiles(PathBuf),
    /// Folders nested more deeply than torrents may have them.
    #[error("{} lies more than {MAX_PATH_DEPTH} folders deep", .0.display())]
    TooDeep(PathBuf),
    /// A file was written to while it was hashed.
    #[error("{} changed while it was hashed; try again when nothing writes to it", .0.display())]
    Changed(PathBuf),
    /// Sizes that no torrent can have.
    #[error("cannot make a torrent: {0}")]
    Geometry(#[from] GeometryError),
    /// The parts make no torrent.
    #[error("cannot make a torrent: {0}")]
    Metainfo(#[from] MetainfoError),
    /// Somebody set the cancel flag.
    #[error("cancelled")]
    Cancelled,
}

/// What may be chosen for a new torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Bytes per piece; chosen by size if it is not there.
    pub piece_length: Option<u32>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// For whoever reads it.
    pub comment: Option<String>,
    /// Trackers in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// The files that a torrent will have, found but not read yet.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Name of the torrent, as the disk has it.
    pub name: Vec<u8>,
    /// What the walk left out.
    pub skipped: Vec<Skipped>,
    single_file: bool,
    files: Vec<Found>,
}

/// Something in a folder that does not go into the torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is left out.
    pub reason: SkipReason,
}

/// Why something was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// A socket, device or pipe.
    #[error("neither a file nor a folder")]
    Special,
    /// A link to nothing, or to itself.
    #[error("a link that leads nowhere")]
    BrokenLink,
    /// A link to a folder that it lies in.
    #[error("a link to a folder around it")]
    Loop,
}

#[derive(Clone, Debug)]
struct Found {
    on_disk: PathBuf,
    /// Components below the torrent's name.
    path: Vec<Vec<u8>>,
    len: u64,
    modified: Option<SystemTime>,
}

/// Makes a torrent file of a file or folder. What is left out of it is logged; [`scan`] tells the caller instead.
///
/// # Errors
/// [`CreateError`] names the file at fault.
pub fn create_torrent(
    path: &Path,
    options: &CreateOptions,
    progress: &Progress<'_>,
    cancel: &AtomicBool,
) -> Result<Vec<u8>, CreateError> {
    let scan = scan(path)?;
    for Skipped { path, reason } in &scan.skipped {
        log::warn!("{} is left out of the torrent: {reason}", path.display());
    }
    Ok(scan.hash(options, progress, cancel)?.to_bytes())
}

/// Finds the files of a new torrent.
///
/// # Errors
/// [`CreateError`] if a folder cannot be read or there is no file.
pub fn scan(path: &Path) -> Result<Scan, CreateError> {
    let name = name_of(path)?;
    let metadata = metadata(path)?;
    let mut scan = Scan { name, skipped: Vec::new(), single_file: metadata.is_file(), files: Vec::new() };
    if metadata.is_file() {
        scan.files.push(Found::new(path.to_owned(), Vec::new(), &metadata));
    } else if metadata.is_dir() {
        Walk { scan: &mut scan, inside: Vec::new(), components: Vec::new() }.folder(path, &metadata)?;
        if scan.files.is_empty() {
            return Err(CreateError::NoFiles(path.to_owned()));
        }
    } else {
        return Err(CreateError::NotAFile(path.to_owned()));
    }
    Ok(scan)
}

impl Scan {
    /// Bytes in all files.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.len))
    }

    /// Number of files.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Reads all files on all cores and makes the torrent.
    ///
    /// # Errors
    /// [`CreateError`] names the file that cannot be read or has changed since [`scan`].
    pub fn hash(
        &self,
        options: &CreateOptions,
        progress: &Progress<'_>,
        cancel: &AtomicBool,
    ) -> Result<Metainfo, CreateError> {
        let piece_length = options.piece_length.unwrap_or_else(|| choose_piece_length(self.total_size()));
        let geometry = Geometry::new(self.total_size(), piece_length.into())?;
        let source = |file: &Found| Source { path: file.on_disk.clone(), len: file.len, pad: false };
        let sources = Sources::new(self.files.iter().map(source).collect(), geometry);
        let hashes = sources.hash_all(progress, cancel, |_, hash| hash.map_err(|error| self.read_error(error)))?;
        let hashes = hashes.ok_or(CreateError::Cancelled)?;
        self.files.iter().try_for_each(Found::check_unchanged)?;
        let builder = Builder {
            name: self.name.clone(),
            files: self.files.iter().map(|file| NewFile { path: file.path.clone(), len: file.len }).collect(),
            single_file: self.single_file,
            piece_length,
            private: options.private,
            comment: options.comment.clone(),
            trackers: options.trackers.clone(),
            created_by: options.created_by.clone(),
            creation_date: options.creation_date,
        };
        Ok(builder.build(&hashes)?)
    }

    fn read_error(&self, ReadError { file, error }: ReadError) -> CreateError {
        let path = self.files.get(file).map(|file| file.on_disk.clone()).unwrap_or_default();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            CreateError::Changed(path)
        } else {
            CreateError::Read { path, error }
        }
    }
}

impl Found {
    fn new(on_disk: PathBuf, path: Vec<Vec<u8>>, metadata: &Metadata) -> Self {
        Self { on_disk, path, len: metadata.len(), modified: metadata.modified().ok() }
    }

    fn check_unchanged(&self) -> Result<(), CreateError> {
        let now = metadata(&self.on_disk)?;
        if now.len() == self.len && now.modified().ok() == self.modified {
            Ok(())
        } else {
            Err(CreateError::Changed(self.on_disk.clone()))
        }
    }
}

/// A walk through a folder, depth first.
struct Walk<'a> {
    scan: &'a mut Scan,
    /// Device and inode of the folders that the walk is in.
    inside: Vec<(u64, u64)>,
    /// Their names below the outermost one.
    components: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, metadata: &Metadata) -> Result<(), CreateError> {
        if self.components.len() >= MAX_PATH_DEPTH {
            return Err(CreateError::TooDeep(path.to_owned()));
        }
        self.inside.push((metadata.dev(), metadata.ino()));
        let read_error = |error| CreateError::Read { path: path.to_owned(), error };
        let entries = fs::read_dir(path).map_err(read_error)?;
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(read_error)?;
        sort(&mut names);
        for name in names {
            self.components.push(name.as_bytes().to_vec());
            self.entry(&path.join(&name))?;
            self.components.pop();
        }
        self.inside.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<(), CreateError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // What is there without its target is a link; ELOOP has no stable kind.
            Err(error) if is_link(path) && leads_nowhere(&error) => {
                self.skip(path, SkipReason::BrokenLink);
                return Ok(());
            }
            Err(error) => return Err(CreateError::Read { path: path.to_owned(), error }),
        };
        if metadata.is_file() {
            if self.scan.files.len() >= MAX_FILES {
                return Err(CreateError::TooManyFiles(path.parent().unwrap_or(path).to_owned()));
            }
            self.scan.files.push(Found::new(path.to_owned(), self.components.clone(), &metadata));
        } else if !metadata.is_dir() {
            self.skip(path, SkipReason::Special);
        } else if self.inside.contains(&(metadata.dev(), metadata.ino())) {
            self.skip(path, SkipReason::Loop);
        } else {
            self.folder(path, &metadata)?;
        }
        Ok(())
    }

    fn skip(&mut self, path: &Path, reason: SkipReason) {
        self.scan.skipped.push(Skipped { path: path.to_owned(), reason });
    }
}

/// The last component; of `.` and the like, that of the folder behind it.
fn name_of(path: &Path) -> Result<Vec<u8>, CreateError> {
    let read_error = |error| CreateError::Read { path: path.to_owned(), error };
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => {
            let full = fs::canonicalize(path).map_err(read_error)?;
            full.file_name().map(OsStr::to_owned).ok_or_else(|| CreateError::NoName(path.to_owned()))?
        }
    };
    Ok(name.as_bytes().to_vec())
}

fn metadata(path: &Path) -> Result<Metadata, CreateError> {
    fs::metadata(path).map_err(|error| CreateError::Read { path: path.to_owned(), error })
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn leads_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn create(path: &Path) -> Result<Metainfo, CreateError> {
        scan(path)?.hash(&CreateOptions::default(), &|_, _| (), &AtomicBool::new(false))
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = dir.path().join("top").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn paths(metainfo: &Metainfo) -> Vec<String> {
        metainfo.info.file_paths().iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_folder_is_walked_in_order() {
        let dir = folder(&[("b", b"22"), ("a/z", b"1"), ("a/y", b""), ("Ü", b"333"), ("a.txt", b"")]);
        let metainfo = create(&dir.path().join("top/.")).unwrap();
        assert_eq!(paths(&metainfo), ["top/a/y", "top/a/z", "top/a.txt", "top/b", "top/Ü"]);
        assert_eq!(metainfo.info.geometry.total(), 6);
        let read = create_torrent(
            &dir.path().join("top"),
            &CreateOptions { comment: Some("c".to_owned()), ..CreateOptions::default() },
            &|_, _| (),
            &AtomicBool::new(false),
        );
        assert_eq!(Metainfo::parse(&read.unwrap()).unwrap().info_hash, metainfo.info_hash);
    }

    #[test]
    fn one_file_makes_a_single_file_torrent() {
        let dir = folder(&[("x.iso", b"data")]);
        let info = create(&dir.path().join("top/x.iso")).unwrap().info;
        assert!(info.single_file);
        assert_eq!((&*info.name, info.geometry.total()), ("x.iso", 4));
    }

    #[test]
    fn links_are_followed_but_never_in_a_circle() {
        let dir = folder(&[("a/file", b"1")]);
        let top = dir.path().join("top");
        symlink("a/file", top.join("to_file")).unwrap();
        symlink("a", top.join("to_folder")).unwrap();
        symlink("..", top.join("a/up")).unwrap();
        symlink("nothing", top.join("broken")).unwrap();
        symlink("self", top.join("self")).unwrap();
        let _socket = UnixListener::bind(top.join("socket")).unwrap();
        let scan = scan(&top).unwrap();
        let mut skipped: Vec<_> =
            scan.skipped.iter().map(|s| (s.path.strip_prefix(&top).unwrap().to_str().unwrap(), s.reason)).collect();
        skipped.sort_by_key(|(path, _)| *path);
        assert_eq!(
            skipped,
            [
                ("a/up", SkipReason::Loop),
                ("broken", SkipReason::BrokenLink),
                ("self", SkipReason::BrokenLink),
                ("socket", SkipReason::Special),
                ("to_folder/up", SkipReason::Loop),
            ]
        );
        assert_eq!(paths(&create(&top).unwrap()), ["top/a/file", "top/to_file", "top/to_folder/file"]);
    }

    #[test]
    fn what_cannot_become_a_torrent_is_named() {
        let dir = folder(&[("a", b"1")]);
        let gone = dir.path().join("gone");
        assert!(create(&gone).unwrap_err().to_string().contains("gone: No such file"));
        fs::create_dir(&gone).unwrap();
        assert!(matches!(create(&gone), Err(CreateError::NoFiles(path)) if path == gone));
        assert!(matches!(create(Path::new("/")), Err(CreateError::NoName(_))));
        assert!(matches!(create(Path::new("/dev/null")), Err(CreateError::NotAFile(_))));
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_an_error() {
        let dir = folder(&[("a", b"1234"), ("b", b"5678")]);
        let changed = dir.path().join("top/b");
        let hash = |scan: &Scan| {
            scan.hash(&CreateOptions::default(), &|_, _| (), &AtomicBool::new(false)).unwrap_err().to_string()
        };
        for bytes in [&b"56"[..], b"567890"] {
            fs::write(&changed, b"5678").unwrap();
            let scan = scan(&dir.path().join("top")).unwrap();
            fs::write(&changed, bytes).unwrap();
            assert!(hash(&scan).contains("b changed while it was hashed"));
        }
        let scan = scan(&dir.path().join("top")).unwrap();
        fs::remove_file(&changed).unwrap();
        assert!(hash(&scan).contains("b: No such file"));
    }

    #[test]
    fn a_set_cancel_flag_stops_it() {
        let dir = folder(&[("a", b"1234")]);
        let result = create_torrent(dir.path(), &CreateOptions::default(), &|_, _| (), &AtomicBool::new(true));
        assert!(matches!(result, Err(CreateError::Cancelled)));
    }
}
