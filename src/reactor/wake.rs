//! Waking the loop from other threads, with a system call only if it would not look by itself in time.
//!
//! Two words: a hook notes in `called` how urgent it is and looks how deep the loop sleeps; the loop notes in `sleep` how
//! deep it is about to sleep and looks whether it was called. Each writes its own before it reads the other's, so whoever
//! is second sees what the first has done, and no call is missed. A busy loop finds calls by itself, once a turn. One that
//! dozes does so, too, but only when the doze is over: that is soon enough for [`Call::Soon`].

use std::sync::atomic::{AtomicU8, Ordering};

use mio::Waker;

/// How urgent a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Call {
    /// It may wait for the end of a doze.
    Soon = 1,
    Now = 2,
}

/// How deep the loop sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Sleep {
    /// Not at all.
    Awake = 0,
    /// It waits for something that comes soon, and not for long in any case.
    Doze = 1,
    Deep = 2,
}

/// What the wake hooks and the loop know of each other.
#[derive(Debug, Default)]
struct Words {
    /// The most urgent [`Call`] that the handler has not been told of yet; 0: none.
    called: AtomicU8,
    /// What the loop does, or is about to: a [`Sleep`].
    sleep: AtomicU8,
}

impl Words {
    /// Notes a call. False if one as urgent is noted: whoever made that one looks at the loop's sleep, or has.
    fn note(&self, call: Call) -> bool {
        self.called.fetch_max(call as u8, Ordering::SeqCst) < call as u8
    }

    /// True if the loop's wait has to be ended for a call that was noted.
    fn must_end(&self, call: Call) -> bool {
        let sleep = self.sleep.load(Ordering::SeqCst);
        sleep == Sleep::Deep as u8 || sleep == Sleep::Doze as u8 && call == Call::Now
    }

    fn go_to(&self, sleep: Sleep) {
        self.sleep.store(sleep as u8, Ordering::SeqCst);
    }

    fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst) != 0
    }

    fn take_call(&self) -> bool {
        self.called.swap(0, Ordering::SeqCst) != 0
    }
}

/// Wakes the loop.
pub(super) struct Wake {
    waker: Waker,
    words: Words,
}

