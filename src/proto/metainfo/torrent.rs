//! The torrent file and its info dictionary (BEP 3; tiers BEP 12, web seeds BEP 19, private BEP 27, pad files BEP 47).
//!
//! Parse, don't validate: a [`Metainfo`] in hand means that lengths add up to the pieces, that every name is safe on a
//! disk and that no two files are the same. Unknown and unsorted keys are fine and stay in the raw info dictionary,
//! over which the info hash is taken. Symbolic links in torrents (BEP 47, attribute `l`) are read as plain files.

use std::path::PathBuf;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::path::{is_plain_component, make_unique, safe_component};
use super::v2::{self, Format};
use crate::proto::bencode::{BencodeError, Limits, Node, raw};
use crate::types::{Geometry, GeometryError, InfoHash, InfoHashV2, Nothing, PieceHash, PieceHashes, Rare};

/// Largest torrent file that is read, in bytes.
pub const MAX_TORRENT_LEN: usize = 64 * 1024 * 1024;

/// Deepest path that is accepted, in components. Taste: source trees have some 20.
pub const MAX_PATH_DEPTH: usize = 100;

/// Trackers or web seeds that are kept from one file; a list of trackers has some 100 at most.
const MAX_URLS: usize = 500;

/// Longest URL that is kept, in bytes.
const MAX_URL_LEN: usize = 4096;

/// Why a torrent file cannot be used. File numbers count from 0 in the order of the torrent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Not bencode at all, or cut short.
    #[error("not a torrent file: {0}")]
    Bencode(#[from] BencodeError),
    /// More bytes than [`MAX_TORRENT_LEN`].
    #[error("torrent file of {0} bytes is larger than {MAX_TORRENT_LEN}")]
    TooLarge(usize),
    /// The whole is no dictionary.
    #[error("not a torrent file: the outermost value is no dictionary")]
    NotADictionary,
    /// A key that has to be there is not, or holds a value of the wrong kind.
    #[error("torrent has no usable {0:?} key")]
    Key(&'static str),
    /// Only a BitTorrent v2 part in it.
    #[error("torrent is for BitTorrent v2 only, which is not supported yet; a hybrid or v1 torrent is needed")]
    V2Only,
    /// A piece length or size that is out of range.
    #[error("torrent has impossible sizes: {0}")]
    Geometry(#[from] GeometryError),
    /// `piece length` below 1.
    #[error("torrent has the piece length {0}")]
    PieceLength(i64),
    /// `pieces` is no row of 20-byte hashes.
    #[error("torrent's piece hashes have {0} bytes, which is no multiple of 20")]
    PiecesLength(usize),
    /// The number of hashes is not the number of pieces.
    #[error("torrent has {found} piece hashes, its size needs {expected}")]
    PieceCount {
        /// Pieces that the files need.
        expected: u32,
        /// Hashes that are there.
        found: usize,
    },
    /// The list of files is empty.
    #[error("torrent has no files")]
    NoFiles,
    /// An entry of `files` is malformed.
    #[error("file {0} of the torrent has no usable length or path")]
    File(usize),
    /// A length below 0.
    #[error("file {file} of the torrent has the length {length}")]
    FileLength {
        /// Which file.
        file: usize,
        /// Its length.
        length: i64,
    },
    /// The lengths add up to more than 64 bits hold.
    #[error("the files of the torrent are impossibly large together")]
    TotalLength,
    /// A path without components.
    #[error("file {0} of the torrent has an empty path")]
    EmptyPath(usize),
    /// A path with too many components.
    #[error("file {file} of the torrent lies {depth} folders deep")]
    PathDepth {
        /// Which file.
        file: usize,
        /// Components of its path.
        depth: usize,
    },
    /// The info dictionary is not the one that was asked for.
    #[error("the torrent's info hash is {found}, expected {expected}")]
    InfoHash {
        /// What was asked for.
        expected: InfoHash,
        /// What the bytes hash to.
        found: InfoHash,
    },
}

/// A torrent file, checked.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// SHA-1 over the raw info dictionary.
    pub info_hash: InfoHash,
    /// What is shared.
    pub info: Info,
    /// What it says beside that.
    pub about: Rare<About>,
    raw_info: Arc<[u8]>,
}

/// What a torrent file says beside its info dictionary. One that peers sent says nothing but its trackers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Trackers in tiers (BEP 12). Foreign text; any scheme.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19, `url-list`). Foreign text; any scheme.
    pub web_seeds: Vec<String>,
    /// Comment of whoever made it. Foreign text: print it escaped.
    pub comment: Option<String>,
    /// Program that made it. Foreign text: print it escaped.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<i64>,
}

