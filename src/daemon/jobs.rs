//! Shares in the making: `bt.share` begins one and returns, `bt.share_progress` asks how far it is.
//!
//! A job has no thread: whoever asks moves it on. Hashing and starting happen on the library's threads, whose answers
//! wait here until somebody takes them. A job that is over is remembered for a few minutes.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bus::{Answer, Reply};
use crate::component::event::{self, Bus, Event, HashProgress};
use crate::component::rpc::types::{ShareProgress, ShareStage, Skipped, SkippedPath};
use crate::component::rpc::{ControlError, ErrorCode};
use crate::component::snapshot::{AccountState, Contacts};
use crate::types::{InfoHash, SortedMap};

use super::convert;

/// How long the outcome of a job can be asked for.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How long a share that is served waits for the server to have its announcement: servers take long lists slowly.
const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for a log-in.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);
/// Jobs at the same time, finished ones included.
const MAX_JOBS: usize = 1000;
/// Things left out of a share that are named; the others are counted.
const NAMED_SKIPPED: usize = 10;

type Outcome<T> = Answer<Result<T, event::ControlError>>;

/// All jobs.
#[derive(Default)]
pub(super) struct Jobs {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    jobs: SortedMap<u64, Job>,
}

struct Job {
    path: PathBuf,
    progress: Arc<HashProgress>,
    state: State,
}

enum State {
    /// Being hashed, added and started.
    Making(Outcome<InfoHash>),
    /// Started; the list of torrents is being written.
    Listing(InfoHash, Outcome<()>),
    /// Served; the contacts are being told since this time.
    Announcing(InfoHash, Instant),
    Done {
        hash: InfoHash,
        announced: bool,
        at: Instant,
    },
    Failed {
        error: String,
        at: Instant,
    },
}

impl Jobs {
    /// Begins to share `path`. A path that is being hashed already keeps its job.
    pub(super) fn begin(&self, now: Instant, path: &Path, bus: &Bus) -> Result<u64, ControlError> {
        let mut table = self.lock();
        table.jobs.retain(|_, job| !job.is_forgotten(now));
        for job in table.jobs.values_mut() {
            job.take_answers(now, bus);
        }
        if let Some((id, _)) = table.jobs.iter().find(|(_, job)| job.is_under_way() && job.path == path) {
            return Ok(*id);
        }
        if table.jobs.len() >= MAX_JOBS {
            // The oldest outcome makes room.
            let over = table.jobs.iter().find(|(_, job)| job.is_over()).map(|(id, _)| *id);
            over.map(|id| table.jobs.remove(&id));
        }
        if table.jobs.len() >= MAX_JOBS {
            return Err(ControlError::new(ErrorCode::Busy, "too many shares are being made at once; try again"));
        }
        let progress = Arc::new(HashProgress::default());
        let (reply, answer) = Reply::channel();
        let event = Event::GenerateTorrent { path: path.to_path_buf(), progress: Arc::clone(&progress), reply };
        if bus.publish(event).is_err() {
            return Err(ControlError::new(ErrorCode::Busy, "the list of torrents is too busy; try again"));
        }
        table.last += 1;
        let id = table.last;
        table.jobs.insert(id, Job { path: path.to_path_buf(), progress, state: State::Making(answer) });
        Ok(id)
    }

