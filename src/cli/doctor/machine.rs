//! What the machine gives: folders, databases, open files.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::{Resource, geteuid, getrlimit};

use super::super::error::CliError;
use super::super::output::{clean, size};
use super::Subject;
use super::report::{Check, Report};
use crate::daemon::databases;
use crate::storage::free_bytes;

/// With less than this in the data folder, the databases will soon not be written any more.
const LEAST_DATA: u64 = 64 << 20;
/// With less than this hardly any download will find its place.
const LEAST_DOWNLOADS: u64 = 1 << 30;
/// Files open beside connections: databases, logs, torrents that are being checked.
const OTHER_FILES: usize = 128;

pub(super) fn examine(subject: &Subject, report: &mut Report) -> Result<(), CliError> {
    let config = &subject.config;
    report.add(folder("data", &config.data_dir, LEAST_DATA, true))?;
    report.add(folder("downloads", &config.download_dir, LEAST_DOWNLOADS, false))?;
    for (database, path) in databases(&config.data_dir) {
        let what = database.what();
        let checked = match path.try_exists() {
            Ok(false) => continue,
            _ => database.examine(&path),
        };
        report.add(match checked {
            Ok(()) => Check::ok("database", format!("{what} is whole")),
            Err(error) => Check::failed("database", clean(&error.to_string()), ""),
        })?;
    }
    report.add(open_files(subject))
}

/// Is it there, or can it be made; can this user write into it; and is there room?
fn folder(name: &'static str, path: &Path, least: u64, private: bool) -> Check {
    let shown = clean(&path.display().to_string());
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(path);
    if let Err(error) = try_writing(there) {
        let user = geteuid().as_raw();
        let owner = fs::metadata(there).map_or(user, |meta| meta.uid());
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied if owner != user => {
                format!("it belongs to the user with the number {owner}: run this, and the daemon, as that one")
            }
            io::ErrorKind::NotADirectory => "a file is in its place: move it away, or set another folder".to_owned(),
            io::ErrorKind::StorageFull => "make room on that disk".to_owned(),
            _ => format!("make {} writable, or set another folder", clean(&there.display().to_string())),
        };
        return Check::failed(name, format!("{shown} cannot be written: {error}"), &remedy);
    }
    let free = rustix::fs::statvfs(there).ok().and_then(|disk| free_bytes(&disk));
    let room = free.map_or_else(|| "free space unknown".to_owned(), |free| format!("{} free", size(free)));
    if free.is_some_and(|free| free < least) {
        let remedy = "make room on that disk, or set another folder";
        let text = format!("{shown}: only {room}");
        return if private { Check::failed(name, text, remedy) } else { Check::warning(name, text, remedy) };
    }
    if there != path {
        return Check::ok(name, format!("{shown} will be made, {room}"));
    }
    let open = private && fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    if open {
        return Check::warning(name, format!("others can look into {shown}"), &format!("chmod 700 {shown}"));
    }
    Check::ok(name, format!("{shown} can be written, {room}"))
}

/// Makes a file there and removes it again: permissions tell only half of it.
fn try_writing(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".bitween-doctor-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(path)
}

/// May the process have as many files and connections open as the settings allow?
fn open_files(subject: &Subject) -> Check {
    let config = &subject.config;
    let needed = config.bittorrent.max_connections + config.api.max_connections + OTHER_FILES;
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    let limit = match &subject.daemon {
        Some(daemon) => limit_of(daemon.pid),
        None => Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)),
    };
    match limit {
        Some(limit) if limit < needed => Check::warning(
            "open files",
            format!("{limit} are allowed, {needed} may be needed"),
            "raise the limit (`ulimit -n`, LimitNOFILE= in the unit), or lower `max_connections`",
        ),
        Some(_) => Check::ok("open files", format!("as many as may be needed ({needed}) are allowed")),
        None => Check::unknown("open files", "the daemon's limit cannot be read".to_owned()),
    }
}

/// The limit of another process (proc(5)).
fn limit_of(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_processs_limit_is_found_in_both_places() {
        assert_eq!(limit_of(std::process::id()), Some(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)));
    }
}
