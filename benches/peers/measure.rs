//! What a process costs, read from `/proc`: CPU time, anonymous memory, the busiest thread.
//!
//! Children count too. Memory is `RssAnon`: what a mapped file or shared memory holds in addition is the system's to take
//! back, and clients differ only in whether it is called theirs.

pub mod api;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Clock ticks a second in `/proc/PID/stat`: 100 on Linux, whatever the kernel's own clock.
const TICKS: f64 = 100.0;

/// Whether a process has ended (it may not have been waited for).
pub fn has_ended(pid: u32) -> bool {
    stat_fields(pid).is_none_or(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

/// CPU seconds of a process and its children, those that have ended included.
pub fn cpu_seconds(pid: u32) -> f64 {
    // utime, stime, cutime, cstime
    family_ticks(pid, &[11, 12, 13, 14])
}

/// The part of [`cpu_seconds`] that the kernel spent for it: copying to and from sockets, pages, waking.
fn kernel_seconds(pid: u32) -> f64 {
    family_ticks(pid, &[12, 14])
}

fn family_ticks(pid: u32, which: &[usize]) -> f64 {
    let ticks = |pid| {
        let fields = stat_fields(pid).unwrap_or_default();
        which.iter().filter_map(|nth| fields.get(*nth)?.parse::<f64>().ok()).sum::<f64>()
    };
    family(pid).into_iter().map(ticks).sum::<f64>() / TICKS
}

/// CPU seconds of this process alone.
pub fn own_cpu_seconds() -> f64 {
    let fields = stat_fields(std::process::id()).unwrap_or_default();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// CPU seconds of a process and its children to the nanosecond, as long as none of their threads ends.
pub fn fine_cpu_seconds(pid: u32) -> f64 {
    family(pid).into_iter().map(|pid| cpu_threads(pid).values().sum::<f64>()).sum()
}

/// Anonymous memory of a process and its children, in bytes.
pub fn anonymous_bytes(pid: u32) -> u64 {
    family(pid).into_iter().map(|pid| status_bytes(pid, "RssAnon:")).sum()
}

/// Fields of `/proc/PID/stat` from the state on.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn status_bytes(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A process and all processes below it.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    found
}

/// CPU seconds of each living thread.
fn cpu_threads(pid: u32) -> HashMap<u32, f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let seconds = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, nanoseconds / 1e9))
    };
    threads.filter_map(seconds).collect()
}

/// Watches a process for a while.
pub struct Watch {
    pid: u32,
    start: Instant,
    cpu: f64,
    kernel: f64,
    own_cpu: f64,
    threads: HashMap<u32, f64>,
    own_threads: HashMap<u32, f64>,
    peak: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    poller: Option<JoinHandle<HashMap<u32, f64>>>,
}

/// What it cost in that time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Wall time.
    pub seconds: f64,
    /// CPU seconds of the process.
    pub cpu: f64,
    /// The kernel's part of them, from 0 to 1.
    pub kernel: f64,
    /// CPU seconds of this program, which plays the other side.
    pub own_cpu: f64,
    /// Peak of its anonymous memory in bytes.
    pub peak: f64,
    /// Share of the wall time that its busiest thread was running, 1 for all of it.
    pub busiest: f64,
    /// The same of this program's threads: near 1 it is the load tool that was measured.
    pub own_busiest: f64,
}

impl Watch {
    /// Starts watching a process that was started for what it does: all its CPU time counts but `cpu_before`.
    pub fn from_start(pid: u32, cpu_before: f64) -> Self {
        let mut watch = Self::start(pid);
        watch.cpu = cpu_before;
        if cpu_before == 0.0 {
            watch.kernel = 0.0;
        }
        watch
    }

    /// Starts watching.
    pub fn start(pid: u32) -> Self {
        let (peak, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stop) = (Arc::clone(&peak), Arc::clone(&done));
        let poller = thread::spawn(move || {
            let mut threads = HashMap::new();
            loop {
                // The last look comes after the work is done, but a process may end with its work.
                let last = stop.load(Ordering::Relaxed);
                seen.fetch_max(anonymous_bytes(pid), Ordering::Relaxed);
                threads.extend(cpu_threads(pid));
                if last {
                    break;
                }
                thread::sleep(POLL);
            }
            threads
        });
        let own_threads = cpu_threads(std::process::id());
        let (cpu, kernel, own_cpu, threads) =
            (cpu_seconds(pid), kernel_seconds(pid), own_cpu_seconds(), cpu_threads(pid));
        let start = Instant::now();
        Self { pid, start, cpu, kernel, own_cpu, threads, own_threads, peak, done, poller: Some(poller) }
    }

    /// Ends the watch.
    pub fn stop(mut self) -> Cost {
        let seconds = self.start.elapsed().as_secs_f64();
        let cpu = cpu_seconds(self.pid) - self.cpu;
        let own_cpu = own_cpu_seconds() - self.own_cpu;
        let kernel = (kernel_seconds(self.pid) - self.kernel) / cpu.max(1.0 / TICKS);
        let own_busiest = busiest(&self.own_threads, &cpu_threads(std::process::id())) / seconds;
        let threads = self.join();
        Cost {
            seconds,
            cpu,
            kernel: kernel.clamp(0.0, 1.0),
            own_cpu: own_cpu.max(0.0),
            peak: self.peak.load(Ordering::Relaxed) as f64,
            busiest: busiest(&self.threads, &threads) / seconds,
            own_busiest,
        }
    }

    fn join(&mut self) -> HashMap<u32, f64> {
        self.done.store(true, Ordering::Relaxed);
        self.poller.take().and_then(|poller| poller.join().ok()).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.join();
    }
}

/// CPU seconds of the thread that used most between two looks.
fn busiest(before: &HashMap<u32, f64>, after: &HashMap<u32, f64>) -> f64 {
    let spent = |(thread, now): (&u32, &f64)| now - before.get(thread).unwrap_or(&0.0);
    after.iter().map(spent).fold(0.0, f64::max)
}