impl Nothing for About {
    const NOTHING: &'static Self =
        &Self { trackers: Vec::new(), web_seeds: Vec::new(), comment: None, created_by: None, creation_date: None };

    fn is_nothing(&self) -> bool {
        self == Self::NOTHING
    }
}

/// The info dictionary: names, lengths and piece hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Name of the file or of the folder that holds the files, safe to create.
    pub name: Arc<str>,
    /// Total size and pieces.
    pub geometry: Geometry,
    /// One hash per piece.
    pub pieces: PieceHashes,
    /// The files in torrent order; never empty.
    pub files: Box<[File]>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// One file without a folder around it.
    pub single_file: bool,
    /// The second info hash of a hybrid torrent (BEP 52).
    pub info_hash_v2: Option<Box<InfoHashV2>>,
    /// The name as it stands in the torrent, if that is another one and a Unix disk could have it.
    literal_name: Option<Box<[u8]>>,
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Safe components below [`Info::name`], with `/` between them; of a single-file torrent just the name.
    pub path: Arc<str>,
    /// Length in bytes.
    pub len: u64,
    /// Only there to align the next file; its bytes are zeros and it is not stored (BEP 47).
    pub pad: bool,
    /// The path as it stands in the torrent, if that is another one and a Unix disk could have it.
    literal: Option<Box<Literal>>,
}

/// The components of a path as they stand in a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Literal(Vec<Vec<u8>>);

impl Metainfo {
    /// Reads a torrent file. A line break at its end is overlooked.
    ///
    /// # Errors
    /// [`MetainfoError`] says what is wrong with it.
    pub fn parse(input: &[u8]) -> Result<Self, MetainfoError> {
        if input.len() > MAX_TORRENT_LEN {
            return Err(MetainfoError::TooLarge(input.len()));
        }
        let (root, used) = Node::parse_prefix_with(input, Limits::FILE)?;
        if !matches!(input.get(used..), Some(b"" | b"\n" | b"\r\n")) {
            return Err(BencodeError::TrailingBytes(used).into());
        }
        root.as_dict().ok_or(MetainfoError::NotADictionary)?;
        let info = root.get("info").filter(|info| info.as_dict().is_some()).ok_or(MetainfoError::Key("info"))?;
        let raw_info = raw::dict_entry(input, b"info").and_then(|range| input.get(range));
        let raw_info: Arc<[u8]> = raw_info.ok_or(MetainfoError::Key("info"))?.into();
        Ok(Self {
            info_hash: info_hash(&raw_info),
            info: Info::from_node(info, &raw_info)?,
            about: Rare::new(About {
                trackers: trackers(&root),
                web_seeds: urls(root.get("url-list")),
                comment: text(&root, "comment.utf-8", "comment"),
                created_by: text(&root, "created by.utf-8", "created by"),
                creation_date: root.get("creation date").and_then(Node::as_int),
            }),
            raw_info,
        })
    }

    /// Puts a torrent together from an info dictionary that peers sent (BEP 9).
    ///
    /// # Errors
    /// [`MetainfoError::InfoHash`] if it is not the one with the hash `expected`, any other if it is unusable.
    pub fn from_info(
        raw_info: Arc<[u8]>,
        expected: InfoHash,
        trackers: Vec<Vec<String>>,
    ) -> Result<Self, MetainfoError> {
        let found = info_hash(&raw_info);
        if found != expected {
            return Err(MetainfoError::InfoHash { expected, found });
        }
        let info = Info::from_node(&Node::parse_with(&raw_info, Limits::FILE)?, &raw_info)?;
        Ok(Self { info_hash: found, info, about: Rare::new(About { trackers, ..About::default() }), raw_info })
    }

    /// The exact bytes of the info dictionary, as peers without it ask for them (BEP 9).
    #[must_use]
    pub const fn raw_info(&self) -> &Arc<[u8]> {
        &self.raw_info
    }

