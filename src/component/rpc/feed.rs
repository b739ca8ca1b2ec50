//! What is told to those who follow an event stream: the last frames, each with its number.
//!
//! Pure. A stream is a number and nothing more, so it costs what it has not read yet and no memory here: it asks for the
//! frames after its number, and comes back with the number that it has come to. One that is away for a while goes on
//! where it was, or is told that it cannot, which is a [`Gap`]: then it has to ask for everything anew.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that are kept for those who were away.
const MAX_BYTES: usize = 4 << 20;
/// How long they are kept.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedTopic {
    /// The daemon as a whole.
    Status,
    /// Own torrents.
    Torrents,
    /// Contacts.
    Contacts,
    /// Contacts' shares.
    Shares,
    /// Own accounts.
    Accounts,
    /// This node in the local network.
    Local,
    /// Shares that are being made.
    Jobs,
    /// The log.
    Log,
    /// What was sent and received.
    Statistics,
    /// The settings.
    Settings,
}

impl FeedTopic {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::Torrents,
        Self::Contacts,
        Self::Shares,
        Self::Accounts,
        Self::Local,
        Self::Jobs,
        Self::Log,
        Self::Statistics,
        Self::Settings,
    ];

    /// The word for it, as streams and their readers spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Torrents => "torrents",
            Self::Contacts => "contacts",
            Self::Shares => "shares",
            Self::Accounts => "accounts",
            Self::Local => "local",
            Self::Jobs => "jobs",
            Self::Log => "log",
            Self::Statistics => "statistics",
            Self::Settings => "settings",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedTopics(u16);

impl FeedTopics {
    /// Is it one of them?
    #[must_use]
    pub const fn holds(self, topic: FeedTopic) -> bool {
        self.0 & topic.bit() != 0
    }

    /// One more.
    #[must_use]
    pub const fn with(self, topic: FeedTopic) -> Self {
        Self(self.0 | topic.bit())
    }
}

/// A word that is the name of no topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no topic of the event stream")]
pub struct UnknownTopic(String);

impl FromStr for FeedTopics {
    type Err = UnknownTopic;

    /// Names with commas between them.
    fn from_str(names: &str) -> Result<Self, UnknownTopic> {
        names.split(',').try_fold(Self::default(), |topics, name| {
            let topic = FeedTopic::ALL.into_iter().find(|topic| topic.as_str() == name);
            topic.map(|topic| topics.with(topic)).ok_or_else(|| UnknownTopic(name.chars().take(60).collect()))
        })
    }
}

/// Number of a frame: which process made it, and which of its frames it is, all topics counted. 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId {
    /// Told apart from the processes before it.
    pub epoch: u32,
    /// Frames of this process up to this one.
    pub seq: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.seq)
    }
}

/// A text that is no number of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no number of an event")]
pub struct BadFrameId;

impl FromStr for FrameId {
    type Err = BadFrameId;

    fn from_str(text: &str) -> Result<Self, BadFrameId> {
        let (epoch, seq) = text.split_once('-').ok_or(BadFrameId)?;
        if epoch.len() != 8 || !text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()) {
            return Err(BadFrameId);
        }
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| BadFrameId)?;
        Ok(Self { epoch, seq: seq.parse().map_err(|_| BadFrameId)? })
    }
}

/// The frames after this number are not known, or not any more: whoever asks has missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

/// One thing that was told.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its number.
    pub id: FrameId,
    /// What it is about.
    pub topic: FeedTopic,
    /// What is sent of it: one JSON text without line breaks.
    pub data: Arc<[u8]>,
    made: Instant,
}

/// The last frames, oldest first.
#[derive(Debug)]
pub struct Ring {
    newest: FrameId,
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Ring {
    /// An empty one. Another `epoch` for each process, by chance.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        Self { newest: FrameId { epoch, seq: 0 }, frames: VecDeque::new(), bytes: 0 }
    }

    /// Number of the newest frame: where whoever has just asked for everything goes on.
    #[must_use]
    pub fn newest(&self) -> FrameId {
        self.newest
    }

    /// Adds a frame and forgets those that are too many or too old. The newest one always stays.
    pub fn push(&mut self, now: Instant, topic: FeedTopic, data: Vec<u8>) -> FrameId {
        self.newest.seq += 1;
        self.bytes += data.len();
        self.frames.push_back(Frame { id: self.newest, topic, data: data.into(), made: now });
        while let Some(oldest) = self.frames.front()
            && self.frames.len() > 1
            && (self.bytes > MAX_BYTES || now.saturating_duration_since(oldest.made) > MAX_AGE)
        {
            self.bytes -= oldest.data.len();
            self.frames.pop_front();
        }
        self.newest
    }