impl Wake {
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, words: Words::default() }
    }

    /// For other threads. Of several calls only the first of its kind may cost a system call.
    pub(super) fn call(&self, call: Call) {
        if self.words.note(call)
            && self.words.must_end(call)
            && let Err(error) = self.waker.wake()
        {
            log::error!("cannot wake the reactor: {error}");
        }
    }

    /// The loop is about to wait. False if it was called already: then it must not.
    pub(super) fn fall_asleep(&self, sleep: Sleep) -> bool {
        self.words.go_to(sleep);
        !self.words.is_called()
    }

    /// The wait is over.
    pub(super) fn awake(&self) {
        self.words.go_to(Sleep::Awake);
    }

    /// Whether it was called since this was asked last. To be asked before looking for what the caller wants: what comes
    /// meanwhile is a new call.
    pub(super) fn take_call(&self) -> bool {
        self.words.take_call()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the loop is within a turn.
    #[derive(Clone, Copy, Debug)]
    enum Loop {
        Before(Sleep),
        Asleep(Sleep),
        Waiting(Sleep),
        Awake,
        Looking,
    }

    /// How far somebody is who calls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Caller {
        Before,
        Queued,
        Noted,
        Done,
    }

    /// One moment of a history.
    #[derive(Clone, Copy, Debug)]
    struct Moment {
        called: u8,
        sleep: u8,
        /// The waker was written to, and the poll has not seen it yet.
        signal: bool,
        at: Loop,
        turns: usize,
        callers: [(Call, Caller); 2],
        /// What each of them has queued and nobody has taken.
        queue: [bool; 2],
    }

    const SLEEPS: [Sleep; 3] = [Sleep::Doze, Sleep::Deep, Sleep::Doze];

    impl Moment {
        fn words(&self) -> Words {
            Words { called: AtomicU8::new(self.called), sleep: AtomicU8::new(self.sleep) }
        }

        fn with(mut self, words: &Words) -> Self {
            (self.called, self.sleep) = (words.called.load(Ordering::SeqCst), words.sleep.load(Ordering::SeqCst));
            self
        }

        fn begin(turns: usize) -> Loop {
            Loop::Before(SLEEPS.get(turns).copied().unwrap_or(Sleep::Deep))
        }

        /// The loop's next step; `None`: it sleeps on.
        fn step_loop(mut self) -> Option<Self> {
            let words = self.words();
            self.at = match self.at {
                Loop::Before(sleep) => {
                    words.go_to(sleep);
                    Loop::Asleep(sleep)
                }
                Loop::Asleep(_) if words.is_called() => Loop::Awake,
                Loop::Asleep(sleep) => Loop::Waiting(sleep),
                // A doze ends by itself.
                Loop::Waiting(sleep) if self.signal || sleep == Sleep::Doze => {
                    self.signal = false;
                    Loop::Awake
                }
                Loop::Waiting(_) => return None,
                Loop::Awake => {
                    words.go_to(Sleep::Awake);
                    Loop::Looking
                }
                Loop::Looking => {
                    if words.take_call() {
                        self.queue = [false; 2];
                    }
                    self.turns += 1;
                    Self::begin(self.turns)
                }
            };
            Some(self.with(&words))
        }

        fn step_caller(mut self, nth: usize) -> Option<Self> {
            let words = self.words();
            let (call, at) = self.callers[nth];
            let next = match at {
                Caller::Before => {
                    self.queue[nth] = true;
                    Caller::Queued
                }
                Caller::Queued if words.note(call) => Caller::Noted,
                Caller::Noted => {
                    self.signal |= words.must_end(call);
                    Caller::Done
                }
                Caller::Queued => Caller::Done,
                Caller::Done => return None,
            };
            self.callers[nth].1 = next;
            Some(self.with(&words))
        }

        /// Once all calls are through, a loop that sleeps without a signal must have seen what was queued, but for what may
        /// wait for the end of a doze.
        fn check(&self) {
            let through = self.callers.iter().all(|(_, at)| *at == Caller::Done);
            if let (true, false, Loop::Waiting(sleep)) = (through, self.signal, self.at) {
                for ((call, _), queued) in self.callers.iter().zip(self.queue) {
                    assert!(!queued || sleep == Sleep::Doze && *call == Call::Soon, "{self:?}");
                }
            }
        }
    }

    #[test]
    fn no_call_is_missed_in_whatever_order_the_steps_happen() {
        let mut moments = 0;
        for calls in [[Call::Soon, Call::Soon], [Call::Soon, Call::Now], [Call::Now, Call::Now]] {
            let callers = calls.map(|call| (call, Caller::Before));
            let first = Moment {
                called: 0,
                sleep: 0,
                signal: false,
                at: Moment::begin(0),
                turns: 0,
                callers,
                queue: [false; 2],
            };
            let mut open = vec![first];
            while let Some(moment) = open.pop() {
                moment.check();
                moments += 1;
                open.extend([0, 1].into_iter().filter_map(|nth| moment.step_caller(nth)));
                open.extend(moment.step_loop().filter(|next| next.turns <= SLEEPS.len()));
            }
        }
        assert!(moments > 10_000, "{moments}");
    }

    #[test]
    fn only_what_is_urgent_ends_a_doze() {
        let words = Words::default();
        words.go_to(Sleep::Doze);
        assert!(words.note(Call::Soon) && !words.must_end(Call::Soon));
        assert!(!words.note(Call::Soon) && words.note(Call::Now) && words.must_end(Call::Now));
        assert!(!words.note(Call::Now) && words.take_call() && !words.take_call());
        words.go_to(Sleep::Deep);
        assert!(words.note(Call::Soon) && words.must_end(Call::Soon));
        words.go_to(Sleep::Awake);
        assert!(words.note(Call::Now) && !words.must_end(Call::Now));
    }
}