    /// A torrent file again. The info dictionary is written as it was read; keys that are not known are lost around it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let about = &*self.about;
        let list = |urls: &[String]| Node::List(urls.iter().map(|url| Node::from(url.as_str())).collect()).encode();
        let tiers = Node::List(
            about
                .trackers
                .iter()
                .map(|tier| Node::List(tier.iter().map(|url| url.as_str().into()).collect()))
                .collect(),
        );
        let string = |text: &String| Node::from(text.as_str()).encode();
        let several = about.trackers.iter().flatten().nth(1).is_some();
        // In the order of the keys, which BEP 3 demands.
        let entries = [
            ("announce", about.trackers.iter().flatten().next().map(string)),
            ("announce-list", several.then(|| tiers.encode())),
            ("comment", about.comment.as_ref().map(string)),
            ("created by", about.created_by.as_ref().map(string)),
            ("creation date", about.creation_date.map(|date| Node::Int(date).encode())),
            ("info", Some(self.raw_info.to_vec())),
            ("url-list", (!about.web_seeds.is_empty()).then(|| list(&about.web_seeds))),
        ];
        let mut out = vec![b'd'];
        for (key, value) in entries.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            out.extend(Node::from(key).encode());
            out.extend(value);
        }
        out.push(b'e');
        out
    }
}

impl Info {
    /// Where each file belongs, relative to the folder that gets the torrent: the top-level name comes first. Pad files
    /// are in the list too, so that it has the indices of [`Info::files`].
    #[must_use]
    pub fn file_paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| self.file_path(file)).collect()
    }

    fn file_path(&self, file: &File) -> PathBuf {
        let folder = (!self.single_file).then_some(&*self.name);
        folder.into_iter().chain(file.path.split('/')).collect()
    }

    /// The raw components under which the file may already lie on a Unix disk, where that differs from its safe path:
    /// whoever shares a file called `aux.c` has it under that name. Only for files that exist; never create these.
    #[must_use]
    pub fn literal_path(&self, file: &File) -> Option<Vec<Vec<u8>>> {
        if self.literal_name.is_none() && file.literal.is_none() {
            return None;
        }
        let name = self.literal_name.as_deref().unwrap_or_else(|| self.name.as_bytes()).to_vec();
        if self.single_file {
            return Some(vec![name]);
        }
        let safe = || file.path.split('/').map(|component| component.as_bytes().to_vec()).collect();
        let path = file.literal.as_ref().map_or_else(safe, |literal| literal.0.clone());
        Some([vec![name], path].concat())
    }

    fn from_node(info: &Node<'_>, raw_info: &Arc<[u8]>) -> Result<Self, MetainfoError> {
        let format = Format::of(info);
        if format == Format::V2 {
            return Err(MetainfoError::V2Only);
        }
        let piece_length = info.get("piece length").and_then(Node::as_int).ok_or(MetainfoError::Key("piece length"))?;
        let piece_length = u64::try_from(piece_length).map_err(|_| MetainfoError::PieceLength(piece_length))?;
        let raw_name = bytes(info, "name.utf-8", "name").ok_or(MetainfoError::Key("name"))?;
        let name: Arc<str> = safe_component(raw_name).into();
        let (files, single_file): (Box<[File]>, bool) = match info.get("files") {
            Some(files) => (files_from(files)?, false),
            None => ([single_file_from(info, &name)?].into(), true),
        };
        let total = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.len));
        let geometry = Geometry::new(total.ok_or(MetainfoError::TotalLength)?, piece_length)?;
        let pieces = pieces_from(info, raw_info, &geometry)?;
        Ok(Self {
            literal_name: (raw_name != name.as_bytes() && is_plain_component(raw_name)).then(|| raw_name.into()),
            name,
            geometry,
            pieces,
            files,
            private: info.get("private").and_then(Node::as_int) == Some(1),
            single_file,
            info_hash_v2: (format == Format::Hybrid).then(|| Box::new(v2::info_hash_v2(raw_info))),
        })
    }
}

fn info_hash(raw_info: &[u8]) -> InfoHash {
    InfoHash::new(Sha1::digest(raw_info).into())
}

fn pieces_from(info: &Node<'_>, raw_info: &Arc<[u8]>, geometry: &Geometry) -> Result<PieceHashes, MetainfoError> {
    let raw = info.get("pieces").and_then(Node::as_bytes).ok_or(MetainfoError::Key("pieces"))?;
    let (hashes, rest) = raw.as_chunks::<{ PieceHash::LEN }>();
    if !rest.is_empty() {
        return Err(MetainfoError::PiecesLength(raw.len()));
    }
    let expected = geometry.piece_count();
    if u32::try_from(hashes.len()) != Ok(expected) {
        return Err(MetainfoError::PieceCount { expected, found: hashes.len() });
    }
    // They are kept where they stand, at the end of the value.
    let range =
        raw::dict_entry(raw_info, b"pieces").and_then(|value| Some(value.end.checked_sub(raw.len())?..value.end));
    range.and_then(|range| PieceHashes::new(Arc::clone(raw_info), range)).ok_or(MetainfoError::Key("pieces"))
}