    /// The frames of these topics after the one with this number, oldest first.
    ///
    /// # Errors
    /// [`Gap`]: some of them are forgotten, or it is no number of this process.
    pub fn after(&self, id: FrameId, topics: FeedTopics) -> Result<impl Iterator<Item = &Frame>, Gap> {
        let missed = self.newest.seq.checked_sub(id.seq).filter(|_| id.epoch == self.newest.epoch).ok_or(Gap)?;
        let missed = usize::try_from(missed).map_err(|_| Gap)?;
        let from = self.frames.len().checked_sub(missed).ok_or(Gap)?;
        Ok(self.frames.range(from..).filter(move |frame| topics.holds(frame.topic)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
    fn start() -> Instant {
        Instant::now()
    }

    fn all() -> FeedTopics {
        FeedTopic::ALL.into_iter().fold(FeedTopics::default(), FeedTopics::with)
    }

    fn seqs(ring: &Ring, id: FrameId, topics: FeedTopics) -> Result<Vec<u64>, Gap> {
        ring.after(id, topics).map(|frames| frames.map(|frame| frame.id.seq).collect())
    }

    #[test]
    fn numbers_and_topics_are_read_as_they_are_written() {
        let id = FrameId { epoch: 0x5f3a_9c01, seq: 48213 };
        assert_eq!(id.to_string(), "5f3a9c01-48213");
        assert_eq!("5f3a9c01-48213".parse(), Ok(id));
        for wrong in ["", "-", "5f3a9c01", "5f3a9c01-", "f3a9c01-1", "5f3a9c01-+1", "+f3a9c01-1", "5f3a9c01-1-1"] {
            assert_eq!(wrong.parse::<FrameId>(), Err(BadFrameId), "{wrong}");
        }
        assert_eq!(format!("00000000-{}", u128::MAX).parse::<FrameId>(), Err(BadFrameId));
        let names = FeedTopic::ALL.map(FeedTopic::as_str).join(",");
        assert_eq!(names.parse(), Ok(all()));
        let two: FeedTopics = "log,status".parse().unwrap();
        assert!(two.holds(FeedTopic::Log) && two.holds(FeedTopic::Status) && !two.holds(FeedTopic::Jobs));
        assert_eq!("log,,status".parse::<FeedTopics>(), Err(UnknownTopic(String::new())));
    }

    #[test]
    fn a_reader_gets_its_topics_once_and_goes_on_where_it_was() {
        let (now, mut ring) = (start(), Ring::new(7));
        let begin = ring.newest();
        ring.push(now, FeedTopic::Status, b"{}".to_vec());
        let second = ring.push(now, FeedTopic::Log, b"{}".to_vec());
        ring.push(now, FeedTopic::Status, b"{}".to_vec());
        assert_eq!(seqs(&ring, begin, all()), Ok(vec![1, 2, 3]));
        assert_eq!(seqs(&ring, begin, "status".parse().unwrap()), Ok(vec![1, 3]));
        assert_eq!(seqs(&ring, second, all()), Ok(vec![3]));
        assert_eq!(seqs(&ring, ring.newest(), all()), Ok(vec![]));
    }

    #[test]
    fn numbers_of_another_process_and_of_the_future_are_a_gap() {
        let mut ring = Ring::new(7);
        ring.push(start(), FeedTopic::Status, Vec::new());
        for id in [FrameId { epoch: 8, seq: 1 }, FrameId { epoch: 7, seq: 2 }, FrameId { epoch: 7, seq: u64::MAX }] {
            assert_eq!(seqs(&ring, id, all()), Err(Gap), "{id}");
        }
    }

    #[test]
    fn what_is_too_much_or_too_old_is_forgotten() {
        let (now, mut ring) = (start(), Ring::new(7));
        let begin = ring.newest();
        let first = ring.push(now, FeedTopic::Status, vec![0; MAX_BYTES]);
        assert_eq!(seqs(&ring, begin, all()), Ok(vec![1]), "one may be as large as it is");
        ring.push(now, FeedTopic::Status, vec![0; 1]);
        assert_eq!((seqs(&ring, begin, all()), seqs(&ring, first, all())), (Err(Gap), Ok(vec![2])));
        let later = now + MAX_AGE + Duration::from_secs(1);
        let third = ring.push(later, FeedTopic::Status, Vec::new());
        assert_eq!((seqs(&ring, first, all()), seqs(&ring, third, all())), (Err(Gap), Ok(vec![])));
        assert_eq!((ring.frames.len(), ring.bytes), (1, 0));
    }

    proptest! {
        /// A reader that looks in now and then sees every frame once and in order, up to the first gap.
        #[test]
        fn nothing_is_lost_or_repeated(
            steps in prop::collection::vec((0..60_u64, 0..300_000_usize, any::<bool>()), 1..100),
        ) {
            let (mut now, mut ring) = (start(), Ring::new(1));
            let mut at = ring.newest();
            let mut seen = 0;
            for (pause, len, looks) in steps {
                now += Duration::from_secs(pause);
                ring.push(now, FeedTopic::Torrents, vec![0; len]);
                prop_assert_eq!(ring.bytes, ring.frames.iter().map(|frame| frame.data.len()).sum::<usize>());
                if !looks {
                    continue;
                }
                match seqs(&ring, at, all()) {
                    Ok(new) => {
                        prop_assert!(new.iter().copied().eq(seen + 1..=ring.newest().seq));
                    }
                    Err(Gap) => prop_assert!(ring.frames[0].id.seq > seen + 1),
                }
                at = ring.newest();
                seen = at.seq;
            }
        }
    }
}
