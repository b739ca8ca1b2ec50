//! Where and when something was measured, and what.

use std::fs;
use std::process::Command;

/// Processor, cores, memory, kernel and congestion control, which paces senders on the loopback interface, too.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let sha = if after(&cpu, "flags").contains("sha_ni") { "with" } else { "without" };
    let kib: u64 = after(&memory, "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!(
        "{}, {} cores, {sha} SHA instructions, {} GiB of memory, Linux {}, TCP with {}",
        after(&cpu, "model name"),
        cpu.lines().filter(|line| line.starts_with("processor")).count(),
        kib.div_ceil(1 << 20),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    )
}

/// How many cores there are.
pub fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}

/// When a row was measured, with which commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Year, month and day, in UTC.
    pub date: String,
    /// As `git describe` has it.
    pub commit: String,
}

impl Origin {
    /// Today and here.
    pub fn now() -> Self {
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
        };
        // The page itself is being written: it does not make the commit another one.
        let commit = said("git", &["describe", "--always"]);
        let changed = !said("git", &["status", "--porcelain", "--", "src", "Cargo.toml", "benches"]).is_empty();
        let commit = if changed { format!("{commit} with changes") } else { commit };
        Self { date: said("date", &["-u", "+%F"]), commit }
    }
}
