//! File names out of foreign bytes (BEP 3, `name` and `path`), made safe for a disk.
//!
//! Whatever the bytes, a component made here is one normal name: not empty, not `.` or `..`, no separator, no NUL, no
//! control or bidirectional character, no drive letter, no reserved device name of Windows, at most
//! [`MAX_COMPONENT_LEN`] bytes. Names that are fine stay as they are, so `?` or `:` survive where the disk allows them.
//! [`make_unique`] then keeps files from hiding each other, on disks that ignore case too.
//!
//! Works on text alone; symbolic links on the disk are the storage layer's business.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::types::is_unprintable;

/// Longest file name in bytes. What Linux file systems allow.
pub const MAX_COMPONENT_LEN: usize = 255;

/// Longest extension, dot included, that is kept when a name has to be cut. Taste.
const MAX_EXTENSION_LEN: usize = 32;

/// Bytes kept free for ` (4294967295)` when a name gets a number.
const NUMBER_ROOM: usize = 16;

/// Stands for a name that had nothing usable in it.
const NAMELESS: &str = "_";

/// One path component that is safe to create inside a folder. Bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn safe_component(raw: &[u8]) -> String {
    let mut name: String = String::from_utf8_lossy(raw)
        .chars()
        .filter(|c| !is_unprintable(*c))
        .map(|c| if matches!(c, '/' | '\\') { '_' } else { c })
        .collect();
    if has_drive_letter(&name) {
        name = name.replacen(':', "_", 1);
    }
    name = cut(&name, MAX_COMPONENT_LEN);
    if is_reserved(&name) {
        name = cut(&format!("_{name}"), MAX_COMPONENT_LEN);
    }
    // Dots and spaces alone are the folder itself or its parent, or look like nothing.
    if name.chars().all(|c| matches!(c, '.' | ' ')) { NAMELESS.to_owned() } else { name }
}

