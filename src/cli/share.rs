//! `bitween share`: shares files and folders, and prints their hashes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::hash_progress::HashProgress;
use super::interrupt::Interrupt;
use super::output::{clean, json as print_json, line, note, tell_left_out};
use crate::component::rpc::types::{Account, AccountState, ShareJob, ShareProgress, ShareStage, Skipped};

/// Longest time between two questions how far it is, and the first, which doubles.
const POLL: Duration = Duration::from_millis(100);
const FIRST_POLL: Duration = Duration::from_millis(2);
/// Shares that are being announced while the next one is made.
const MAX_ANNOUNCING: usize = 200;

const EXAMPLES: &str = "\
Examples:
  bitween share film.mkv
  bitween share ~/Holiday ~/Music

Each hash is printed as soon as the share is made and announced. The files stay where they are; leave them there.";

/// Share files and folders with your contacts
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
}

/// Shares the paths in their order; the first that fails ends it, after those before it are done.
///
/// # Errors
/// No daemon, or a path that cannot be shared.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.list.connect)?;
    let mut batch = Batch {
        client: &client,
        interrupt: Interrupt::listen()?,
        as_json: args.list.json,
        announcing: VecDeque::new(),
        shared: Vec::new(),
    };
    // The server takes announcements slowly, but many at once: the next path is hashed meanwhile.
    let made = args.paths.iter().try_for_each(|path| batch.make(path));
    let told = batch.tell_all(0);
    if args.list.json && (made.is_ok() || !batch.shared.is_empty()) {
        print_json(&batch.shared)?;
    }
    made.and(told)
}

/// Why contacts do not know of a share.
fn not_announced(account: &Account) -> &'static str {
    match account.state {
        AccountState::None => "nobody is told: there is no XMPP account; set one with `bitween account set JID`",
        AccountState::Online => "the server has not taken its announcement yet",
        _ => "contacts are told later: the XMPP account is not online (see `bitween account show`)",
    }
}

/// Several shares on their way, in the order of the command line.
struct Batch<'a> {
    client: &'a Client,
    interrupt: Interrupt,
    as_json: bool,
    /// Made, and being announced: path and job.
    announcing: VecDeque<(String, u64)>,
    /// Done, if they are to be printed together.
    shared: Vec<ShareProgress>,
}

impl Batch<'_> {
    /// Begins a share and waits until its torrent is made.
    fn make(&mut self, path: &Path) -> Result<(), CliError> {
        let shown = clean(&path.display().to_string());
        // The daemon's working folder is another one.
        let absolute = std::path::absolute(path).map_err(|e| CliError::failed(format_args!("{shown}: {e}")))?;
        let text = absolute.to_str().ok_or_else(|| {
            CliError::failed(format_args!(
                "{shown}: names that are not valid UTF-8 cannot be sent to the daemon; rename it"
            ))
        })?;
        self.tell_all(MAX_ANNOUNCING)?;
        let ShareJob { job } = self.client.call("bt.share", json!({"path": text}))?;
        let bar = HashProgress::new();
        let mut pause = FIRST_POLL;
        let outcome = loop {
            match self.progress(job) {
                Ok(progress) if progress.stage == ShareStage::Hashing => {
                    bar.update(progress.done, progress.total);
                    if let Err(interrupted) = self.sleep(pause) {
                        break Err(interrupted);
                    }
                    pause = POLL.min(pause * 2);
                }
                outcome => break outcome,
            }
        };
        bar.finish();
        let progress = outcome?;
        if progress.stage == ShareStage::Failed {
            let reason = progress.error.as_deref().unwrap_or("it failed");
            return Err(CliError::failed(format_args!("cannot share {shown}: {}", clean(reason))));
        }
        let Skipped { count, first } = progress.skipped;
        let paths =
            first.into_iter().map(|skipped| (absolute.join(skipped.path).display().to_string(), skipped.reason));
        tell_left_out(paths, usize::try_from(count).unwrap_or(usize::MAX));
        self.announcing.push_back((shown, job));
        self.tell_announced()
    }

    /// Tells of the first shares as far as they are announced.
    fn tell_announced(&mut self) -> Result<(), CliError> {
        while let Some((shown, job)) = self.announcing.front() {
            let progress = self.progress(*job)?;
            if progress.stage == ShareStage::Announcing {
                break;
            }
            if !progress.announced {
                let account: Account = self.client.call("xmpp.account", json!({}))?;
                note(&format!("{shown} is served, but {}", not_announced(&account)));
            }
            self.announcing.pop_front();
            if self.as_json {
                self.shared.push(progress);
            } else {
                line(&clean(progress.hash.as_deref().unwrap_or_default()))?;
            }
        }
        Ok(())
    }

    /// Waits until at most `rest` are left to be told of.
    fn tell_all(&mut self, rest: usize) -> Result<(), CliError> {
        let mut pause = FIRST_POLL;
        loop {
            self.tell_announced()?;
            if self.announcing.len() <= rest {
                return Ok(());
            }
            self.sleep(pause)?;
            pause = POLL.min(pause * 2);
        }
    }

    fn sleep(&self, time: Duration) -> Result<(), CliError> {
        if self.interrupt.sleep(time) {
            return Ok(());
        }
        Err(CliError::failed("interrupted; the daemon finishes what it has begun, see `bitween status`"))
    }

    fn progress(&self, job: u64) -> Result<ShareProgress, CliError> {
        self.client.call("bt.share_progress", json!({"job": job}))
    }
}
