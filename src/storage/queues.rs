//! What waits for the disk threads of a device, in which order it is taken, and who is woken for it.
//!
//! Four queues keep what waits for a disk from holding up what waits for memory. *Urgent*: windows, served by every
//! thread first. *Verify*: pieces to hash, two at a time where the processor can, and to write; they wait while a disk does
//! not keep up. *Slow*: opens, commits, closes, syncs and slices of reservations; with two or more threads one of them
//! never takes these. *Check*: slices of running checks, which every
//! thread takes when nothing else is there, and puts back. The queues have no bound of their own: what the reactor may
//! have under way is bounded by its piece buffer, and the handle must never make it wait.
//!
//! All of it is under one lock, held for a few instructions. A thread looks, finds nothing and joins the sleepers without
//! letting go of it; whoever brings work takes a thread from the sleepers under it, and wakes that one afterwards, so that
//! it need not wait for the lock first. If nobody sleeps nobody is woken: every thread looks again before it sleeps.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::sha1_pair::has_two_lanes;
use super::task::{Task, Verify};

/// How long a thread that has pieces to hash, and must not write, leaves it at that before it looks again.
const HOLD: Duration = Duration::from_millis(5);

/// When a task is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Before everything else.
    Urgent,
    /// After the pieces, and not by every thread.
    Slow,
    /// When nothing else is there.
    Check,
}

/// What waits for the disk threads of a device.
pub(super) struct Queues<T = Task, V = Verify> {
    /// Pieces that a thread hashes at once.
    lanes: usize,
    state: Mutex<State<T, V>>,
}

struct State<T, V> {
    urgent: VecDeque<T>,
    pieces: VecDeque<V>,
    slow: VecDeque<T>,
    checks: VecDeque<T>,
    /// Threads that are at the pieces, or were called to them; and calls that no thread has heard yet.
    verifying: usize,
    calls: usize,
    asleep: Vec<Sleeper>,
    /// Threads that there are.
    threads: usize,
    /// Nothing more will come.
    ended: bool,
}

struct Sleeper {
    thread: Thread,
    takes_slow: bool,
    /// It is at the pieces already, and waits for the disk.
    verifying: bool,
}

/// What the queues know about the thread that looks.
pub(super) struct Seat {
    takes_slow: bool,
    /// It was called to the pieces, and goes on until none waits.
    verifying: bool,
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T = Task, V = Verify> {
    Task(T),
    Verify(V, Option<V>),
    Stop,
}

impl Seat {
    /// The seat of one of several threads: the first is kept free for what is urgent.
    pub(super) const fn new(nth: usize, threads: usize) -> Self {
        Self { takes_slow: nth > 0 || threads == 1, verifying: false }
    }
}

impl<T, V> Queues<T, V> {
    /// Empty ones, for so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self::in_lanes(if has_two_lanes() { 2 } else { 1 }, threads)
    }

    fn in_lanes(lanes: usize, threads: usize) -> Self {
        let state = State {
            urgent: VecDeque::new(),
            pieces: VecDeque::new(),
            slow: VecDeque::new(),
            checks: VecDeque::new(),
            verifying: 0,
            calls: 0,
            asleep: Vec::new(),
            threads,
            ended: false,
        };
        Self { lanes, state: Mutex::new(state) }
    }

    /// Queues a task. The task comes back if there is no thread any more.
    pub(super) fn push(&self, rank: Rank, task: T) -> Result<(), T> {
        let mut state = self.state();
        if state.threads == 0 {
            return Err(task);
        }
        match rank {
            Rank::Urgent => state.urgent.push_back(task),
            Rank::Slow => state.slow.push_back(task),
            Rank::Check => state.checks.push_back(task),
        }
        let sleeper = state.sleeper(|sleeper| rank != Rank::Slow || sleeper.takes_slow);
        drop(state);
        wake(sleeper);
        Ok(())
    }

