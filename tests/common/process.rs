//! A program that runs for a test: output into files, stopped by its process id, log shown when the test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::wait_for;

/// How much of a log is printed when a test fails.
const SHOWN_LOG: usize = 12_000;

/// A running (or finished) program.
pub struct Program {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Program {
    /// Starts `command`; what it prints goes to `NAME.out` and `NAME.err` in `folder`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed on standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it has printed on standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// The end of everything it has printed.
    pub fn log(&self) -> String {
        let all = format!("{}{}", self.stdout(), self.stderr());
        let cut = all.len().saturating_sub(SHOWN_LOG);
        let cut = (cut..all.len()).find(|at| all.is_char_boundary(*at)).unwrap_or(0);
        all[cut..].to_owned()
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has printed a line that contains `part`, and answers with what follows `part` in that line.
    ///
    /// # Panics
    /// If it ends before, or takes longer than `limit`.
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> String {
        let what = format!("{} to print {part:?}", self.name);
        wait_for(&what, limit, || {
            // Asked first: what it printed right before its end counts.
            let ended = self.ended();
            let (out, err) = (self.stdout(), self.stderr());
            // A line that has not ended yet may still grow.
            let line = |text: &str| {
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                whole.lines().find_map(|line| line.split_once(part)).map(|(_, rest)| rest.trim_end().to_owned())
            };
            let found = line(&out).or_else(|| line(&err));
            assert!(found.is_some() || ended.is_none(), "{} ended ({ended:?}) before it printed {part:?}", self.name);
            found
        })
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it takes longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, limit, || self.ended())
    }

    /// Sends a signal, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(status.success(), "{} cannot be sent {name}", self.name);
    }

    /// Asks it to end (SIGTERM) and waits; kills it when that takes longer than `limit`. `None` means it was killed.
    pub fn stop(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.ended().is_none() {
            self.signal("TERM");
        }
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    /// Ends it without a word, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- output of {} ---\n{}\n--- end of the output of {} ---", self.name, self.log(), self.name);
        }
    }
}
