//! Test data of any size that costs 16 MiB of memory: one random block, repeated, with the torrent that describes it.
//! One file, or a folder of many.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::trouble::Trouble;

/// Bytes after which the content repeats itself. Pieces and blocks divide it, so none of them wraps around.
const PERIOD: usize = 16 << 20;

/// The bytes of a file, or of a folder's files, and their torrent. Cheap to clone.
#[derive(Clone)]
pub struct Content {
    block: Arc<[u8]>,
    /// The file's or the folder's name in the torrent.
    pub name: String,
    /// Bytes of all files, a multiple of `piece_len`.
    pub len: u64,
    /// Its files, all of the same size, below the folder of a download.
    paths: Arc<[PathBuf]>,
    /// Bytes of a piece, a power of two from 16 KiB to 16 MiB.
    pub piece_len: u32,
    /// Decides which bytes they are.
    pub seed: u64,
    /// SHA-1 of the torrent's info dictionary.
    pub info_hash: [u8; 20],
    /// The torrent file.
    pub torrent: Arc<[u8]>,
    sha256: OnceLock<Sha256Hash>,
}

/// A SHA-256.
type Sha256Hash = [u8; 32];

impl Content {
    /// Content of `len` bytes, rounded up to whole pieces. The seed decides which bytes.
    pub fn new(name: &str, len: u64, piece_len: u32, seed: u64) -> Self {
        Self::repeating(PERIOD, name, len, piece_len, seed)
    }

    /// Content of a few pieces, which is quicker to make.
    pub fn small(name: &str, len: u64, piece_len: u32, seed: u64) -> Self {
        Self::repeating(usize::try_from(len).unwrap_or(PERIOD), name, len, piece_len, seed)
    }

    /// A folder of this many files, 100 to a folder below it. Their sizes must add up to whole pieces.
    pub fn folder(name: &str, files: u32, file_len: u64, piece_len: u32, seed: u64) -> Self {
        let mut list = String::from("d5:filesl");
        let mut paths = Vec::new();
        for nth in 0..files {
            let [folder, file] = [nth / 100, nth % 100].map(|number| format!("{number:04}"));
            list.push_str(&format!("d6:lengthi{file_len}e4:pathl4:{folder}4:{file}ee"));
            paths.push([name, &folder, &file].iter().collect());
        }
        list.push('e');
        Self::described(PERIOD, name, u64::from(files) * file_len, (&list, paths), piece_len, seed)
    }

    fn repeating(period: usize, name: &str, len: u64, piece_len: u32, seed: u64) -> Self {
        let len = len.max(1).next_multiple_of(u64::from(piece_len));
        let list = format!("d6:lengthi{len}e");
        Self::described(period, name, len, (&list, vec![name.into()]), piece_len, seed)
    }

    /// `list` is how the torrent begins, which says what the files are.
    fn described(
        period: usize,
        name: &str,
        len: u64,
        (list, paths): (&str, Vec<PathBuf>),
        piece_len: u32,
        seed: u64,
    ) -> Self {
        let mut block = vec![0; period];
        fastrand::Rng::with_seed(seed).fill(&mut block);
        let hashes: Vec<[u8; 20]> = block.chunks(piece_len as usize).map(|piece| Sha1::digest(piece).into()).collect();
        let pieces = usize::try_from(len / u64::from(piece_len)).unwrap_or(usize::MAX);
        let hashes: Vec<u8> = (0..pieces).flat_map(|piece| hashes[piece % hashes.len()]).collect();
        let mut info = format!("{list}4:name{}:{name}12:piece lengthi{piece_len}e6:pieces", name.len());
        info.push_str(&format!("{}:", hashes.len()));
        let info = [info.as_bytes(), &hashes, b"e"].concat();
        let info_hash = Sha1::digest(&info).into();
        let torrent = [b"d4:info", info.as_slice(), b"e"].concat().into();
        Self {
            block: block.into(),
            name: name.to_owned(),
            len,
            paths: paths.into(),
            piece_len,
            seed,
            info_hash,
            torrent,
            sha256: OnceLock::new(),
        }
    }

    /// Whether it is a folder of files.
    pub fn is_folder(&self) -> bool {
        self.paths.len() > 1
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.len / u64::from(self.piece_len)).unwrap_or(u32::MAX)
    }

    /// Bytes that lie within one piece; none if they do not.
    pub fn bytes(&self, piece: u32, begin: u32, len: u32) -> Option<&[u8]> {
        let within = begin.checked_add(len).is_some_and(|end| end <= self.piece_len);
        if piece >= self.pieces() || !within {
            return None;
        }
        let start = (u64::from(piece) * u64::from(self.piece_len) + u64::from(begin)) % self.block.len() as u64;
        let start = usize::try_from(start).ok()?;
        self.block.get(start..start + len as usize)
    }

    /// Writes the torrent file.
    pub fn write_torrent(&self, path: &Path) -> Result<(), Trouble> {
        Ok(std::fs::write(path, &self.torrent)?)
    }

    /// Writes the file into `dir`, unless it lies there already. (Nobody seeds a folder here.)
    pub fn write_into(&self, dir: &Path) -> Result<(), Trouble> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(&self.name);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == self.len) {
            return Ok(());
        }
        let mut file = File::create(path)?;
        let mut left = self.len;
        while left > 0 {
            let part = left.min(self.block.len() as u64);
            file.write_all(&self.block[..part as usize])?;
            left -= part;
        }
        Ok(())
    }

    /// SHA-256 of all bytes, computed once.
    pub fn sha256(&self) -> Sha256Hash {
        *self.sha256.get_or_init(|| {
            let mut sum = Sha256::new();
            let mut left = self.len;
            while left > 0 {
                let part = left.min(self.block.len() as u64);
                sum.update(&self.block[..part as usize]);
                left -= part;
            }
            sum.finalize().into()
        })
    }

    /// Compares the SHA-256 of what a client wrote into `dir`, file after file, with the source's. Each file must be as long
    /// as it should be, too.
    pub fn check_in(&self, dir: &Path) -> Result<(), Trouble> {
        let len = self.len / self.paths.len() as u64;
        let mut sum = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        for path in &*self.paths {
            let mut file = File::open(dir.join(path))?;
            let found = file.metadata()?.len();
            if found != len {
                return Err(Trouble::failed(format!("{} has {found} bytes, not {len}", path.display())));
            }
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    got => sum.update(&buffer[..got]),
                }
            }
        }
        let found: Sha256Hash = sum.finalize().into();
        if found == self.sha256() { Ok(()) } else { Err(Trouble::failed("the download's SHA-256 is not the source's")) }
    }
}
