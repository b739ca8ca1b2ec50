//! How large a process is, in what may leak.

use std::fmt;
use std::fs;
use std::path::PathBuf;

/// Threads that come and go: a name that is looked up, a key that is made from a password.
const MORE_THREADS: usize = 1;

/// Sockets that come and go: a command's connection, one to the server, some to peers.
const MORE_SOCKETS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub threads: usize,
    pub sockets: usize,
    /// Other open files, but for those that are shared.
    pub files: usize,
    /// Memory that is no file's, in KiB.
    pub memory: u64,
}

impl Size {
    /// Of the process with this id. Files in the folders `content` do not count.
    pub fn of(id: u32, content: &[PathBuf]) -> Self {
        let process = PathBuf::from(format!("/proc/{id}"));
        let open: Vec<PathBuf> = fs::read_dir(process.join("fd"))
            .unwrap()
            // One that has been closed meanwhile is none.
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|target| !content.iter().any(|folder| target.starts_with(folder)))
            .collect();
        let sockets = open.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        let status = fs::read_to_string(process.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        Self {
            threads: fs::read_dir(process.join("task")).unwrap().count(),
            sockets,
            files: open.len() - sockets,
            memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }

    /// Whether it is as large as it was `before`, but for what comes and goes, and so many KiB of memory.
    pub const fn has_kept_to(&self, before: &Self, more_memory: u64) -> bool {
        self.threads <= before.threads + MORE_THREADS
            && self.sockets <= before.sockets + MORE_SOCKETS
            && self.files <= before.files
            && self.memory <= before.memory + more_memory
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads, {} sockets, {} other files, {} KiB", self.threads, self.sockets, self.files, self.memory)
    }
}
