//! How much memory this machine has for us: the smaller of what is built in and what the control groups allow
//! (cgroups(7), both versions).

use std::fs;
use std::path::{Component, Path};
use std::sync::OnceLock;

use crate::types::MIN_MEMORY_LIMIT;

/// Share of the machine's memory that buffers may take if nobody says otherwise: one in so many.
const DEFAULT_SHARE: u64 = 4;
/// ... but at most so much: more makes nothing faster.
const MAX_DEFAULT_LIMIT: u64 = 256 << 20;
/// Memory for pieces if nobody says otherwise.
const DEFAULT_PIECE_BUFFER: u64 = 64 << 20;
/// ... but at most this share of the limit: one in so many.
const PIECE_BUFFER_SHARE: u64 = 2;
/// Share of the machine's memory that finished pieces may take that are mappings of their files: one in so many. On a
/// small machine it is what the piece buffer gets; the more of the page cache is held, the less can be read ahead.
const FILE_WINDOWS_SHARE: u64 = 8;
/// ... but at most so many times the limit for all buffers, for whoever lowers that wants little used.
const FILE_WINDOWS_OF_LIMIT: u64 = 4;
/// ... and at most so much. Page tables take a part in 512 of it.
const MAX_FILE_WINDOWS: u64 = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 256 << 20 };

/// Memory for all buffers together if nobody says otherwise: a quarter of the machine's, at most 256 MiB.
#[must_use]
pub fn default_memory_limit() -> u64 {
    (this_machine() / DEFAULT_SHARE).clamp(MIN_MEMORY_LIMIT, MAX_DEFAULT_LIMIT)
}

/// Memory for pieces if nobody says otherwise, given the limit for all buffers.
#[must_use]
pub fn default_piece_buffer(memory_limit: u64) -> u64 {
    DEFAULT_PIECE_BUFFER.min(memory_limit / PIECE_BUFFER_SHARE)
}

/// Bytes that windows over files may have together, which peers are served from, given the limit for all buffers: an
/// eighth of the machine's memory, at most 1 GiB and four times that limit.
#[must_use]
pub fn default_file_windows(memory_limit: u64) -> u64 {
    file_windows(this_machine(), memory_limit)
}

fn file_windows(machine: u64, memory_limit: u64) -> u64 {
    let of_limit = memory_limit.saturating_mul(FILE_WINDOWS_OF_LIMIT);
    (machine / FILE_WINDOWS_SHARE).min(of_limit).min(MAX_FILE_WINDOWS)
}

/// What this process has of the machine's memory, in bytes, as the kernel counts it: all of it, and the part that is in
/// no file. `None` where the kernel does not tell.
#[must_use]
pub fn process_memory() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some((kib_field(&status, "VmRSS:")?, kib_field(&status, "RssAnon:")?))
}

/// Bytes of memory of this machine, as far as it is known. It is looked up once, since a start asks several times.
fn this_machine() -> u64 {
    static KNOWN: OnceLock<u64> = OnceLock::new();
    *KNOWN.get_or_init(|| machine_memory(Path::new("/")).unwrap_or(u64::MAX))
}

/// Bytes of memory; `None` if the kernel says nothing. `root` is `/` but in tests.
fn machine_memory(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let built_in = read("proc/meminfo").and_then(|text| kib_field(&text, "MemTotal:"));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    limits.chain(built_in).min()
}

/// A line like `MemTotal:  16384 kB`, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit that a line of `/proc/self/cgroup` leads to: `0::/path` is version 2, `N:...,memory,...:/path` version 1.
/// The limits of the groups above hold, too. In a container the path may be the host's and lead nowhere; what the
/// container sees as the top is its own group then.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let mount = root.join(mount);
    let inside = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
    let group = mount.join(inside.collect::<std::path::PathBuf>());
    let above = group.ancestors().take_while(|dir| dir.starts_with(&mount));
    // "max" is no number, and no limit.
    above.filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        machine_memory(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1024 kB\nMemFree:          10 kB\n");

    #[test]
    fn without_groups_it_is_what_is_built_in() {
        assert_eq!(machine(&[MEMINFO]), Some(1 << 20));
        assert_eq!(machine(&[MEMINFO, ("proc/self/cgroup", "0::/\n")]), Some(1 << 20));
        assert_eq!(machine(&[]), None);
    }

    #[test]
    fn the_own_group_and_those_above_it_count_in_version_2() {
        let own = ("proc/self/cgroup", "0::/system.slice/bitween.service\n");
        let max = ("sys/fs/cgroup/system.slice/bitween.service/memory.max", "max\n");
        assert_eq!(machine(&[MEMINFO, own, max]), Some(1 << 20));
        let above = ("sys/fs/cgroup/system.slice/memory.max", "65536\n");
        assert_eq!(machine(&[MEMINFO, own, max, above]), Some(65536));
    }

    #[test]
    fn version_1_and_both_at_once_are_understood() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/y\n");
        let far = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[MEMINFO, own, far]), Some(1 << 20));
        // The path is the host's: what the container sees as the top is its own group.
        let top = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
        assert_eq!(machine(&[MEMINFO, own, top]), Some(4096));
        let both = ("sys/fs/cgroup/y/memory.max", "1000\n");
        assert_eq!(machine(&[MEMINFO, own, top, both]), Some(1000));
    }

    #[test]
    fn defaults_follow_the_machine() {
        assert!((MIN_MEMORY_LIMIT..=MAX_DEFAULT_LIMIT).contains(&default_memory_limit()));
        assert_eq!(default_piece_buffer(16 << 20), 8 << 20);
        assert_eq!(default_piece_buffer(256 << 20), 64 << 20);
        assert_eq!(file_windows(64 << 20, 16 << 20), 8 << 20);
        assert_eq!(file_windows(u64::MAX, 16 << 20), 64 << 20);
        assert_eq!(file_windows(u64::MAX, u64::MAX), MAX_FILE_WINDOWS);
    }

    #[test]
    fn a_path_that_climbs_stays_below_the_mount() {
        let own = ("proc/self/cgroup", "0::/../..\n");
        assert_eq!(machine(&[MEMINFO, own, ("sys/fs/cgroup/memory.max", "7\n")]), Some(7));
    }

    #[test]
    fn the_process_has_memory_of_its_own() {
        let (all, anonymous) = process_memory().unwrap();
        assert!(all >= anonymous && anonymous > 0);
    }
}
