//! A client's process: output into a file of its home folder, stopped by its id, gone when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::has_ended;
use crate::trouble::Trouble;

/// How much of a program's output is quoted when it fails.
const QUOTED: usize = 600;

/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running program. Once it has ended it stays a zombie until it is dropped, so that its CPU time can still be read.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
}

impl Process {
    /// Starts `command` with `home` as home and working folder; it prints into `home/output`.
    pub fn start(mut command: Command, home: &Path) -> Result<Self, Trouble> {
        fs::create_dir_all(home)?;
        let name = command.get_program().to_string_lossy().into_owned();
        let output = home.join("output");
        let file = File::create(&output)?;
        for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        command.env("HOME", home).current_dir(home);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| Trouble::failed(format!("{name} cannot be started: {error}")))?;
        Ok(Self { child, name, output })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended. Its CPU time can still be read.
    pub fn ended(&self) -> bool {
        has_ended(self.id())
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// What follows `part` in the first whole line that contains it. A program that ended without one has failed.
    pub fn line(&self, part: &str) -> Result<Option<String>, Trouble> {
        // Asked first: what it printed right before its end counts.
        let ended = self.ended();
        let output = self.output();
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        let found = whole.lines().find_map(|line| line.split_once(part)).map(|(_, rest)| rest.trim().to_owned());
        if found.is_none() && ended {
            return Err(self.trouble(&format!("ended before it printed {part:?}")));
        }
        Ok(found)
    }

    /// Fails if it has ended.
    pub fn must_run(&self) -> Result<(), Trouble> {
        if self.ended() { Err(self.trouble("ended too early")) } else { Ok(()) }
    }

    /// A failure with the end of what it printed.
    pub fn trouble(&self, what: &str) -> Trouble {
        let output = self.output().replace('\n', " | ");
        let from = (output.len().saturating_sub(QUOTED)..=output.len()).find(|at| output.is_char_boundary(*at));
        Trouble::failed(format!("{} {what}: {}", self.name, &output[from.unwrap_or(0)..]))
    }

    /// Sends a signal, e.g. `TERM`.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
    }

    /// Asks it to end, and waits. `None` if it had to be killed, otherwise whether it ended well.
    pub fn stop(&mut self) -> Option<bool> {
        if !self.ended() {
            self.signal("TERM");
        }
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status.success());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        None
    }

    /// Waits for its end; whether it ended well.
    pub fn succeeded(&mut self) -> Result<bool, Trouble> {
        Ok(self.child.wait()?.success())
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