/// A number that is the same for all names that could be the same file, case aside, and seldom for others: for looking
/// through thousands of names.
#[must_use]
pub fn name_key(name: &str) -> u32 {
    // FNV-1a. Whoever makes names with the same number gains nothing: they are compared in full.
    let folded = safe_component(name.as_bytes()).to_lowercase();
    folded.bytes().fold(0x811c_9dc5, |key: u32, byte| (key ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Renames files until no two of these paths are the same file, and none is a folder of another one. Case and trailing
/// dots and spaces do not count as a difference. The first of two equal names keeps it, folders always do.
///
/// The components must come from [`safe_component`], and stay safe. Time and memory are in proportion to the input.
pub fn make_unique(paths: &mut [Vec<String>]) {
    let mut tree = Tree::default();
    let folders: Vec<Folder> = paths.iter().map(|path| tree.folder(path)).collect();
    // The last number tried for each name, so that a million equal names are not a million times a million tries.
    let mut numbers: HashMap<(Folder, String, String), u32> = HashMap::new();
    for (path, folder) in paths.iter_mut().zip(folders) {
        let Some(name) = path.last_mut() else { continue };
        if tree.add_file(folder, name) {
            continue;
        }
        let (stem, extension) = split_extension(name);
        let stem = cut(stem, MAX_COMPONENT_LEN - NUMBER_ROOM - extension.len());
        let extension = extension.to_owned();
        let number = numbers.entry((folder, fold(&stem), fold(&extension))).or_insert(1);
        loop {
            *number = number.saturating_add(1);
            *name = format!("{stem} ({number}){extension}");
            // The numbers cannot run out: a torrent file has room for some millions of names.
            if tree.add_file(folder, name) || *number == u32::MAX {
                break;
            }
        }
    }
}

/// A folder of the torrent; 0 is the outermost.
type Folder = u32;

/// The names in each folder as case-insensitive disks see them, and what is behind a name if that is a folder.
#[derive(Default)]
struct Tree {
    names: HashMap<(Folder, String), Option<Folder>>,
    /// Folders made so far.
    folders: Folder,
}

impl Tree {
    /// The folder that the path's last component lies in; made if needed. To be called for all paths before
    /// [`Tree::add_file`], so that folders get their names first.
    fn folder(&mut self, path: &[String]) -> Folder {
        let folders = path.split_last().map_or(&[][..], |(_, folders)| folders);
        folders.iter().fold(0, |parent, name| {
            let next = self.folders.saturating_add(1);
            let folder = self.names.entry((parent, fold(name))).or_insert(Some(next)).unwrap_or(parent);
            self.folders = self.folders.max(folder);
            folder
        })
    }

    /// False if the name is taken.
    fn add_file(&mut self, folder: Folder, name: &str) -> bool {
        match self.names.entry((folder, fold(name))) {
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

/// True for bytes that are one normal name on a Unix disk, however odd it looks. A file that already lies on the disk
/// under such a name may be used under it.
#[must_use]
pub(super) fn is_plain_component(raw: &[u8]) -> bool {
    !matches!(raw, b"" | b"." | b"..") && raw.len() <= MAX_COMPONENT_LEN && !raw.iter().any(|b| matches!(b, b'/' | 0))
}

/// A name as case-insensitive disks see it.
fn fold(component: &str) -> String {
    component.trim_end_matches(['.', ' ']).to_lowercase()
}

fn has_drive_letter(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
}

/// Device names that Windows does not take as file names, with any extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        other => other
            .strip_prefix("COM")
            .or_else(|| other.strip_prefix("LPT"))
            .is_some_and(|rest| matches!(rest, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")),
    }
}

/// The name and its extension, dot included. A name that begins with its only dot has none.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_LEN => name.split_at(dot),
        _ => (name, ""),
    }
}

/// Shortens a name to `max` bytes, between two characters and in front of the extension.
fn cut(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let (stem, extension) = split_extension(name);
    let room = max.saturating_sub(extension.len());
    let end = (0..=room).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{extension}", stem.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::{Component, Path, PathBuf};

    use proptest::prelude::*;

    use super::*;

    fn folded(path: &[String]) -> Vec<String> {
        path.iter().map(|component| fold(component)).collect()
    }

    #[test]
    fn names_of_the_same_file_have_the_same_key() {
        assert_eq!(name_key("Holiday/2026"), name_key("HOLIDAY_2026"));
        assert_ne!(name_key("a"), name_key("b"));
    }

    fn unique(paths: &[&str]) -> Vec<String> {
        let mut paths: Vec<Vec<String>> =
            paths.iter().map(|path| path.split('/').map(|c| safe_component(c.as_bytes())).collect()).collect();
        make_unique(&mut paths);
        paths.iter().map(|path| path.join("/")).collect()
    }

    #[test]
    fn good_names_stay_as_they_are() {
        for name in
            ["a", "Grüße – 日本語.txt", ".hidden", "what?.txt", "12:30", "...and more", "common.c", "x..", "e\u{301}"]
        {
            assert_eq!(safe_component(name.as_bytes()), name);
        }
    }

    #[test]
    fn hostile_names_are_tamed() {
        for (raw, safe) in [
            (&b""[..], "_"),
            (b".", "_"),
            (b"..", "_"),
            (b". .", "_"),
            (b".\x01.", "_"),
            (b"../../etc/passwd", ".._.._etc_passwd"),
            (b"/etc/passwd", "_etc_passwd"),
            (b"..\\up", ".._up"),
            (b"C:\\boot.ini", "C__boot.ini"),
            (b"c:", "c_"),
            (b"a\0b\x1b[0m\x7f", "ab[0m"),
            ("exe\u{202e}gpj.scr".as_bytes(), "exegpj.scr"),
            (b"con", "_con"),
            (b"AUX.c", "_AUX.c"),
            (b"nul .txt", "_nul .txt"),
            (b"lpt1.tar.gz", "_lpt1.tar.gz"),
            (b"caf\xe9", "caf\u{fffd}"),
        ] {
            assert_eq!(safe_component(raw), safe, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn long_names_are_cut_between_characters_and_keep_the_extension() {
        let cut = safe_component(format!("{}.tar.gz", "ü".repeat(200)).as_bytes());
        assert!(cut.len() <= MAX_COMPONENT_LEN && cut.len() > 250, "{}", cut.len());
        assert!(cut.ends_with("ü.gz"), "{cut}");
        assert_eq!(safe_component("日".repeat(100).as_bytes()).chars().count(), 85);
        assert_eq!(safe_component(format!("a.{}", "x".repeat(300)).as_bytes()).len(), MAX_COMPONENT_LEN);
    }

    #[test]
    fn equal_names_get_numbers() {
        assert_eq!(unique(&["a.txt", "A.TXT", "a.txt", "b"]), ["a.txt", "A (2).TXT", "a (3).txt", "b"]);
        assert_eq!(unique(&["a (2)", "a", "a", "a."]), ["a (2)", "a", "a (3)", "a (4)."]);
        assert_eq!(unique(&["d/x", "D/X"]), ["d/x", "D/X (2)"]);
    }

    #[test]
    fn a_file_never_takes_the_name_of_a_folder() {
        assert_eq!(unique(&["a", "a/b", "A/c"]), ["a (2)", "a/b", "A/c"]);
        assert_eq!(unique(&["a/b/c", "a/b", "a"]), ["a/b/c", "a/b (2)", "a (2)"]);
    }

    #[test]
    fn many_equal_names_do_not_take_for_ever() {
        let long = "x".repeat(240);
        let names: Vec<String> = (0..20_000).map(|i| format!("{long}{:05}", i / 2)).collect();
        let mut paths: Vec<Vec<String>> = names.into_iter().map(|name| vec![name]).collect();
        make_unique(&mut paths);
        assert_eq!(paths.iter().collect::<HashSet<_>>().len(), 20_000);
    }

    fn raw_component() -> impl Strategy<Value = Vec<u8>> {
        let odd = proptest::sample::select(vec![
            &b".."[..],
            b"/",
            b"\\",
            b"\0",
            b"a",
            b"A",
            b".",
            b" ",
            b"con",
            b"c:",
            "\u{202e}".as_bytes(),
            b"\xff",
            b" (2)",
        ]);
        prop_oneof![
            proptest::collection::vec(odd, 0..4).prop_map(|parts| parts.concat()),
            proptest::collection::vec(any::<u8>(), 0..300),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_paths_stay_inside_and_unique(
            raw in proptest::collection::vec(proptest::collection::vec(raw_component(), 1..4), 1..30)
        ) {
            let mut paths: Vec<Vec<String>> =
                raw.iter().map(|path| path.iter().map(|component| safe_component(component)).collect()).collect();
            make_unique(&mut paths);
            let mut seen = HashSet::new();
            for path in &paths {
                let joined: PathBuf = Path::new("/base").join(path.iter().collect::<PathBuf>());
                let normal = joined.components().skip(1).filter(|c| matches!(c, Component::Normal(_))).count();
                prop_assert_eq!(normal, path.len() + 1, "{:?}", joined);
                prop_assert_eq!(joined.components().count(), path.len() + 2);
                for component in path {
                    prop_assert!(component.len() <= MAX_COMPONENT_LEN && is_plain_component(component.as_bytes()));
                    prop_assert!(!component.contains('\\') && !component.chars().any(is_unprintable));
                    prop_assert_eq!(&safe_component(component.as_bytes()), component, "not stable");
                }
                prop_assert!(seen.insert(folded(path)), "{:?} twice", path);
            }
            for path in &paths {
                for depth in 1..path.len() {
                    prop_assert!(!seen.contains(&folded(&path[..depth])), "file is a folder: {:?}", path);
                }
            }
        }
    }
}