fn single_file_from(info: &Node<'_>, name: &Arc<str>) -> Result<File, MetainfoError> {
    let length = info.get("length").and_then(Node::as_int).ok_or(MetainfoError::Key("length"))?;
    let len = u64::try_from(length).map_err(|_| MetainfoError::FileLength { file: 0, length })?;
    Ok(File { path: Arc::clone(name), len, pad: false, literal: None })
}

fn files_from(files: &Node<'_>) -> Result<Box<[File]>, MetainfoError> {
    let entries = files.as_list().ok_or(MetainfoError::Key("files"))?;
    if entries.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    let raw_paths = entries.iter().enumerate().map(|(index, entry)| path_from(index, entry));
    let raw_paths = raw_paths.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<Vec<String>> =
        raw_paths.iter().map(|path| path.iter().map(|raw| safe_component(raw)).collect()).collect();
    make_unique(&mut paths);
    let files = entries.iter().zip(raw_paths).zip(paths).enumerate();
    files.map(|(index, ((entry, raw_path), path))| file_from(index, entry, &raw_path, &path)).collect()
}

fn path_from<'a>(file: usize, entry: &Node<'a>) -> Result<Vec<&'a [u8]>, MetainfoError> {
    let list = |key| entry.get(key).and_then(Node::as_list);
    let components = list("path.utf-8").or_else(|| list("path")).ok_or(MetainfoError::File(file))?;
    match components.len() {
        0 => return Err(MetainfoError::EmptyPath(file)),
        depth if depth > MAX_PATH_DEPTH => return Err(MetainfoError::PathDepth { file, depth }),
        _ => {}
    }
    components.iter().map(|component| component.as_bytes().ok_or(MetainfoError::File(file))).collect()
}

fn file_from(index: usize, entry: &Node<'_>, raw_path: &[&[u8]], path: &[String]) -> Result<File, MetainfoError> {
    let length = entry.get("length").and_then(Node::as_int).ok_or(MetainfoError::File(index))?;
    let len = u64::try_from(length).map_err(|_| MetainfoError::FileLength { file: index, length })?;
    let pad = entry.get("attr").and_then(Node::as_bytes).is_some_and(|attr| attr.contains(&b'p'));
    let same = path.iter().map(|safe| safe.as_bytes()).eq(raw_path.iter().copied());
    let plain = !same && raw_path.iter().all(|raw| is_plain_component(raw));
    let literal = plain.then(|| Box::new(Literal(raw_path.iter().map(|raw| raw.to_vec()).collect())));
    Ok(File { path: path.join("/").into(), len, pad, literal })
}

/// The tiers of `announce-list`; `announce` counts only if there are none (BEP 12).
fn trackers(root: &Node<'_>) -> Vec<Vec<String>> {
    let tiers = root.get("announce-list").and_then(Node::as_list).unwrap_or_default();
    let mut left = MAX_URLS;
    let mut kept: Vec<Vec<String>> = Vec::new();
    for tier in tiers.iter().take(MAX_URLS) {
        let mut tier = urls(Some(tier));
        tier.retain(|url| !kept.iter().flatten().any(|other| other == url));
        tier.truncate(left);
        left -= tier.len();
        if !tier.is_empty() {
            kept.push(tier);
        }
    }
    if kept.is_empty() {
        kept.extend(Some(urls(root.get("announce"))).filter(|tier| !tier.is_empty()));
    }
    kept
}

/// One URL or a list of them; empty, repeated, overlong and non-text ones are left out.
fn urls(node: Option<&Node<'_>>) -> Vec<String> {
    let items = match node {
        Some(Node::List(items)) => items.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    let mut kept: Vec<String> = Vec::new();
    for url in items.iter().take(MAX_URLS).filter_map(Node::as_str).map(str::trim) {
        if !url.is_empty() && url.len() <= MAX_URL_LEN && !kept.iter().any(|k| k == url) {
            kept.push(url.to_owned());
        }
    }
    kept
}

/// A string under the key that promises UTF-8, or else under the old key.
fn bytes<'a>(node: &Node<'a>, utf8_key: &str, key: &str) -> Option<&'a [u8]> {
    let find = |key: &str| node.get(key).and_then(Node::as_bytes);
    find(utf8_key).or_else(|| find(key))
}

fn text(node: &Node<'_>, utf8_key: &str, key: &str) -> Option<String> {
    bytes(node, utf8_key, key).map(|raw| String::from_utf8_lossy(raw).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