    /// Queues a piece. Two at once take little longer than one, so a thread that is at it takes what came meanwhile, and
    /// another one is called only if two wait: it would take the one away, and both were half as fast.
    pub(super) fn push_piece(&self, piece: V) -> Result<(), V> {
        let mut state = self.state();
        if state.threads == 0 {
            return Err(piece);
        }
        state.pieces.push_back(piece);
        let call = state.verifying == 0 || state.verifying < state.threads && state.pieces.len() >= self.lanes;
        if !call {
            return Ok(());
        }
        state.verifying += 1;
        state.calls += 1;
        // Not one that is at them already: the call would stay with it, unheard.
        let sleeper = state.sleeper(|sleeper| !sleeper.verifying);
        drop(state);
        wake(sleeper);
        Ok(())
    }

    /// What a thread does next; it sleeps until there is something. While `is_full` says so, it takes no piece.
    pub(super) fn next(&self, seat: &mut Seat, is_full: impl Fn() -> bool) -> Next<T, V> {
        let mut state = self.state();
        loop {
            if let Some(next) = state.take(seat, self.lanes, &is_full) {
                return next;
            }
            let thread = thread::current();
            let id = thread.id();
            state.asleep.push(Sleeper { thread, takes_slow: seat.takes_slow, verifying: seat.verifying });
            drop(state);
            if seat.verifying {
                thread::park_timeout(HOLD)
            } else {
                thread::park()
            }
            state = self.state();
            // Nobody need have woken it.
            state.asleep.retain(|sleeper| sleeper.thread.id() != id);
        }
    }

    /// Urgent tasks that wait.
    pub(super) fn urgent(&self) -> usize {
        self.state().urgent.len()
    }

    /// Ends the threads once all that waits is done.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        wake(asleep);
    }

    fn state(&self) -> MutexGuard<'_, State<T, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, V> State<T, V> {
    /// What the thread in this seat does next, if there is anything for it.
    fn take(&mut self, seat: &mut Seat, lanes: usize, is_full: impl Fn() -> bool) -> Option<Next<T, V>> {
        if let Some(task) = self.urgent.pop_front() {
            return Some(Next::Task(task));
        }
        if !seat.verifying && self.calls > 0 {
            self.calls -= 1;
            seat.verifying = true;
        }
        // It stays called until it gets to it.
        if seat.verifying && (self.ended || !is_full()) {
            if let Some(first) = self.pieces.pop_front() {
                let second = if lanes > 1 { self.pieces.pop_front() } else { None };
                return Some(Next::Verify(first, second));
            }
            // Whoever was called meanwhile and has not come yet is needed no more either, and the next piece calls anew.
            self.verifying -= 1 + std::mem::take(&mut self.calls);
            seat.verifying = false;
        }
        // At the end nothing urgent will come, and the others may be gone.
        let slow = if seat.takes_slow || self.ended { self.slow.pop_front() } else { None };
        if let Some(task) = slow.or_else(|| self.checks.pop_front()) {
            return Some(Next::Task(task));
        }
        self.ended.then(|| {
            self.threads -= 1;
            Next::Stop
        })
    }

    /// The thread to be woken, if one sleeps that fits. It is no sleeper any more.
    fn sleeper(&mut self, fits: impl Fn(&Sleeper) -> bool) -> Option<Sleeper> {
        let fitting = self.asleep.iter().enumerate().filter(|(_, sleeper)| fits(sleeper));
        // The one that never takes slow tasks if it will do, so that the others are there for these.
        let (nth, _) = fitting.min_by_key(|(_, sleeper)| sleeper.takes_slow)?;
        Some(self.asleep.swap_remove(nth))
    }
}

