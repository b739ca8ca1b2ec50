//! Tests of tracker choice and timing on made-up time.
#![allow(clippy::disallowed_methods)]

use super::super::{Announced, MIN_REASK};
use super::*;

const A: &str = "http://a.example/announce";
const B: &str = "udp://b.example:6969";
const C: &str = "https://c.example/announce";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn tiers(now: Instant, urls: &[&[&str]]) -> Tiers {
    let urls: Vec<Vec<String>> = urls.iter().map(|tier| tier.iter().map(|url| (*url).to_owned()).collect()).collect();
    Tiers::new(now, &urls, 1)
}

fn reply(interval: u64) -> Announced {
    Announced { interval: secs(interval), min_interval: secs(interval / 6), ..Announced::default() }
}

/// The URL and event of the order that is due now.
fn due(tiers: &mut Tiers, now: Instant) -> Option<(String, Option<AnnounceEvent>)> {
    tiers.poll(now).map(|order| (order.url.to_string(), order.event))
}

fn started(url: &str) -> Option<(String, Option<AnnounceEvent>)> {
    Some((url.to_owned(), Some(AnnounceEvent::Started)))
}

#[test]
fn the_first_announce_is_due_at_once_and_the_next_after_the_interval() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    assert_eq!(tiers.next_due(), Some(now));
    assert_eq!(due(&mut tiers, now), started(A));
    assert_eq!(due(&mut tiers, now), None, "one at a time");
    tiers.succeeded(now + secs(1), A, &reply(1800));
    assert_eq!(tiers.next_due(), Some(now + secs(1801)));
    assert_eq!(due(&mut tiers, now + secs(1800)), None);
    assert_eq!(due(&mut tiers, now + secs(1801)), Some((A.into(), None)));
}

#[test]
fn a_failure_moves_on_at_once_and_success_stops_there() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A], &[B], &[C]]);
    assert_eq!(due(&mut tiers, now), started(A));
    tiers.failed(now, A, "no route", None);
    assert_eq!(tiers.next_due(), Some(now));
    assert_eq!(due(&mut tiers, now), started(B));
    tiers.succeeded(now, B, &reply(1800));
    assert_eq!(tiers.next_due(), Some(now + secs(1800)), "the third tier is not asked");
    // By then the first tier's back-off is over, and it comes first again.
    assert_eq!(due(&mut tiers, now + secs(1800)), started(A));
    tiers.failed(now + secs(1800), A, "no route", None);
    assert_eq!(due(&mut tiers, now + secs(1800)), Some((B.into(), None)));
}

#[test]
fn who_answers_moves_to_the_front_of_its_tier_only() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A, B, C], &["http://d/"]]);
    let order: Vec<String> = tiers.status().iter().map(|status| status.url.to_string()).collect();
    for url in &order[..2] {
        assert_eq!(due(&mut tiers, now), started(url));
        tiers.failed(now, url, "down", None);
    }
    assert_eq!(due(&mut tiers, now), started(&order[2]));
    tiers.succeeded(now, &order[2], &reply(1800));
    let after: Vec<String> = tiers.status().iter().map(|status| status.url.to_string()).collect();
    assert_eq!(after, [&*order[2], &*order[0], &*order[1], "http://d/"]);
    assert_eq!(due(&mut tiers, now + secs(1800)), Some((order[2].clone(), None)));
}

