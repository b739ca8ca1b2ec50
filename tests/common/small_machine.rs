//! Small machines: a memory limit for a process (cgroup version 1 or 2) and a disk that writes only so much a second.
//!
//! Everything made here is taken away again when dropped. It needs root, cgroups and loop devices; without them the
//! errors say what is missing. Shared by `tests/` and `benches/peers`, so it fails by `Result`, not by panicking.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where cgroups are found.
const CGROUPS: &str = "/sys/fs/cgroup";

/// How long the processes of a group may take to be gone.
const EMPTY_LIMIT: Duration = Duration::from_secs(30);

/// Bytes that may wait to be written to a slow disk, where the system lets us say so: what a fifth of the memory of a small
/// machine comes to. On a large one the cache would hide for minutes how slow the disk is.
const DIRTY: u64 = 32 << 20;

/// A control group of our own.
#[derive(Debug)]
pub struct Group {
    /// Where its memory is limited and counted.
    memory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The version that has the memory controller here.
    fn here() -> io::Result<Self> {
        if Path::new(CGROUPS).join("memory/memory.limit_in_bytes").exists() {
            return Ok(Self::One);
        }
        let controllers = fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers")).unwrap_or_default();
        match controllers.split_whitespace().any(|name| name == "memory") {
            true => Ok(Self::Two),
            false => Err(io::Error::other("no cgroup here has a memory controller")),
        }
    }
}

impl Group {
    /// A group whose processes may use `memory` bytes together, the cache of what they read and write included.
    ///
    /// # Errors
    /// Without root, or without cgroups.
    pub fn new(memory: Option<u64>) -> io::Result<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bitween-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let version = Version::here()?;
        let root = Path::new(CGROUPS);
        let folder = match version {
            Version::One => root.join("memory").join(name),
            Version::Two => {
                // Where systemd runs they are passed on already.
                for controller in ["+memory", "+io"] {
                    let _ = fs::write(root.join("cgroup.subtree_control"), controller);
                }
                root.join(name)
            }
        };
        fs::create_dir(&folder)?;
        let group = Self { memory: folder, version };
        match (version, memory) {
            (Version::One, Some(limit)) => group.set("memory.limit_in_bytes", limit)?,
            (Version::Two, Some(limit)) => {
                group.set("memory.max", limit)?;
                let _ = group.set("memory.swap.max", 0);
            }
            (_, None) => {}
        }
        Ok(group)
    }

    /// Who writes its process id into this file is in the group.
    pub fn members(&self) -> PathBuf {
        self.memory.join("cgroup.procs")
    }

    /// Writes a program that starts `program` inside the group.
    pub fn entrance(&self, program: &Path, into: &Path) -> io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let script = into.join("inside");
        let (members, program) = (self.members(), program.display());
        let text = format!("#!/bin/sh\necho $$ > '{}' && exec '{program}' \"$@\"\n", members.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    /// Processes that the kernel killed for want of memory.
    pub fn killed(&self) -> io::Result<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.memory.join(file))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.ok_or_else(|| io::Error::other(format!("{file} does not count killed processes")))
    }

    /// The most memory it used, in bytes; 0 where the system does not say.
    pub fn peak(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        fs::read_to_string(self.memory.join(file)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn set(&self, file: &str, value: impl ToString) -> io::Result<()> {
        fs::write(self.memory.join(file), value.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group goes only when its last process has ended.
        let start = Instant::now();
        while fs::remove_dir(&self.memory).is_err() && start.elapsed() < EMPTY_LIMIT {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A file system of its own on a loop device that takes only so many bytes a second.
#[derive(Debug)]
pub struct SlowDisk {
    folder: tempfile::TempDir,
    /// Such as `7:0`.
    number: String,
    rate: u64,
    /// Where its speed is limited, while it is.
    limit: Option<(PathBuf, Version)>,
}

impl SlowDisk {
    /// A disk of `size` bytes that will write `rate` bytes a second once it is slowed down.
    ///
    /// # Errors
    /// Without root, loop devices or ext4.
    pub fn new(size: u64, rate: u64) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bitween-slow").tempdir_in("/var/tmp")?;
        let image = folder.path().join("image");
        fs::File::create(&image)?.set_len(size)?;
        let mut disk = Self { folder, number: String::new(), rate, limit: None };
        fs::create_dir(disk.dir())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0"]).arg(&image))?;
        // The device goes with the mount.
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.dir()))?;
        let device = run(Command::new("findmnt").args(["-n", "-o", "MAJ:MIN"]).arg(disk.dir()))?;
        device.trim().clone_into(&mut disk.number);
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// From now on it is slow, for the processes of this group at least.
    ///
    /// # Errors
    /// Without the blkio controller, or that of version 2.
    pub fn slow_down(&mut self, group: &Group) -> io::Result<()> {
        // Version 1 limits whoever hands the bytes to the device. For what was cached that is a thread of the kernel, which
        // belongs to the root. Version 2 knows whose bytes they are.
        let file = match group.version {
            Version::One => Path::new(CGROUPS).join("blkio/blkio.throttle.write_bps_device"),
            Version::Two => group.memory.join("io.max"),
        };
        // Since Linux 6.2; without them the whole memory is the cache.
        let _ = self.cache("strict_limit", 1);
        let _ = self.cache("max_bytes", DIRTY);
        let limit = match group.version {
            Version::One => self.rate.to_string(),
            Version::Two => format!("wbps={}", self.rate),
        };
        fs::write(&file, format!("{} {limit}", self.number))?;
        self.limit = Some((file, group.version));
        Ok(())
    }

    /// As fast as the disk below it.
    pub fn speed_up(&mut self) {
        if let Some((file, version)) = self.limit.take() {
            let limit = if version == Version::One { "0" } else { "wbps=max" };
            let _ = fs::write(file, format!("{} {limit}", self.number));
        }
        let _ = self.cache("max_ratio", 100);
        let _ = self.cache("strict_limit", 0);
    }

    fn cache(&self, file: &str, value: u64) -> io::Result<()> {
        fs::write(Path::new("/sys/class/bdi").join(&self.number).join(file), value.to_string())
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.speed_up();
        if run(Command::new("umount").arg(self.dir())).is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(self.dir()));
        }
    }
}

/// Runs a command that succeeds; what it printed.
fn run(command: &mut Command) -> io::Result<String> {
    // Where a user's PATH may not lead.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", command.get_program().to_string_lossy(), said.trim())))
}
