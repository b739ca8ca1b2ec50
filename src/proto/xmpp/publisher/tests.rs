#![allow(clippy::disallowed_methods)]

use super::super::xml::{Build, element};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn item(id: &str, text: &str) -> Item {
    Item::new(id, element("p", "urn:p").saying(text))
}

fn refused(condition: &str) -> Failure {
    Failure::Refused { condition: condition.into(), detail: None, text: None }
}

fn fine() -> Element {
    element("iq", "jabber:client")
}

fn lane(now: Instant) -> Lane {
    let mut lane = Lane::new("n", true, 1);
    lane.fetched(now, []);
    lane
}

/// Runs the lane until it pauses or `end`; tells what was asked and when, in milliseconds. All is accepted.
fn run(lane: &mut Lane, start: Instant, end: Instant) -> Vec<String> {
    let mut told = Vec::new();
    let mut now = start;
    while now <= end {
        while let Some(request) = lane.poll_request(now) {
            let asked = request.payload.children().next().unwrap();
            let item = asked.children().next();
            let text = item.and_then(|item| item.children().next()).map(Element::text).unwrap_or_default();
            let id = item.and_then(|item| item.attr("id")).unwrap_or_default();
            told.push(format!("{} {id} {text} {}", asked.name(), now.duration_since(start).as_millis()));
            assert_eq!(lane.answered(now, Ok(&fine())), None);
        }
        match lane.poll_timeout() {
            Some(due) => now = due,
            None => break,
        }
    }
    told
}

#[test]
fn nothing_is_published_before_the_node_was_fetched() {
    let now = Instant::now();
    let mut lane = Lane::new("n", true, 1);
    lane.want(now, vec![item("a", "1")]);
    assert_eq!(lane.poll_timeout(), None);
    assert!(lane.poll_request(now + SECOND).is_none());
    lane.fetched(now, [("a".to_owned(), item("a", "1").digest), ("old".to_owned(), [0; 20])]);
    assert_eq!(run(&mut lane, now, now + SECOND), ["retract old  150"], "the item stands there already");
}

#[test]
fn many_changes_make_one_publish_per_second() {
    let start = Instant::now();
    let mut lane = lane(start);
    let mut told = 0;
    for step in 0..50u32 {
        let now = start + step * Duration::from_millis(100);
        lane.want(now, vec![item("a", &step.to_string())]);
        while lane.poll_request(now).is_some() {
            lane.answered(now, Ok(&fine()));
            told += 1;
        }
    }
    assert!((4..=6).contains(&told), "{told} publishes in five seconds");
    assert_eq!(run(&mut lane, start, start + 20 * SECOND).len(), 1, "the last change is not lost");
    assert!(lane.is_settled());
}

#[test]
fn changes_while_a_publish_is_open_wait_for_the_next_round() {
    let start = Instant::now();
    let mut lane = lane(start);
    let mut told = 0;
    for step in 0..500u32 {
        let now = start + step * Duration::from_millis(10);
        lane.want(now, vec![item("a", &step.to_string())]);
        if lane.poll_request(now).is_some() {
            lane.want(now, vec![item("a", &format!("{step} and more"))]);
            lane.answered(now, Ok(&fine()));
            told += 1;
        }
    }
    assert!((4..=6).contains(&told), "{told} publishes in five seconds");
}

#[test]
fn large_publishes_are_followed_by_longer_pauses() {
    let now = Instant::now();
    let mut lane = lane(now);
    lane.want(now, vec![item("a", &"x".repeat(60_000))]);
    assert_eq!(run(&mut lane, now, now + SECOND).len(), 1);
    lane.want(now + SECOND, vec![item("a", "small")]);
    let due = lane.poll_timeout().unwrap();
    assert!(due >= now + 5 * SECOND && due <= now + 8 * SECOND);
}

#[test]
fn several_items_go_out_in_order_and_surplus_ones_leave() {
    let now = Instant::now();
    let mut lane = lane(now);
    lane.want(now, vec![item("r", "1"), item("r/2", "2")]);
    assert_eq!(run(&mut lane, now, now + SECOND), ["publish r 1 150", "publish r/2 2 150"]);
    lane.want(now + 2 * SECOND, vec![item("r", "3")]);
    assert_eq!(run(&mut lane, now + 2 * SECOND, now + 4 * SECOND), ["publish r 3 150", "retract r/2  150"]);
}

#[test]
fn an_echo_is_nobodys_doing_and_a_vanished_item_comes_back() {
    let now = Instant::now();
    let mut lane = lane(now);
    let own = item("a", "1");
    lane.want(now, vec![own.clone()]);
    run(&mut lane, now, now + SECOND);
    assert!(!lane.observe("a", Some(own.digest)));
    assert!(lane.is_settled());
    assert!(lane.observe("a", Some([3; 20])), "another program replaced it");
    lane.mend(now, vec![own.clone()]);
    let told = run(&mut lane, now, now + 10 * SECOND);
    assert_eq!(told.len(), 1);
    assert!(lane.observe_empty());
    lane.mend(now + 20 * SECOND, vec![own]);
    assert_eq!(run(&mut lane, now + 20 * SECOND, now + 30 * SECOND).len(), 1);
}