#[test]
fn tiers_are_shuffled_within_themselves() {
    let now = Instant::now();
    let urls: Vec<String> = (0..20).map(|n| format!("http://t{n}/")).collect();
    let shuffled = |seed| {
        let tiers = Tiers::new(now, &[urls[..10].to_vec(), urls[10..].to_vec()], seed);
        tiers.status().iter().map(|status| status.url.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
    let mut first_tier = shuffled(3)[..10].to_vec();
    first_tier.sort();
    assert_eq!(first_tier, urls[..10]);
}

#[test]
fn back_off_doubles_with_jitter_up_to_a_limit() {
    let mut now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    let mut waits = Vec::new();
    for _ in 0..15 {
        assert_eq!(due(&mut tiers, now), started(A), "never accepted, so still the first announce");
        tiers.failed(now, A, "down", None);
        let next = tiers.next_due().unwrap();
        waits.push((next - now).as_secs_f64());
        assert_eq!(due(&mut tiers, next - Duration::from_millis(1)), None);
        now = next;
    }
    for (n, wait) in waits.iter().enumerate() {
        let middle = (15.0 * f64::powi(2.0, i32::try_from(n).unwrap())).min(3600.0);
        assert!((middle * 0.75..=middle * 1.25).contains(wait), "{n}: {waits:?}");
    }
    assert!((waits[14] - waits[13]).abs() > f64::EPSILON, "jitter");
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    due(&mut tiers, now + secs(1800));
    tiers.failed(now + secs(1800), A, "down", None);
    assert!(tiers.next_due().unwrap() < now + secs(1800 + 20), "a success starts the count anew");
}

#[test]
fn a_tracker_may_say_when_to_come_back() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    due(&mut tiers, now);
    tiers.failed(now, A, "maintenance", Some(secs(7200)));
    assert_eq!(tiers.next_due(), Some(now + secs(7200)));
    assert_eq!(tiers.status()[0].message.as_deref(), Some("maintenance"));
}

#[test]
fn completed_is_told_at_once_and_once() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    tiers.complete(now + secs(5));
    tiers.complete(now + secs(6));
    assert_eq!(tiers.next_due(), Some(now + secs(5)), "the minimum interval does not hold for events");
    assert_eq!(due(&mut tiers, now + secs(6)), Some((A.into(), Some(AnnounceEvent::Completed))));
    tiers.failed(now + secs(6), A, "lost", None);
    let retry = tiers.next_due().unwrap();
    assert!(retry > now + secs(6 + 10));
    assert_eq!(due(&mut tiers, retry), Some((A.into(), Some(AnnounceEvent::Completed))), "until it is accepted");
    tiers.succeeded(retry, A, &reply(1800));
    assert_eq!(tiers.next_due(), Some(retry + secs(1800)));
    assert_eq!(due(&mut tiers, retry + secs(1800)), Some((A.into(), None)));
}

#[test]
fn a_tracker_met_after_completion_is_told_started_only() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    tiers.complete(now);
    assert_eq!(due(&mut tiers, now), started(A));
    tiers.succeeded(now, A, &reply(1800));
    assert_eq!(due(&mut tiers, now + secs(1800)), Some((A.into(), None)));
}

#[test]
fn completion_while_started_is_on_its_way_is_told_afterwards() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    assert_eq!(due(&mut tiers, now), started(A));
    tiers.complete(now);
    tiers.succeeded(now + secs(1), A, &reply(1800));
    assert_eq!(due(&mut tiers, now + secs(1)), Some((A.into(), Some(AnnounceEvent::Completed))));
}

#[test]
fn every_tracker_that_knows_us_is_told_completed_and_stopped() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A], &[B], &[C]]);
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    due(&mut tiers, now + secs(1800));
    tiers.failed(now + secs(1800), A, "down", None);
    assert_eq!(due(&mut tiers, now + secs(1800)), started(B));
    tiers.succeeded(now + secs(1800), B, &reply(1800));
    let end = now + secs(2000);
    tiers.complete(end);
    assert_eq!(due(&mut tiers, end), Some((A.into(), Some(AnnounceEvent::Completed))));
    tiers.succeeded(end, A, &reply(1800));
    assert_eq!(due(&mut tiers, end), Some((B.into(), Some(AnnounceEvent::Completed))));
    tiers.succeeded(end, B, &reply(1800));
    let farewells: Vec<_> = tiers.stop().into_iter().map(|order| (order.url.to_string(), order.event)).collect();
    assert_eq!(farewells, [A, B].map(|url| (url.to_owned(), Some(AnnounceEvent::Stopped))));
    assert_eq!(tiers.stop(), [], "once");
    assert_eq!((tiers.next_due(), tiers.poll(end + secs(9999))), (None, None));
}

#[test]
fn starting_again_begins_with_started() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    tiers.stop();
    tiers.start(now + secs(1));
    assert_eq!(due(&mut tiers, now + secs(1)), started(A));
}

#[test]
fn a_tracker_that_is_just_being_told_of_us_is_told_that_we_left() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    due(&mut tiers, now);
    assert_eq!(tiers.stop().len(), 1);
    tiers.succeeded(now, A, &reply(1800));
    assert_eq!(tiers.next_due(), None);
    assert_eq!(tiers.stop(), []);
}