fn wake(sleepers: impl IntoIterator<Item = Sleeper>) {
    sleepers.into_iter().for_each(|sleeper| sleeper.thread.unpark());
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc;

    use super::*;

    /// Queues of two threads, and a seat of each.
    fn queues() -> (Queues<u32, u32>, [Seat; 2]) {
        (Queues::in_lanes(2, 2), [0, 1].map(|nth| Seat::new(nth, 2)))
    }

    /// What a thread finds without sleeping.
    fn found(queues: &Queues<u32, u32>, seat: &mut Seat, full: bool) -> Option<Next<u32, u32>> {
        queues.state().take(seat, queues.lanes, || full)
    }

    /// Takes this thread for one that sleeps.
    fn asleep(queues: &Queues<u32, u32>, takes_slow: bool, verifying: bool) {
        queues.state().asleep.push(Sleeper { thread: thread::current(), takes_slow, verifying });
    }

    const fn task(number: u32) -> Option<Next<u32, u32>> {
        Some(Next::Task(number))
    }

    const fn pieces(first: u32, second: Option<u32>) -> Option<Next<u32, u32>> {
        Some(Next::Verify(first, second))
    }

    #[test]
    fn what_is_urgent_comes_first_and_checks_last() {
        let (queues, [mut free, mut any]) = queues();
        for (rank, number) in [(Rank::Check, 5), (Rank::Slow, 4), (Rank::Urgent, 1), (Rank::Urgent, 2)] {
            queues.push(rank, number).unwrap();
        }
        queues.push_piece(3).unwrap();
        assert_eq!(queues.urgent(), 2);
        for next in [task(1), task(2), pieces(3, None), task(4), task(5), None] {
            assert_eq!(found(&queues, &mut any, false), next);
        }
        queues.push(Rank::Slow, 6).unwrap();
        queues.push(Rank::Check, 7).unwrap();
        assert_eq!(found(&queues, &mut free, false), task(7), "one thread does nothing slow");
        assert_eq!((found(&queues, &mut free, false), found(&queues, &mut any, false)), (None, task(6)));
        assert!(Seat::new(0, 1).takes_slow, "a thread that is alone does everything");
    }

    #[test]
    fn one_thread_takes_what_comes_and_another_is_called_only_for_two() {
        let (queues, [mut one, mut other]) = queues();
        let push = |piece| queues.push_piece(piece).unwrap();
        push(1);
        assert_eq!(found(&queues, &mut one, false), pieces(1, None));
        push(2);
        assert_eq!(found(&queues, &mut other, false), None, "the thread that is at it comes back for it");
        push(3);
        push(4);
        push(5);
        assert_eq!(found(&queues, &mut other, false), pieces(2, Some(3)), "it would take too long over the other one");
        assert_eq!(found(&queues, &mut one, false), pieces(4, Some(5)));
        assert_eq!((found(&queues, &mut one, false), found(&queues, &mut other, false)), (None, None));
        push(6);
        assert_eq!(found(&queues, &mut other, false), pieces(6, None), "all had gone to sleep");
    }

    #[test]
    fn a_call_that_nobody_heard_does_not_keep_the_next_piece_from_calling() {
        let (queues, [mut one, _]) = queues();
        let push = |piece| queues.push_piece(piece).unwrap();
        push(1);
        assert_eq!(found(&queues, &mut one, false), pieces(1, None));
        push(2);
        push(3);
        assert_eq!(
            found(&queues, &mut one, false),
            pieces(2, Some(3)),
            "before the other one is through with its task"
        );
        assert_eq!(found(&queues, &mut one, false), None);
        asleep(&queues, false, false);
        push(4);
        assert!(queues.state().asleep.is_empty(), "it is woken");
    }

    #[test]
    fn a_thread_that_waits_for_the_disk_is_not_called_again() {
        let (queues, [mut one, _]) = queues();
        queues.push_piece(1).unwrap();
        assert_eq!(found(&queues, &mut one, true), None);
        asleep(&queues, false, true);
        asleep(&queues, true, false);
        queues.push_piece(2).unwrap();
        let state = queues.state();
        assert!(state.calls == 1 && state.asleep.iter().all(|sleeper| sleeper.verifying), "the other one is");
    }

    #[test]
    fn with_one_lane_every_piece_gets_a_thread() {
        let queues: Queues<u32, u32> = Queues::in_lanes(1, 2);
        let [mut one, mut other] = [0, 1].map(|nth| Seat::new(nth, 2));
        (1..=3).for_each(|piece| queues.push_piece(piece).unwrap());
        assert_eq!(found(&queues, &mut one, false), pieces(1, None));
        assert_eq!(found(&queues, &mut other, false), pieces(2, None));
        assert_eq!(queues.state().calls, 0);
    }

    #[test]
    fn a_thread_that_is_to_verify_does_everything_else_while_the_disk_does_not_keep_up() {
        let (queues, [_, mut seat]) = queues();
        queues.push_piece(1).unwrap();
        assert_eq!(found(&queues, &mut seat, true), None);
        assert!(seat.verifying, "it is still called");
        queues.push(Rank::Slow, 3).unwrap();
        queues.push(Rank::Urgent, 2).unwrap();
        let mut full = || found(&queues, &mut seat, true);
        assert_eq!([full(), full(), full()], [task(2), task(3), None]);
        let looks = Cell::new(0);
        let is_full = || looks.replace(looks.get() + 1) < 2;
        assert_eq!(queues.next(&mut seat, is_full), Next::Verify(1, None), "it looks again by itself");
        assert_eq!((found(&queues, &mut seat, false), seat.verifying), (None, false));

        queues.push_piece(4).unwrap();
        queues.end();
        assert_eq!(found(&queues, &mut seat, true), pieces(4, None), "at the end nothing is left waiting");
    }

    #[test]
    fn threads_end_when_everything_is_done_and_then_nothing_is_kept() {
        let (queues, [mut free, mut any]) = queues();
        for (rank, number) in [(Rank::Slow, 1), (Rank::Check, 2)] {
            queues.push(rank, number).unwrap();
        }
        queues.end();
        let next = |seat: &mut Seat| queues.next(seat, || true);
        assert_eq!(next(&mut any), Next::Task(1));
        assert_eq!((next(&mut free), next(&mut free)), (Next::Task(2), Next::Stop));
        // The other one goes on.
        queues.push(Rank::Slow, 3).unwrap();
        assert_eq!((next(&mut any), next(&mut any)), (Next::Task(3), Next::Stop));
        assert_eq!((queues.push(Rank::Slow, 4), queues.push_piece(5)), (Err(4), Err(5)));

        let (queues, [mut free, _]) = self::queues();
        queues.end();
        queues.push(Rank::Slow, 1).unwrap();
        assert_eq!(found(&queues, &mut free, false), task(1), "the others may be gone");
    }

    #[test]
    fn who_is_woken_can_do_it() {
        let (queues, _) = queues();
        let sleep = |takes_slow| asleep(&queues, takes_slow, false);
        let woken = |slow: bool| {
            let sleeper = queues.state().sleeper(|sleeper| !slow || sleeper.takes_slow);
            sleeper.map(|sleeper| sleeper.takes_slow)
        };
        sleep(false);
        assert_eq!(woken(true), None, "this one does nothing slow");
        sleep(true);
        assert_eq!(woken(false), Some(false), "the other one is kept for what is slow");
        assert_eq!(woken(false), Some(true), "rather than nobody");
        sleep(false);
        sleep(true);
        assert_eq!((woken(true), woken(true)), (Some(true), None));
    }

    #[test]
    fn nobody_sleeps_while_something_waits_for_it() {
        let queues: Queues<mpsc::Sender<()>, mpsc::Sender<()>> = Queues::in_lanes(2, 3);
        let take = |nth| {
            let mut seat = Seat::new(nth, 3);
            loop {
                let (first, second) = match queues.next(&mut seat, || false) {
                    Next::Task(done) => (done, None),
                    Next::Verify(first, second) => (first, second),
                    Next::Stop => return,
                };
                [Some(first), second].into_iter().flatten().for_each(|done| done.send(()).unwrap());
            }
        };
        let put = |nth| {
            let (done, is_done) = mpsc::channel();
            for round in 0..3_000 {
                // Some at once, and then nothing more before all of them were taken.
                let some = (nth + round) % 4 + 1;
                for number in 0..some {
                    let pushed = match (number + round) % 4 {
                        0 => queues.push(Rank::Urgent, done.clone()),
                        1 => queues.push(Rank::Slow, done.clone()),
                        2 => queues.push(Rank::Check, done.clone()),
                        _ => queues.push_piece(done.clone()),
                    };
                    pushed.unwrap();
                }
                assert_eq!(is_done.iter().take(some).count(), some);
            }
        };
        thread::scope(|scope| {
            (0..3).for_each(|nth| drop(scope.spawn(move || take(nth))));
            let producers = [0, 1, 2, 3].map(|nth| scope.spawn(move || put(nth)));
            for producer in producers {
                producer.join().unwrap();
            }
            queues.end();
        });
    }
}