    /// How far a job is.
    pub(super) fn progress(
        &self,
        now: Instant,
        id: u64,
        bus: &Bus,
        contacts: &Contacts,
    ) -> Result<ShareProgress, ControlError> {
        let mut table = self.lock();
        table.jobs.retain(|_, job| !job.is_forgotten(now));
        let unknown = || ControlError::new(ErrorCode::UnknownJob, format!("there is no job {id}, or it is long over"));
        let job = table.jobs.get_mut(&id).ok_or_else(unknown)?;
        job.take_answers(now, bus);
        job.look_at_contacts(now, contacts);
        Ok(job.report(id))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic in between leaves whole jobs behind.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// Goes on as far as the answers that have come allow. Never waits.
    fn take_answers(&mut self, now: Instant, bus: &Bus) {
        let failed = |error: &dyn std::fmt::Display| State::Failed { error: error.to_string(), at: now };
        if let State::Making(answer) = &self.state {
            self.state = match answer.try_take() {
                Ok(None) => return,
                Ok(Some(Ok(hash))) => {
                    let (reply, answer) = Reply::channel();
                    // Without a listener the reply is gone at once, which is noticed below.
                    let _ = bus.publish(Event::SyncLibrary { reply });
                    State::Listing(hash, answer)
                }
                Ok(Some(Err(error))) => failed(&error),
                Err(_) => failed(&"it was given up because bitween stops, or because of a fault that its log names"),
            };
        }
        if let State::Listing(hash, answer) = &self.state {
            self.state = match answer.try_take() {
                Ok(None) => return,
                Ok(Some(Err(error))) => failed(&error),
                // Nobody to ask: the list is written as soon as its thread is there again.
                Ok(Some(Ok(()))) | Err(_) => State::Announcing(*hash, now),
            };
        }
    }

    fn look_at_contacts(&mut self, now: Instant, contacts: &Contacts) {
        let State::Announcing(hash, since) = self.state else { return };
        let announced = contacts.announced.contains(&hash);
        // One account that is online is enough to wait for; others announce it when they are.
        let any = |state| contacts.accounts.iter().any(|account| account.state == state);
        let patience = match () {
            () if any(AccountState::Online) => ANNOUNCE_PATIENCE,
            () if any(AccountState::Connecting) => LOGIN_PATIENCE,
            // Neighbours are told in a moment.
            () if contacts.accounts.is_empty() && contacts.local.is_some() => ANNOUNCE_PATIENCE,
            () => Duration::ZERO,
        };
        if announced || now.saturating_duration_since(since) >= patience {
            self.state = State::Done { hash, announced, at: now };
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(self.state, State::Making(_))
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Done { .. } | State::Failed { .. })
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        match self.state {
            State::Done { at, .. } | State::Failed { at, .. } | State::Announcing(_, at) => {
                now.saturating_duration_since(at) > REMEMBERED
            }
            State::Making(_) | State::Listing(..) => false,
        }
    }

    fn report(&self, id: u64) -> ShareProgress {
        let (stage, hash, announced, error) = match &self.state {
            State::Making(_) => (ShareStage::Hashing, None, false, None),
            State::Listing(hash, _) | State::Announcing(hash, _) => (ShareStage::Announcing, Some(hash), false, None),
            State::Done { hash, announced, .. } => (ShareStage::Done, Some(hash), *announced, None),
            State::Failed { error, .. } => (ShareStage::Failed, None, false, Some(error.clone())),
        };
        ShareProgress {
            job: id,
            path: self.path.display().to_string(),
            stage,
            done: self.progress.done.load(Ordering::Relaxed),
            total: self.progress.total.load(Ordering::Relaxed),
            hash: hash.map(ToString::to_string),
            announced,
            error,
            skipped: self.skipped(),
        }
    }

    fn skipped(&self) -> Skipped {
        let all = self.progress.skipped.get().map_or(&[][..], Vec::as_slice);
        let first = all.iter().take(NAMED_SKIPPED).map(|skipped| SkippedPath {
            path: skipped.path.strip_prefix(&self.path).unwrap_or(&skipped.path).display().to_string(),
            reason: skipped.reason.to_string(),
        });
        Skipped { count: convert::count(all.len()), first: first.collect() }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::bus::Subscriber;
    use crate::component::event::Topic;
    use crate::component::snapshot::AccountStatus;
    use crate::storage::create as storage;
    use crate::types::AccountKey;

    struct Fixture {
        bus: Bus,
        library: Subscriber<Event>,
        jobs: Jobs,
        start: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let bus = Bus::new();
            let library = bus.subscribe("library", &[Topic::GenerateTorrent, Topic::SyncLibrary], 10);
            Self { bus, library, jobs: Jobs::default(), start: Instant::now() }
        }

        fn begin(&self, path: &str) -> u64 {
            self.jobs.begin(self.start, Path::new(path), &self.bus).unwrap()
        }

        fn stage(&self, id: u64, seconds: u64, contacts: &Contacts) -> ShareProgress {
            self.jobs.progress(self.start + Duration::from_secs(seconds), id, &self.bus, contacts).unwrap()
        }

        /// The library thread's part.
        fn answer(&self, outcome: Result<InfoHash, event::ControlError>) {
            let Some(Event::GenerateTorrent { reply, progress, .. }) = self.library.try_recv() else { panic!() };
            progress.done.store(7, Ordering::Relaxed);
            assert!(reply.send(outcome));
        }

        fn sync(&self) {
            let Some(Event::SyncLibrary { reply }) = self.library.try_recv() else { panic!("not synced") };
            assert!(reply.send(Ok(())));
        }
    }

    fn hash() -> InfoHash {
        InfoHash::new([7; InfoHash::LEN])
    }

    fn online() -> Contacts {
        with_account(AccountState::Online)
    }

    fn with_account(state: AccountState) -> Contacts {
        let account = AccountStatus { key: AccountKey::FIRST, jid: "a@b/r".into(), state, problem: None };
        Contacts { accounts: vec![account], ..Contacts::default() }
    }

    #[test]
    fn a_job_is_done_when_it_is_hashed_listed_and_announced() {
        let fixture = Fixture::new();
        let mut contacts = online();
        let id = fixture.begin("/x");
        assert_eq!(fixture.stage(id, 0, &contacts).stage, ShareStage::Hashing);
        fixture.answer(Ok(hash()));
        let listing = fixture.stage(id, 1, &contacts);
        assert_eq!((listing.stage, listing.done, listing.hash), (ShareStage::Announcing, 7, Some(hash().to_string())));
        fixture.sync();
        assert_eq!(fixture.stage(id, 2, &contacts).stage, ShareStage::Announcing);
        contacts.announced = Arc::new([hash()].into());
        let done = fixture.stage(id, 3, &contacts);
        assert_eq!((done.stage, done.announced), (ShareStage::Done, true));
    }

    #[test]
    fn what_is_left_out_is_counted_and_named() {
        let fixture = Fixture::new();
        let id = fixture.begin("/x");
        let Some(Event::GenerateTorrent { progress, .. }) = fixture.library.try_recv() else { panic!() };
        let pipe = |n| storage::Skipped { path: format!("/x/pipe{n}").into(), reason: storage::SkipReason::Special };
        progress.skipped.set((0..12).map(pipe).collect()).unwrap();
        let skipped = fixture.stage(id, 0, &online()).skipped;
        assert_eq!((skipped.count, skipped.first.len(), skipped.first[0].path.as_str()), (12, 10, "pipe0"));
        assert_eq!(skipped.first[0].reason, "neither a file nor a folder");
    }

    #[test]
    fn an_account_that_is_slow_or_absent_is_not_waited_for_long() {
        let connecting = with_account(AccountState::Connecting);
        for (contacts, seconds) in [(online(), 31), (connecting, 6), (Contacts::default(), 1)] {
            let fixture = Fixture::new();
            let id = fixture.begin("/x");
            fixture.answer(Ok(hash()));
            fixture.stage(id, 1, &contacts);
            fixture.sync();
            fixture.stage(id, 1, &contacts);
            let done = fixture.stage(id, seconds, &contacts);
            assert_eq!((done.stage, done.announced), (ShareStage::Done, false));
        }
    }

    #[test]
    fn failures_are_told_in_words_and_forgotten_later() {
        let fixture = Fixture::new();
        let id = fixture.begin("/x");
        fixture.answer(Err(event::ControlError::Refused("no".into())));
        let failed = fixture.stage(id, 0, &Contacts::default());
        assert_eq!((failed.stage, failed.error.as_deref()), (ShareStage::Failed, Some("no")));
        let late = fixture.start + REMEMBERED + Duration::from_secs(1);
        let error = fixture.jobs.progress(late, id, &fixture.bus, &Contacts::default()).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownJob);
    }

    #[test]
    fn a_path_that_is_being_hashed_keeps_its_job() {
        let fixture = Fixture::new();
        let first = fixture.begin("/x");
        assert_eq!(fixture.begin("/x"), first);
        assert_ne!(fixture.begin("/y"), first);
        fixture.answer(Ok(hash()));
        assert_ne!(fixture.begin("/x"), first, "it was over");
    }

    #[test]
    fn a_library_that_dies_fails_the_job() {
        let Fixture { bus, library, jobs, start } = Fixture::new();
        let id = jobs.begin(start, Path::new("/x"), &bus).unwrap();
        drop(library);
        assert_eq!(jobs.progress(start, id, &bus, &Contacts::default()).unwrap().stage, ShareStage::Failed);
        assert_eq!(jobs.begin(start, Path::new("/z"), &bus).unwrap_err().code, ErrorCode::Busy);
    }
}