#[test]
fn hunger_for_peers_respects_the_minimum_interval() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    tiers.need_peers(now + secs(10));
    tiers.need_peers(now + secs(11));
    assert_eq!(tiers.next_due(), Some(now + secs(300)));
    assert_eq!(due(&mut tiers, now + secs(299)), None);
    assert_eq!(due(&mut tiers, now + secs(300)), Some((A.into(), None)));
    tiers.succeeded(now + secs(300), A, &Announced { min_interval: MIN_REASK, ..reply(1800) });
    assert_eq!(tiers.next_due(), Some(now + secs(2100)), "satisfied");
    tiers.need_peers(now + secs(1000));
    assert_eq!(tiers.next_due(), Some(now + secs(1000)), "the minimum interval is over");
}

#[test]
fn hunger_for_peers_asks_the_later_tiers_meanwhile() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A], &[B]]);
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    tiers.need_peers(now + secs(10));
    assert_eq!(due(&mut tiers, now + secs(10)), started(B));
}

#[test]
fn a_later_tier_does_not_put_off_the_first_one() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A], &[B]]);
    let rare = Announced { min_interval: secs(300), ..reply(86_400) };
    due(&mut tiers, now);
    tiers.succeeded(now, A, &reply(1800));
    tiers.need_peers(now + secs(10));
    assert_eq!(due(&mut tiers, now + secs(10)), started(B));
    tiers.succeeded(now + secs(10), B, &rare);
    assert_eq!(tiers.next_due(), Some(now + secs(1800)), "the first tracker still knows us");
    assert_eq!(due(&mut tiers, now + secs(1800)), Some((A.into(), None)));
    // Unless it is gone: then the second one's interval counts, and nobody is asked sooner than that.
    tiers.failed(now + secs(1800), A, "no route", None);
    assert_eq!(due(&mut tiers, now + secs(1800)), Some((B.into(), None)));
    tiers.succeeded(now + secs(1800), B, &rare);
    assert_eq!(tiers.next_due(), Some(now + secs(1800 + 86_400)));
}

#[test]
fn an_outcome_that_is_never_reported_counts_as_a_failure() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A], &[B]]);
    due(&mut tiers, now);
    let late = tiers.next_due().unwrap();
    assert_eq!(due(&mut tiers, late - secs(1)), None);
    assert_eq!(due(&mut tiers, late), started(B));
    assert_eq!(tiers.status()[0].failures, 1);
}

#[test]
fn duplicates_and_unknown_kinds_are_left_out() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A, A, "wss://x.example"], &[A], &[], &[B, ""]]);
    let status = tiers.status();
    assert_eq!(status.iter().map(|status| (&*status.url, status.tier)).collect::<Vec<_>>(), [(A, 0), (B, 1)]);
    tiers.add_tier(now, &[B.to_owned(), C.to_owned()]);
    assert_eq!(tiers.status().len(), 3);
    assert!(Tiers::new(now, &[vec!["nonsense".into()]], 1).is_empty());
}

#[test]
fn without_trackers_nothing_is_ever_due() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[]);
    assert_eq!((tiers.next_due(), tiers.poll(now)), (None, None));
    tiers.need_peers(now);
    tiers.complete(now);
    assert_eq!(tiers.next_due(), None);
}

#[test]
fn tracker_ids_are_remembered_and_given_back() {
    let now = Instant::now();
    let mut tiers = tiers(now, &[&[A]]);
    assert_eq!(tiers.poll(now).unwrap().tracker_id, None);
    tiers.succeeded(
        now,
        A,
        &Announced { tracker_id: Some(b"id".to_vec()), seeders: Some(1), leechers: Some(2), ..reply(60) },
    );
    assert_eq!(tiers.status()[0].swarm, Some((1, 2)));
    assert_eq!(tiers.poll(now + secs(60)).unwrap().tracker_id.as_deref(), Some(&b"id"[..]));
    tiers.succeeded(now + secs(60), A, &reply(60));
    assert_eq!(tiers.stop()[0].tracker_id.as_deref(), Some(&b"id"[..]));
}