#[test]
fn an_echo_may_come_before_the_answer() {
    let now = Instant::now();
    let mut lane = lane(now);
    let own = item("a", "1");
    lane.want(now, vec![own.clone()]);
    assert!(lane.poll_request(now + SECOND).is_some());
    assert!(!lane.observe("a", Some(own.digest)));
    lane.answered(now + SECOND, Ok(&fine()));
    assert!(lane.is_settled());
}

#[test]
fn a_fight_over_the_node_ends() {
    let start = Instant::now();
    let mut lane = lane(start);
    lane.want(start, vec![item("a", "1")]);
    let mut published = 0;
    for step in 0..100u32 {
        let now = start + 10 * step * SECOND;
        assert!(lane.observe("a", Some([step.to_le_bytes()[0]; 20])));
        lane.mend(now, vec![item("a", "1")]);
        published += run(&mut lane, now, now + 9 * SECOND).len();
    }
    assert_eq!(published, MAX_REPAIRS as usize + 1);
    lane.want(start + 2000 * SECOND, vec![item("a", "2")]);
    assert_eq!(run(&mut lane, start + 2000 * SECOND, start + 2010 * SECOND).len(), 1, "an own change still goes out");
}

#[test]
fn failures_are_retried_ever_more_slowly_and_told_once() {
    let start = Instant::now();
    let mut lane = lane(start);
    lane.want(start, vec![item("a", "1")]);
    let mut now = start;
    let mut notices = 0;
    for _ in 0..12 {
        now = lane.poll_timeout().unwrap();
        assert!(lane.poll_request(now).is_some());
        notices += usize::from(lane.answered(now, Err(Failure::TimedOut)).is_some());
    }
    assert_eq!(notices, 1);
    let wait = lane.poll_timeout().unwrap().duration_since(now);
    assert!(wait > LONGEST_RETRY / 2 && wait < LONGEST_RETRY * 2);
}

#[test]
fn too_big_an_item_is_reported_and_a_smaller_one_goes_out() {
    let now = Instant::now();
    let mut lane = lane(now);
    lane.want(now, vec![item("a", "large")]);
    assert!(lane.poll_request(now + SECOND).is_some());
    assert_eq!(lane.answered(now + SECOND, Err(refused("payload-too-big"))), Some(Notice::TooBig));
    lane.want(now + SECOND, vec![item("a", "small")]);
    assert_eq!(run(&mut lane, now + SECOND, now + 20 * SECOND).len(), 1);
}

#[test]
fn the_ladder_down_to_one_item() {
    let now = Instant::now() + SECOND;
    let mut lane = Lane::new("n", true, 1);
    lane.fetched(now - SECOND, []);
    lane.want(now - SECOND, vec![item("r", "1")]);
    let options = |lane: &mut Lane| {
        let payload = lane.poll_request(now).unwrap().payload;
        payload.children().map(Element::name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(options(&mut lane), "publish publish-options");
    lane.answered(now, Err(refused("resource-constraint")));
    assert_eq!(options(&mut lane), "configure");
    assert_eq!(lane.answered(now, Err(refused("forbidden"))), Some(Notice::KeepsOneItem));
    assert_eq!(options(&mut lane), "publish publish-options");
    lane.answered(now, Err(refused("bad-request")));
    assert_eq!(options(&mut lane), "configure");
    lane.answered(now, Err(refused("item-not-found")));
    assert_eq!(options(&mut lane), "publish");
    lane.answered(now, Ok(&fine()));
    assert_eq!(options(&mut lane), "configure", "a fresh node is looked at");
}

#[test]
fn an_item_that_all_resources_share_is_never_retracted() {
    let now = Instant::now();
    let mut lane = Lane::new("n", false, 1);
    lane.fetched(now, [("current".to_owned(), [1; 20])]);
    lane.want(now, Vec::new());
    assert!(lane.is_settled() && run(&mut lane, now, now + SECOND).is_empty());
}

#[test]
fn goodbye_does_not_wait() {
    let now = Instant::now();
    let mut lane = lane(now);
    lane.want(now, vec![item("a", "1")]);
    run(&mut lane, now, now + SECOND);
    let later = now + Duration::from_millis(200);
    lane.want_at_once(later, vec![item("a", "bye")]);
    assert!(!lane.is_settled());
    assert_eq!(run(&mut lane, later, later + SECOND), ["publish a bye 0"]);
    assert!(lane.is_settled());
}

#[test]
fn a_new_stream_starts_from_the_fetch_again() {
    let now = Instant::now();
    let mut lane = lane(now);
    lane.want(now, vec![item("a", "1")]);
    run(&mut lane, now, now + SECOND);
    lane.reset();
    assert!(!lane.is_fetched() && lane.poll_request(now + SECOND).is_none());
    lane.fetched(now + SECOND, []);
    assert_eq!(run(&mut lane, now + SECOND, now + 3 * SECOND), ["publish a 1 150"]);
}
