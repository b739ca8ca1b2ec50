//! Tests of publishing and subscribing together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::{AnswerError, Bus, PublishError, RecvError, Reply, WhenFull};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    State,
    OtherState,
    Command,
    Question,
}

#[derive(Clone, Debug)]
pub(super) enum Said {
    State(u64),
    OtherState(u64),
    Command(u64),
    Question(Reply<u64>),
}

impl PartialEq for Said {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(a), Self::State(b))
            | (Self::OtherState(a), Self::OtherState(b))
            | (Self::Command(a), Self::Command(b)) => a == b,
            _ => false,
        }
    }
}

impl super::Topic for Topic {
    fn when_full(self) -> WhenFull {
        match self {
            Self::State | Self::OtherState => WhenFull::DropOldest,
            Self::Command | Self::Question => WhenFull::Refuse,
        }
    }
}

impl super::Event for Said {
    type Topic = Topic;

    fn topic(&self) -> Topic {
        match self {
            Self::State(_) => Topic::State,
            Self::OtherState(_) => Topic::OtherState,
            Self::Command(_) => Topic::Command,
            Self::Question(_) => Topic::Question,
        }
    }
}

const ALL: [Topic; 4] = [Topic::State, Topic::OtherState, Topic::Command, Topic::Question];
const SOON: Duration = Duration::from_secs(10);

fn drain(subscriber: &super::Subscriber<Said>) -> Vec<Said> {
    std::iter::from_fn(|| subscriber.try_recv()).collect()
}

#[test]
fn everybody_hears_what_they_subscribed_to_in_order_of_publishing() {
    let bus = Bus::new();
    let all = bus.subscribe("all", &ALL, 8);
    let commands = bus.subscribe("commands", &[Topic::Command], 8);
    for event in [Said::Command(1), Said::State(2), Said::OtherState(3), Said::Command(4)] {
        bus.publish(event).unwrap();
    }
    assert_eq!(drain(&all), [Said::Command(1), Said::State(2), Said::OtherState(3), Said::Command(4)]);
    assert_eq!(drain(&commands), [Said::Command(1), Said::Command(4)]);
}

#[test]
fn publishing_to_nobody_is_reported_and_hands_the_event_back() {
    let bus = Bus::new();
    let error = bus.publish(Said::State(1)).unwrap_err();
    assert_eq!(error.to_string(), "nobody listens to State");
    assert_eq!(error.into_event(), Said::State(1));

    let subscriber = bus.subscribe("a", &[Topic::State], 1);
    assert!(matches!(bus.publish(Said::Command(1)), Err(PublishError::NoSubscriber(_))));
    bus.publish(Said::State(1)).unwrap();
    drop(subscriber);
    assert!(matches!(bus.publish(Said::State(1)), Err(PublishError::NoSubscriber(_))));
}

#[test]
fn a_full_state_topic_keeps_the_newest_and_touches_nothing_else() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("slow", &ALL, 3);
    bus.publish(Said::Command(0)).unwrap();
    bus.publish(Said::OtherState(0)).unwrap();
    for n in 0..1000 {
        bus.publish(Said::State(n)).unwrap();
    }
    bus.publish(Said::Command(1)).unwrap();
    assert_eq!(subscriber.dropped(), 997);
    assert_eq!(
        drain(&subscriber),
        [Said::Command(0), Said::OtherState(0), Said::State(997), Said::State(998), Said::State(999), Said::Command(1)]
    );
    assert!(!subscriber.has_messages());
}

#[test]
fn a_full_command_topic_refuses_and_names_the_busy_one() {
    let bus = Bus::new();
    let busy = bus.subscribe("busy", &[Topic::Command], 2);
    let idle = bus.subscribe("idle", &[Topic::Command], 8);
    bus.publish(Said::Command(1)).unwrap();
    bus.publish(Said::Command(2)).unwrap();
    let error = bus.publish(Said::Command(3)).unwrap_err();
    assert_eq!(error.to_string(), "busy is too busy for Command");
    assert_eq!(error.into_event(), Said::Command(3));
    assert_eq!(drain(&busy), [Said::Command(1), Said::Command(2)]);
    assert_eq!(drain(&idle), [Said::Command(1), Said::Command(2), Said::Command(3)]);
    assert_eq!(busy.dropped(), 0);

    drop(idle);
    bus.publish(Said::Command(4)).unwrap();
    bus.publish(Said::Command(5)).unwrap();
    assert!(matches!(bus.publish(Said::Command(6)), Err(PublishError::Full { subscriber: "busy", .. })));
    assert_eq!(busy.try_recv(), Some(Said::Command(4)));
    bus.publish(Said::Command(6)).unwrap();
}

#[test]
fn a_topic_named_twice_is_delivered_once() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("twice", &[Topic::State, Topic::State], 4);
    bus.publish(Said::State(1)).unwrap();
    assert_eq!(drain(&subscriber), [Said::State(1)]);
}

#[test]
fn no_capacity_means_one() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("none", &[Topic::Command], 0);
    bus.publish(Said::Command(1)).unwrap();
    assert!(bus.publish(Said::Command(2)).is_err());
    assert_eq!(drain(&subscriber), [Said::Command(1)]);
}

#[test]
fn the_wake_hook_is_called_once_per_drain() {
    let bus = Bus::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let hook = Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let subscriber = bus.subscribe_with_wake("poll loop", &ALL, 8, hook);
    for n in 0..5 {
        bus.publish(Said::State(n)).unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    subscriber.rearm();
    bus.publish(Said::State(5)).unwrap(); // arrives between rearming and draining
    assert_eq!(drain(&subscriber).len(), 6);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    bus.publish(Said::State(6)).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2, "not rearmed since");
    subscriber.rearm();
    for n in 0..8 {
        bus.publish(Said::Command(n)).unwrap();
    }
    bus.publish(Said::Command(8)).unwrap_err();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_poll_loop_woken_by_the_hook_misses_nothing() {
    const EACH: u64 = 5_000;
    const THREADS: u64 = 4;
    let bus = Bus::new();
    let (waker, woken) = crossbeam_channel::bounded::<()>(1);
    let hook = Arc::new(move || {
        let _ = waker.try_send(()); // like an eventfd: wake-ups merge
    });
    let subscriber = bus.subscribe_with_wake("poll loop", &[Topic::Command], 64, hook);
    let publishers: Vec<_> = (0..THREADS)
        .map(|_| {
            let bus = bus.clone();
            thread::spawn(move || (0..EACH).for_each(|n| publish_patiently(&bus, Said::Command(n))))
        })
        .collect();
    let mut sum = 0;
    let mut count = 0;
    while count < EACH * THREADS {
        woken.recv_timeout(SOON).expect("a message waits or will come, so a wake-up must come");
        subscriber.rearm();
        for event in drain(&subscriber) {
            let Said::Command(n) = event else { panic!("{event:?}") };
            sum += n;
            count += 1;
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    assert_eq!(sum, THREADS * (EACH * (EACH - 1) / 2));
    assert!(!subscriber.has_messages());
}

fn publish_patiently(bus: &Bus<Said>, mut event: Said) {
    while let Err(error) = bus.publish(event) {
        assert!(matches!(error, PublishError::Full { .. }));
        event = error.into_event();
        thread::yield_now();
    }
}

#[test]
fn many_threads_publish_at_once_and_each_ones_order_is_kept() {
    const EACH: u64 = 2_000;
    const THREADS: u64 = 16;
    let bus = Bus::new();
    let readers: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .map(|name| bus.subscribe(name, &[Topic::Command], usize::try_from(EACH * THREADS).unwrap()))
        .map(|subscriber| {
            thread::spawn(move || {
                let mut next = vec![0; usize::try_from(THREADS).unwrap()];
                for _ in 0..EACH * THREADS {
                    let Ok(Said::Command(n)) = subscriber.recv_timeout(SOON) else { panic!("a message is missing") };
                    let thread = usize::try_from(n / EACH).unwrap();
                    assert_eq!(n % EACH, next[thread], "thread {thread}");
                    next[thread] += 1;
                }
                subscriber.try_recv()
            })
        })
        .collect();
    let publishers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let bus = bus.clone();
            thread::spawn(move || (0..EACH).for_each(|n| bus.publish(Said::Command(thread * EACH + n)).unwrap()))
        })
        .collect();
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    for reader in readers {
        assert_eq!(reader.join().unwrap(), None);
    }
}

#[test]
fn subscribers_may_come_and_go_while_others_publish() {
    let bus = Bus::new();
    let steady = bus.subscribe("steady", &[Topic::State], 100_000);
    let publisher = {
        let bus = bus.clone();
        thread::spawn(move || (0..20_000).for_each(|n| bus.publish(Said::State(n)).unwrap()))
    };
    let mut guests = 0;
    while !publisher.is_finished() {
        let guest = bus.subscribe("guest", &ALL, 2);
        guests += 1;
        drop(guest.try_recv());
    }
    publisher.join().unwrap();
    assert!(guests > 0);
    assert_eq!(drain(&steady), (0..20_000).map(Said::State).collect::<Vec<_>>());
}

#[test]
fn waiting_ends_by_message_time_out_or_the_end_of_the_bus() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("waiting", &[Topic::State], 4);
    assert_eq!(subscriber.recv_timeout(Duration::from_millis(5)), Err(RecvError::Timeout));
    let publisher = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        bus.publish(Said::State(1)).unwrap();
        bus.publish(Said::State(2)).unwrap();
    });
    assert_eq!(subscriber.recv(), Ok(Said::State(1)));
    publisher.join().unwrap(); // took the bus with it
    assert_eq!(subscriber.recv_timeout(SOON), Ok(Said::State(2)), "what was said before the end is heard");
    assert_eq!(subscriber.recv_timeout(SOON), Err(RecvError::Closed));
    assert_eq!(subscriber.recv(), Err(RecvError::Closed));
}

#[test]
fn a_question_is_answered_through_the_bus() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("oracle", &[Topic::Question], 4);
    let oracle = thread::spawn(move || {
        let Ok(Said::Question(reply)) = subscriber.recv() else { panic!("expected a question") };
        reply.send(42)
    });
    let (reply, answer) = Reply::channel();
    bus.publish(Said::Question(reply)).unwrap();
    assert_eq!(answer.wait(SOON), Ok(42));
    assert!(oracle.join().unwrap());
}

#[test]
fn a_subscriber_that_dies_with_a_question_unread_tells_the_asker() {
    let bus = Bus::new();
    let subscriber = bus.subscribe("dying", &[Topic::Question], 4);
    let (reply, answer) = Reply::channel();
    bus.publish(Said::Question(reply)).unwrap();
    drop(subscriber);
    assert_eq!(answer.wait(SOON), Err(AnswerError::Gone));
}

#[test]
fn a_hook_may_use_the_bus_itself() {
    let bus = Bus::new();
    let states = bus.subscribe("states", &[Topic::State], 4);
    let inner = bus.clone();
    let hook = Arc::new(move || {
        drop(inner.subscribe("short", &ALL, 1));
        inner.publish(Said::State(7)).unwrap();
    });
    let commands = bus.subscribe_with_wake("commands", &[Topic::Command], 4, hook);
    bus.publish(Said::Command(1)).unwrap();
    assert_eq!(drain(&states), [Said::State(7)]);
    assert_eq!(drain(&commands), [Said::Command(1)]);
}
